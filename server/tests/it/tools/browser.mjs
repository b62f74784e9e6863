// A headless Chromium, driven over the DevTools protocol: commands are lines of JSON on stdin, answers on stdout.
//
//   node browser.mjs CHROMIUM PROFILE
//
// {"open": URL, "headers": {…}, "media": {"prefers-color-scheme": "dark"}, "size": [WIDTH, HEIGHT]}
// {"eval": EXPRESSION}            the value of the expression
// {"until": EXPRESSION}           its value as soon as it is true; null after a minute
// {"picture": FILE, "of": SELECTOR, "scale": 2}  a picture of an element, or of the whole page
// {"log": true}                   errors and warnings of the console, and all requests, so far
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [chromium, profile] = process.argv.slice(2);
const browser = spawn(chromium, [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-extensions',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
  '--force-color-profile=srgb', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe'] });
process.on('exit', () => browser.kill('SIGKILL'));

const address = await new Promise((found, failed) => {
  let said = '';
  browser.stderr.on('data', (data) => {
    said += data;
    const match = said.match(/DevTools listening on (ws:\S+)/);
    if (match) found(match[1]);
  });
  browser.on('exit', (code) => failed(new Error(`chromium ended with ${code}: ${said}`)));
});

const socket = new WebSocket(address);
await new Promise((opened, failed) => {
  socket.onopen = opened;
  socket.onerror = failed;
});
const pending = new Map();
const log = { errors: [], requests: [] };
let count = 0;
let session;

const call = (method, params = {}) => new Promise((done, failed) => {
  pending.set(++count, { done, failed });
  socket.send(JSON.stringify({ id: count, method, params, sessionId: session }));
});

socket.onmessage = ({ data }) => {
  const { id, result, error, method, params } = JSON.parse(data);
  if (id) {
    const { done, failed } = pending.get(id);
    pending.delete(id);
    if (error) failed(new Error(error.message));
    else done(result);
    return;
  }
  if (method === 'Network.requestWillBeSent') log.requests.push(params.request.url);
  if (method === 'Runtime.exceptionThrown') log.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
  if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
    log.errors.push(params.args.map(({ value, description }) => value ?? description).join(' '));
  }
  if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) log.errors.push(`${params.entry.text} ${params.entry.url ?? ''}`);
};

const { targetInfos } = await call('Target.getTargets');
const { targetId } = targetInfos.find(({ type }) => type === 'page');
({ sessionId: session } = await call('Target.attachToTarget', { targetId, flatten: true }));
for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await call(`${domain}.enable`);

async function evaluate(expression) {
  const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value ?? null;
}

const commands = {
  async open(url, { headers = {}, media = {}, size = [1280, 800], scale = 1 }) {
    const [width, height] = size;
    await call('Network.setExtraHTTPHeaders', { headers });
    await call('Emulation.setEmulatedMedia', { features: Object.entries(media).map(([name, value]) => ({ name, value })) });
    await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: width < 600 });
    const { errorText } = await call('Page.navigate', { url });
    return errorText ?? null;
  },
  eval: evaluate,
  until: (expression) => evaluate(`new Promise((found) => {
    const end = Date.now() + 60000;
    const look = () => {
      let value;
      // What is not there yet is not true yet.
      try { value = ${expression}; } catch { value = null; }
      if (value || Date.now() > end) found(value || null);
      else setTimeout(look, 20);
    };
    look();
  })`),
  async picture(file, { of = 'html', scale = 1 }) {
    const { x, y, width, height } = await evaluate(`(({ x, y, width, height }) => ({ x: x + scrollX, y: y + scrollY, width, height }))(document.querySelector(${JSON.stringify(of)}).getBoundingClientRect())`);
    const { data } = await call('Page.captureScreenshot', { captureBeyondViewport: true, clip: { x, y, width, height, scale } });
    writeFileSync(file, Buffer.from(data, 'base64'));
    return null;
  },
  log: () => log,
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const name = Object.keys(command).find((key) => key in commands);
  try {
    console.log(JSON.stringify({ value: await commands[name](command[name], command) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message ?? error) }));
  }
}
process.exit(0);
