// The examples with a real server, which is killed meanwhile. SOLOIST_SERVER_BINARY says where it is.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { follow } from "./config.ts";
import type { Written } from "./contract.ts";
import { withLock } from "./lock.ts";
import { Soloist, SoloistError } from "./soloist.ts";

const BINARY =
  process.env.SOLOIST_SERVER_BINARY ??
  fileURLToPath(new URL("../../../target/release/soloist-server", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "soloist-typescript-"));
let address = "127.0.0.1:0";
let server: ChildProcess;
let soloist: Soloist;

async function start(): Promise<void> {
  const flags = ["--listen", address, "--data-dir", join(folder, "store"), "--log", "error"];
  server = spawn(BINARY, flags, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(server.stdout!), "line");
  address = line.replace("listening on ", "");
}

async function restart(): Promise<void> {
  server.kill("SIGKILL");
  await once(server, "exit");
  await start();
}

/** deploy/proxy/nginx.conf in front of the server. */
async function startNginx() {
  // Nobody else takes a port that was just free, or else nginx says so.
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const listen = `127.0.0.1:${(free.address() as AddressInfo).port}`;
  free.close();
  const path = join(folder, "nginx");
  mkdirSync(path);
  const config = readFileSync(new URL("../../../deploy/proxy/nginx.conf", import.meta.url), "utf8")
    .replace("127.0.0.1:50051", address)
    .replace("127.0.0.1:8080", listen);
  writeFileSync(
    join(path, "nginx.conf"),
    `daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events { worker_connections 1024; }
     http { keepalive_requests 100; log_format connection $connection; access_log connections connection;
     client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e; ${config} }`,
  );
  const unpacked = fileURLToPath(new URL("../../../.tools/nginx/usr/sbin/nginx", import.meta.url));
  const command = existsSync(unpacked) ? unpacked : "nginx";
  const nginx = spawn(command, ["-p", path, "-c", "nginx.conf"], { stdio: "ignore" });
  for (let isThere = false; !isThere; ) {
    const socket = connect(Number(listen.split(":")[1]), "127.0.0.1");
    isThere = await once(socket, "connect").then(() => true, () => false);
    socket.destroy();
    assert.equal(nginx.exitCode, null);
  }
  return {
    address: listen,
    /** How many connections have carried calls that have ended. */
    connections: () => new Set(readFileSync(join(path, "connections"), "utf8").split("\n")).size,
    end: async () => {
      nginx.kill("SIGTERM");
      await once(nginx, "exit");
    },
  };
}

before(async () => {
  await start();
  soloist = new Soloist(address);
});

after(async () => {
  soloist.close();
  server.kill("SIGTERM");
  await once(server, "exit");
  rmSync(folder, { recursive: true });
});

test("an error names its reason", async () => {
  const write = () => soloist.call<Written>("State", "Write", { key: "a", value: { int: 1n }, expect: { exists: false } });
  await write();
  await assert.rejects(write, (error: SoloistError) => {
    assert.equal(error.reason, "KEY_EXISTS");
    assert.ok(BigInt(error.metadata.revision!) > 0n);
    return true;
  });
  assert.throws(() => soloist.call("State", "Nothing", {}), /no call soloist\.v1\.State\/Nothing/);
});

test("calls go on over a kill, and are applied once", async () => {
  let sum = 0n;
  for (let round = 0; round < 3; round++) {
    for (let call = 0; call < 20; call++) {
      if (call === 10) await restart();
      ({ value: sum } = await soloist.call<{ value: bigint }>("State", "Add", { key: "n", delta: 1 }));
    }
  }
  assert.equal(String(sum), "60");
});

test("calls go on behind nginx, which ends each connection after a hundred calls", async () => {
  const nginx = await startNginx();
  const behind = new Soloist(nginx.address);
  try {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        for (let call = 0; call < 50; call++) await behind.call("State", "Add", { key: "behind", delta: 1 });
      }),
    );
    const { value: sum } = await behind.call<{ value: bigint }>("State", "Add", { key: "behind", delta: 0 });
    assert.equal(String(sum), "500");
    assert.ok(nginx.connections() >= 5);
  } finally {
    behind.close();
    await nginx.end();
  }
});

test("a configuration is followed over a kill", async () => {
  const end = new AbortController();
  const seen: string[] = [];
  const isSeen = new Map(["red", "green", "blue", "white"].map((color) => [color, Promise.withResolvers<void>()]));
  const write = (color: string) =>
    soloist.call("State", "Write", { key: "config/color", value: { text: color } });
  await write("red");
  const following = follow(
    soloist,
    "config/",
    (config) => {
      const value = config.get("config/color");
      const color = value?.kind === "text" ? value.text : "?";
      seen.push(color);
      isSeen.get(color)?.resolve();
    },
    end.signal,
  );
  for (const [color, { promise }] of isSeen) {
    if (color !== "red") await write(color);
    if (color === "green") await restart();
    await promise;
  }
  end.abort();
  await following;
  assert.deepEqual(seen, ["red", "green", "blue", "white"]);
});

test("a lock has turns in order, over a kill, with growing tokens", async () => {
  const turns: number[] = [];
  const tokens: bigint[] = [];
  const waiting: Promise<void>[] = [];
  let inside = 0;
  const contender = (number: number) =>
    withLock(
      soloist,
      "locks/printer",
      async ({ token, signal }) => {
        assert.equal(++inside, 1);
        turns.push(number);
        tokens.push(token);
        if (number === 2) await restart();
        assert.ok(!signal.aborted);
        inside--;
      },
      5,
    );
  await withLock(
    soloist,
    "locks/printer",
    async () => {
      for (let number = 0; number < 5; number++) {
        waiting.push(contender(number));
        // Until it has its place.
        for (let places = 0; places < number + 2; ) {
          const page = await soloist.call<{ entries: unknown[] }>("State", "List", { prefix: "locks/printer/" });
          places = page.entries.length;
        }
      }
      assert.deepEqual(turns, []);
    },
    5,
  );
  await Promise.all(waiting);
  assert.deepEqual(turns, [0, 1, 2, 3, 4]);
  assert.ok(tokens.every((token, at) => at === 0 || token > tokens[at - 1]!));
});

test("a lock that is lost rejects", async () => {
  const lost = withLock(soloist, "locks/lost", async ({ signal }) => {
    const page = await soloist.call<{ entries: { key: string }[] }>("State", "List", { prefix: "locks/lost/" });
    const id = page.entries[0]!.key.replace("locks/lost/", "");
    await soloist.call("Sessions", "OpenSession", { id, takeOver: true, ttl: { seconds: 10 } });
    await once(signal, "abort");
  }, 1);
  await assert.rejects(lost, (error: SoloistError) => error.reason === "SESSION_TAKEN_OVER");
});
