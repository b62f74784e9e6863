// Asks the server each second, and shows what it says.

const POLL_MS = 1000;
// A server that takes longer than this to answer is as good as gone.
const PATIENCE_MS = 4000;

const $ = (id) => document.getElementById(id);

// The last minutes, as the server has kept them. All columns have as many values, the newest last.
const Series = {
  length: 600,
  seconds: 1,
  until: 0,
  next: 0,
  columns: { operations: [], calls: [], refusals: [], p50_us: [], p99_us: [], busy: [], wait_p50_us: [], wait_p99_us: [], commit_p50_us: [], commit_p99_us: [], confirm_p50_us: [], confirm_p99_us: [] },

  add({ next, keep, interval_ms, columns }, until) {
    const count = columns.calls.length;
    // Samples that came already, or a server that has begun anew.
    const fresh = next - count !== this.next;
    for (const [name, values] of Object.entries(columns)) {
      const all = fresh ? values : (this.columns[name] ?? []).concat(values);
      this.columns[name] = all.slice(-keep);
    }
    Object.assign(this, { next, length: keep, seconds: interval_ms / 1000, until });
  },
};

const percent = (part) => Format.percent(part);
const charts = [
  new Chart({
    title: 'Throughput', format: Format.short, floor: 10,
    lines: [{ name: 'operations/s', column: 'operations' }, { name: 'calls/s', column: 'calls' }, { name: 'refusals/s', column: 'refusals' }],
  }),
  new Chart({
    title: 'Latency of unary calls', format: Format.micros, log: true,
    lines: [{ name: 'p99', column: 'p99_us' }, { name: 'p50', column: 'p50_us' }],
  }),
  new Chart({
    title: 'Owner', format: percent, max: 1,
    lines: [{ name: 'busy', column: 'busy' }],
  }),
  new Chart({
    title: 'Commit to disk', format: Format.micros, log: true,
    lines: [{ name: 'p99', column: 'commit_p99_us' }, { name: 'p50', column: 'commit_p50_us' }],
  }),
];
const [commits] = charts.slice(-1);
$('charts').append(...charts.map(({ node }) => node));

// Rows of a name and a value, which stay as they are while their texts change.
class Rows {
  constructor(list) {
    this.list = list;
    this.rows = new Map();
  }

  // `rows`: [name, [number, unit] or text, part of a limit or null, whether that is bad].
  show(rows) {
    for (const [name, row] of this.rows) {
      if (!rows.some(([wanted]) => wanted === name)) {
        row.node.remove();
        this.rows.delete(name);
      }
    }
    rows.forEach(([name, value, part = null, bad = false], i) => {
      const row = this.rows.get(name) ?? this.row(name);
      if (this.list.children[i] !== row.node) this.list.insertBefore(row.node, this.list.children[i] ?? null);
      const [number, unit] = Array.isArray(value) ? value : [value, ''];
      say(row.number, number);
      say(row.unit, unit ? ` ${unit}` : '');
      row.value.classList.toggle('bad', bad);
      row.meter.hidden = part === null;
      row.meter.classList.toggle('bad', bad);
      row.bar.style.width = `${Math.min(100, 100 * (part ?? 0)).toFixed(1)}%`;
    });
  }

  row(name) {
    const [number, unit, bar] = [element('span'), element('small'), element('i')];
    const value = element('dd', {}, number, unit);
    const meter = element('div', { class: 'meter', 'aria-hidden': 'true' }, bar);
    const node = element('div', {}, element('dt', {}, name), value, meter);
    const row = { node, value, number, unit, meter, bar };
    this.rows.set(name, row);
    return row;
  }
}

const now = new Rows($('now'));
const facts = {};
for (const title of ['Cluster', 'etcd', 'Mailbox and owner', 'Store', 'Disk', 'Clients', 'Refusals since the start']) {
  const list = element('dl');
  const id = `h-${title.toLowerCase().replaceAll(' ', '-')}`;
  const node = element('section', { 'aria-labelledby': id }, element('h2', { id }, title), list);
  facts[title] = { node, rows: new Rows(list) };
  $('facts').append(node);
}

// "1.2 GiB of 4.0 GiB", and how much of the limit that is.
function filled_of(name, value, limit, format, warn = 0.9) {
  if (value == null) return [name, NONE];
  if (!limit) return [name, format(value)];
  const text = `${Format.text(format(value))} of ${Format.round(format(limit))}`;
  return [name, text, value / limit, value / limit >= warn];
}

const last = (column) => Series.columns[column].at(-1) ?? null;

// The highest value of the last minute; null if there is none.
function lately(column) {
  const values = Series.columns[column].slice(-60).filter((value) => value !== null);
  return values.length ? Math.max(...values) : null;
}

function showNow({ store, clients }) {
  now.show([
    ['operations/s', Format.short(last('operations'))],
    ['calls/s', Format.short(last('calls'))],
    ['latency p50', Format.micros(last('p50_us'))],
    ['latency p99', Format.micros(last('p99_us'))],
    ['owner busy', percent(last('busy'))],
    ['keys', Format.short(store.keys)],
    ['sessions', Format.short(store.sessions)],
    ['watches', Format.short(store.watches)],
    ['connections', Format.short(clients.connections)],
  ]);
}

