// All kinds of calls, with grpc-js: grpc_js.cjs ADDRESS PROTO.
"use strict";

const assert = require("node:assert/strict");
const { on, once } = require("node:events");
const { promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, proto] = process.argv.slice(2);
const options = { includeDirs: [proto], longs: Number, arrays: true };
const definition = loader.loadSync("soloist/v1/state.proto", options);
const { State } = grpc.loadPackageDefinition(definition).soloist.v1;
const state = new State(address, grpc.credentials.createInsecure(), {
  // A ping every 50 ms. A server that does not answer one loses its connection.
  "grpc.keepalive_time_ms": 50,
  "grpc.keepalive_timeout_ms": 20_000,
});
const read = promisify(state.read).bind(state);
const write = promisify(state.write).bind(state);
const LARGE = "x".repeat(1_000_000);

/** The messages of a call, one by one. */
async function* messagesOf(call) {
  for await (const [message] of on(call, "data", { close: ["end"] })) yield message;
}

/** The code with which a call ends. */
const codeOf = (call) => new Promise((resolve) => call.once("status", ({ code }) => resolve(code)));

/** Says how far it is, and waits until it may go on. */
async function step(text) {
  console.log(text);
  await once(process.stdin, "data");
}

async function main() {
  assert.equal((await write({ key: "1", value: { int: 42 } })).revision, 1);
  const reads = await Promise.all(Array.from({ length: 100 }, () => read({ key: "1" })));
  assert.ok(reads.every((answer) => answer.entry.value.int === 42));

  // Each frame is sent when the one before it was answered.
  const pipeline = state.pipeline();
  const ended = codeOf(pipeline);
  const answers = messagesOf(pipeline);
  for (let sum = 1; sum <= 3; sum++) {
    pipeline.write({ ops: [{ add: { key: "sum", delta: 1 } }, { read: { key: "1" } }] });
    const [added, found] = (await answers.next()).value.results;
    assert.deepEqual([added.add.value, found.read.entry.value.int], [sum, 42]);
  }
  pipeline.end();
  assert.ok((await answers.next()).done);
  assert.equal(await ended, grpc.status.OK);

  const watch = state.watch({ key: "watched" });
  const events = messagesOf(watch);
  assert.equal((await events.next()).value.events.length, 0);
  await write({ key: "watched", value: { text: "first" } });
  assert.equal((await events.next()).value.events[0].entry.value.text, "first");
  await step("a watch is open, and quiet");
  await write({ key: "watched", value: { text: "second" } });
  assert.equal((await events.next()).value.events[0].entry.value.text, "second");
  const cancelled = codeOf(watch);
  watch.on("error", () => {});
  watch.cancel();
  assert.equal(await cancelled, grpc.status.CANCELLED);
  await step("the watch was cancelled");

  const late = state.watch({ key: "watched" }, { deadline: Date.now() + 100 });
  late.on("error", () => {}).resume();
  assert.equal(await codeOf(late), grpc.status.DEADLINE_EXCEEDED);

  await write({ key: "large", value: { text: LARGE } });
  const large = await Promise.all(Array.from({ length: 5 }, () => read({ key: "large" })));
  assert.ok(large.every((answer) => answer.entry.value.text === LARGE));
  const frames = state.pipeline();
  for (let frame = 0; frame < 3; frame++) {
    frames.write({ ops: [{ write: { key: "large", value: { text: LARGE } } }, { read: { key: "large" } }] });
  }
  frames.end();
  let count = 0;
  for await (const answer of messagesOf(frames)) {
    assert.equal(answer.results[1].read.entry.value.text, LARGE);
    count++;
  }
  assert.equal(count, 3);
  state.close();
  process.stdin.destroy();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
