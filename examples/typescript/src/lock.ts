// A lock with turns in order, and a fencing token: node src/lock.ts [NAME]
//
// Every contender has a key of its own under the name of the lock, which ends with its session. The oldest key holds the lock:
// see docs/recipes.md. Clients in other languages that do the same can share the lock.

import { pathToFileURL } from "node:url";
import type { Entry, ListResponse, Session, Written } from "./contract.ts";
import { Soloist, SoloistError } from "./soloist.ts";

/** What the body of `withLock` gets. */
export interface Held {
  /** Greater than those of all earlier holders: send it with everything that is done under the lock. */
  token: bigint;
  /** Aborted when the lock is lost: somebody else may hold it then. */
  signal: AbortSignal;
}

/**
 * Waits for the lock, runs `body`, and gives the lock up. Rejects if the lock was lost meanwhile.
 *
 * `ttl`: how long, in seconds, the others wait for a holder that is gone. At least 1.
 */
export async function withLock<T>(
  soloist: Soloist,
  name: string,
  body: (held: Held) => Promise<T>,
  ttl = 10,
): Promise<T> {
  const opened = performance.now();
  const session = await soloist.call<Session>("Sessions", "OpenSession", { ttl: { seconds: ttl } });
  const id = { id: session.id, createRevision: session.createRevision };
  const keepAlive = new KeepAlive(soloist, session, ttl, opened);
  try {
    const key = `${name}/${session.id}`;
    const { createRevision } = await soloist.call<Written>("State", "Write", {
      key,
      value: { text: `${process.pid}` },
      session: session.id,
      sessionCreateRevision: session.createRevision,
      expect: { exists: false },
    });
    await turn(soloist, name, key, createRevision, keepAlive.signal);
    const result = await body({ token: createRevision, signal: keepAlive.signal });
    keepAlive.signal.throwIfAborted();
    return result;
  } finally {
    keepAlive.stop();
    // The key ends with the session: now, or after its ttl.
    await soloist.call("Sessions", "CloseSession", id).catch(() => {});
  }
}

/** Waits until no key in the queue is older than this one. */
async function turn(
  soloist: Soloist,
  name: string,
  key: string,
  createRevision: bigint,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    let isHere = false;
    let ahead: { entry: Entry; seenAt: bigint } | undefined;
    let pageToken = "";
    do {
      const page = await soloist.call<ListResponse>("State", "List", { prefix: `${name}/`, keysOnly: true, pageToken });
      for (const entry of page.entries) {
        // A name may be the beginning of another: keys of that one have one more slash.
        if (entry.key.slice(name.length + 1).includes("/")) continue;
        isHere ||= entry.key === key && entry.createRevision === createRevision;
        if (entry.createRevision < createRevision && (!ahead || entry.createRevision > ahead.entry.createRevision)) {
          ahead = { entry, seenAt: page.revision };
        }
      }
      pageToken = page.nextPageToken;
    } while (pageToken);
    signal.throwIfAborted();
    if (!isHere) throw new Error(`the place ${key} in the queue is gone, and its session with it`);
    if (!ahead) return;
    await gone(soloist, ahead.entry.key, ahead.seenAt, signal);
  }
}

async function gone(soloist: Soloist, key: string, afterRevision: bigint, signal: AbortSignal): Promise<void> {
  try {
    for await (const { events } of soloist.watch({ key, afterRevision }, signal)) {
      if (events.some(({ entry }) => entry.value === undefined)) return;
    }
  } catch (error) {
    // What has happened since cannot be told any more: the caller looks again.
    if (!(error instanceof SoloistError && error.reason === "REVISION_COMPACTED")) throw error;
  }
  signal.throwIfAborted();
}

/** Renews a session, and says when it is lost: counted from before the last renewal was sent. */
class KeepAlive {
  readonly #lost = new AbortController();
  #until: number;
  #timer: NodeJS.Timeout | undefined;
  #end: NodeJS.Timeout | undefined;

  constructor(soloist: Soloist, session: Session, ttl: number, sent: number) {
    this.#until = sent + ttl * 999;
    const id = { id: session.id, createRevision: session.createRevision };
    const watchEnd = () => {
      clearTimeout(this.#end);
      const late = () => this.#lose(new Error(`session ${session.id} could not be renewed in time`));
      this.#end = setTimeout(late, Math.max(0, this.#until - performance.now()));
    };
    const renew = async () => {
      const now = performance.now();
      try {
        await soloist.call("Sessions", "RenewSession", id);
        // The clocks of two machines run at slightly different rates.
        this.#until = now + ttl * 999;
        watchEnd();
      } catch (error) {
        const reason = error instanceof SoloistError ? error.reason : undefined;
        if (reason === "SESSION_NOT_FOUND" || reason === "SESSION_TAKEN_OVER") this.#lose(error as Error);
      }
      if (!this.signal.aborted && this.#timer) this.#timer = setTimeout(renew, (ttl * 1_000) / 3);
    };
    this.#timer = setTimeout(renew, (ttl * 1_000) / 3);
    watchEnd();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#end);
    this.#timer = undefined;
  }

  #lose(error: Error): void {
    this.stop();
    this.#lost.abort(error);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const soloist = new Soloist();
  await withLock(soloist, process.argv[2] ?? "locks/printer", async ({ token }) => {
    console.log(`holding the lock with token ${token}`);
  });
  soloist.close();
}