function showCluster({ cluster }, show, count) {
  facts.Cluster.node.hidden = !cluster;
  facts.etcd.node.hidden = !cluster?.etcd;
  if (!cluster) return;
  const { takeover, etcd } = cluster;
  show('Cluster', [
    ['node', cluster.node],
    ['what it does', cluster.step],
    ['owner', cluster.owner || 'none is known', null, !cluster.owner],
    ...(cluster.is_owner ? [] : [
      ['address of the owner', cluster.owner_address || 'none'],
      ['calls reach the owner', cluster.reaches_owner ? 'yes' : 'no', null, !cluster.reaches_owner],
      ['lag', Format.micros(cluster.lag_us), null, cluster.lag_us > 5e6],
    ]),
    ['epoch', count(cluster.epoch)],
    ['record', count(cluster.seq)],
    ...(cluster.is_owner ? [
      ['confirmation p50, last minute', Format.micros(lately('confirm_p50_us'))],
      ['confirmation p99, last minute', Format.micros(lately('confirm_p99_us'))],
      ['commits sent again', count(cluster.commit_retries ?? 0)],
    ] : []),
    ...(takeover ? [
      ['became the owner', ago(takeover.unix)],
      ['because', takeover.why],
      ['that took', Format.micros(takeover.took_us)],
    ] : []),
  ]);
  if (etcd) {
    show('etcd', [
      ['version', etcd.version],
      ['leader', etcd.leader || 'none', null, !etcd.leader],
      filled_of('largest file', etcd.file_bytes, etcd.quota_bytes, Format.bytes, 0.7),
    ]);
  }
}

function showFacts(status) {
  const { mailbox, store, disk, clients, refusals } = status;
  const count = (n) => [Format.count(n), ''];
  const show = (title, rows) => facts[title].rows.show(rows);
  showCluster(status, show, count);
  show('Mailbox and owner', [
    filled_of('messages waiting', mailbox.messages, mailbox.messages_limit, count),
    filled_of('bytes waiting', mailbox.bytes, mailbox.bytes_limit, Format.bytes),
    ['wait p50, last minute', Format.micros(lately('wait_p50_us'))],
    ['wait p99, last minute', Format.micros(lately('wait_p99_us'))],
  ]);
  show('Store', [
    filled_of('bytes', store.bytes, store.bytes_limit, Format.bytes),
    ['keys', count(store.keys)],
    filled_of('sessions', store.sessions, store.sessions_limit, count),
    filled_of('watches', store.watches, store.watches_limit, count),
    filled_of('machines', store.machines, store.machines_limit, count),
    filled_of('remembered request ids', store.request_ids, store.request_ids_limit, count),
    ['revision', count(store.revision)],
  ]);
  facts.Disk.node.hidden = !disk;
  commits.node.hidden = !disk;
  if (disk) {
    show('Disk', [
      ['changes not on disk yet', count(disk.unsynced_operations)],
      ['log since the last snapshot', Format.bytes(disk.log_bytes)],
      ['free', Format.bytes(disk.free_bytes), null, disk.low],
      ['last snapshot', ago(disk.snapshot_unix)],
      ['last backup', ago(disk.backup_unix)],
    ]);
  }
  show('Clients', [
    filled_of('connections', clients.connections, clients.connections_limit, count),
    ['connections since the start', count(clients.connections_total)],
    ['failed logins', count(clients.auth_failures)],
    ['denied calls', count(clients.denied)],
  ]);
  const refused = refusals.slice().sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
  show('Refusals since the start', refused.length
    ? refused.slice(0, 10).map(({ reason, count: n }) => [reason.toLowerCase().replaceAll('_', ' '), count(n)])
    : [['none', '']]);
}

function ago(unix) {
  return unix ? `${Format.age(Answer.serverNow() / 1000 - unix)} ago` : 'none yet';
}

function showServer({ server }) {
  say($('version'), server.version);
  const troubled = !['serving', 'standby'].includes(server.health) || server.problems.length > 0;
  document.body.classList.toggle('troubled', troubled);
  if (!document.body.classList.contains('away')) say($('health-text'), [server.health, ...server.problems].join(', '));
  const parts = [
    location.host,
    server.role,
    server.store_id || server.health === 'standby' ? '' : 'opening the store',
    `up ${Format.age(Answer.serverNow() / 1000 - server.started_unix)}`,
    server.durability ? `on disk, durability ${server.durability}` : server.store_id ? 'in memory only' : '',
    server.durability ? `start ${server.epoch}` : '',
    server.store_id ? `store ${server.store_id.slice(0, 8)}` : '',
  ].filter(Boolean);
  const about = $('about');
  if (about.children.length !== parts.length) about.replaceChildren(...parts.map(() => element('span')));
  parts.forEach((text, i) => say(about.children[i], text));
}

const views = new Map();

