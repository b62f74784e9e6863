// Holds the lock as the example in TypeScript does, and runs the command that writes: holder.mjs ADDRESS FILE NUMBER SCRIPT

import { spawnSync } from "node:child_process";
import { registerHooks } from "node:module";

const root = new URL("../../../../../", import.meta.url).href;

// What the example needs is in the tools.
registerHooks({
  resolve(specifier, context, next) {
    const isPackage = /^(@grpc\/|protobufjs)/.test(specifier) && !context.parentURL?.includes("/node_modules/");
    return next(specifier, isPackage ? { ...context, parentURL: `${root}.tools/holder.mjs` } : context);
  },
});

const { withLock } = await import(`${root}examples/typescript/src/lock.ts`);
const { Soloist } = await import(`${root}examples/typescript/src/soloist.ts`);

const [address, file, number, script] = process.argv.slice(2);
const soloist = new Soloist(address);
let code = 75;
try {
  await withLock(
    soloist,
    "l",
    async ({ token }) => {
      const env = { ...process.env, SOLOIST_LOCK_TOKEN: `${token}` };
      code = spawnSync("sh", ["-c", script, "sh", file, number], { env, stdio: "inherit" }).status ?? 75;
    },
    2,
  );
} catch (error) {
  console.error(`${error}`);
  code = 75;
}
soloist.close();
process.exit(code);
