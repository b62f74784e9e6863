// Configuration that follows the store: node src/config.ts [PREFIX]

import { pathToFileURL } from "node:url";
import type { Entry } from "./contract.ts";
import { Soloist } from "./soloist.ts";

/** Calls `changed` with the whole configuration: when all of it has come, and after each change. Ends with `signal`. */
export async function follow(
  soloist: Soloist,
  prefix: string,
  changed: (config: ReadonlyMap<string, NonNullable<Entry["value"]>>) => void,
  signal?: AbortSignal,
): Promise<void> {
  const config = new Map<string, NonNullable<Entry["value"]>>();
  let isWhole = false;
  for await (const message of soloist.watch({ prefix, initial: true }, signal)) {
    for (const { entry } of message.events) {
      if (entry.value) config.set(entry.key, entry.value);
      else config.delete(entry.key);
    }
    // A watch that was opened again catches up once more, and nothing has changed by that.
    const isNew = message.events.length > 0 || !isWhole;
    isWhole ||= message.caughtUp;
    if (isWhole && isNew) changed(config);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await follow(new Soloist(), process.argv[2] ?? "config/", (config) => console.log(Object.fromEntries(config)));
}