function showMachines({ machines, machine_count }) {
  if (!machines) {
    // The owner has not answered in time. What it said last stays.
    say($('machines-note'), machine_count ? 'The owner does not answer: these numbers are old.' : '');
    return;
  }
  const place = $('machines');
  // The width of a drawing: without the borders and paddings of its card.
  const width = place.clientWidth - 36;
  for (const [name, view] of views) {
    if (!machines.some((machine) => machine.name === name)) {
      view.node.remove();
      views.delete(name);
    }
  }
  machines.forEach((machine, i) => {
    let view = views.get(machine.name);
    if (!view || view.shape !== shapeOf(machine) || view.width !== width) {
      const anew = new MachineView(machine, width);
      if (view) {
        anew.table.open = view.table.open;
        view.node.replaceWith(anew.node);
      }
      views.set(machine.name, anew);
      view = anew;
    } else {
      view.show(machine);
    }
    if (place.children[i] !== view.node) place.insertBefore(view.node, place.children[i] ?? null);
  });
  $('legend').hidden = machines.length === 0;
  const more = machine_count - machines.length;
  say($('machines-note'), machine_count === 0 ? 'None is defined. A machine is a protocol that the server holds keys to: DefineMachine makes one.'
    : more > 0 ? `The first ${machines.length} of ${Format.count(machine_count)}, by name.` : '');
}

// The last minutes, in words: one row a minute.
function showMinutes() {
  if (!$('minutes').open) return;
  const heads = ['minute', ...charts.flatMap((chart) => (chart.node.hidden ? [] : chart.lines.map((line) => `${chart.title}: ${line.name}`)))];
  const lines = charts.flatMap((chart) => (chart.node.hidden ? [] : chart.lines.map((line) => ({ ...line, format: chart.format }))));
  $('minutes').querySelector('thead').replaceChildren(
    element('tr', {}, ...heads.map((text, i) => element('th', { scope: 'col', class: i ? 'n' : '' }, text))));
  const rows = [];
  for (let end = Series.columns.calls.length; end > 0; end -= 60) {
    const cells = lines.map(({ column, format }) => {
      const values = Series.columns[column].slice(Math.max(0, end - 60), end).filter((v) => v != null);
      const mean = values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
      return element('td', { class: 'n' }, Format.text(format(mean)));
    });
    const at = Series.until - (Series.columns.calls.length - end) * Series.seconds * 1000;
    rows.push(element('tr', {}, element('th', { scope: 'row' }, `until ${Format.clock(at)}`), ...cells));
  }
  $('minutes').querySelector('tbody').replaceChildren(...rows);
}

// The last answer, and how the server's clock differs from that of this computer.
const Answer = {
  status: null,
  at: 0,
  skew: 0,
  serverNow: () => Date.now() + Answer.skew,
};

function show(status) {
  const again = Answer.status && Answer.status.server.started_unix !== status.server.started_unix;
  Answer.skew = status.server.now_unix * 1000 - Date.now();
  Answer.status = status;
  Answer.at = Date.now();
  if (again) Series.next = -1;
  Series.add(status.series, Date.now());
  say($('span'), Format.timeout(Series.length * Series.seconds * 1000).replace(' min', ' minutes'));
  document.body.classList.remove('waiting', 'away');
  $('gone').hidden = true;
  document.title = 'Soloist';
  redraw();
}

function redraw() {
  const { status } = Answer;
  if (!status) return;
  showServer(status);
  showNow(status);
  showFacts(status);
  for (const chart of charts) chart.show(Series);
  showMachines(status);
  showMinutes();
}

// Says that the numbers are old. What is shown stays.
function away(why) {
  document.body.classList.add('away');
  document.title = why.permission ? 'Soloist' : 'Soloist: no answer';
  say($('health-text'), why.permission ? 'not permitted' : 'no answer');
  $('gone').hidden = false;
  // Only what is said once is an alert; the seconds are for eyes.
  say($('gone-text'), why.permission ? `${why.permission} Reload this page to log in.`
    : Answer.at ? `No answer since ${Format.clock(Answer.at)}. The numbers below are of that time.` : 'No answer yet.');
  say($('gone-age'), why.permission || !Answer.at ? '' : `That was ${Format.age((Date.now() - Answer.at) / 1000)} ago. Asking again each second.`);
}

async function ask() {
  const answer = await fetch(`status.json?since=${Math.max(0, Series.next)}`, {
    cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.status === 401 || answer.status === 403) {
    forbidden = true;
    throw Object.assign(new Error('not permitted'), { permission: 'The server does not let you see this any more.' });
  }
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

let timer = null;
let asking = false;
let forbidden = false;

async function poll() {
  clearTimeout(timer);
  if (document.hidden || asking || forbidden) return;
  asking = true;
  const begun = Date.now();
  try {
    show(await ask());
  } catch (why) {
    away(why);
  }
  asking = false;
  // Nobody looks at a hidden tab. It asks again as soon as it is shown. Who may not look any more is not asked to log in again
  // and again.
  if (!document.hidden && !forbidden) timer = setTimeout(poll, Math.max(100, POLL_MS - (Date.now() - begun)));
}

document.addEventListener('visibilitychange', poll);
$('minutes').addEventListener('toggle', showMinutes);
new ResizeObserver(redraw).observe($('charts'));
poll();
