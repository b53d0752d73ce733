// Runs the SDK's own tests in Node, where there is no kernel: what is imported of it is an object without functions.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(tmpdir(), "carapace-sdk-"));
const nothing = {
  name: "no kernel",
  setup(build) {
    // Nor are the language's own objects replaced.
    build.onResolve({ filter: /^carapace:|\/globals\.ts$/ }, ({ path }) => ({ path, namespace: "kernel" }));
    build.onLoad({ filter: /.*/, namespace: "kernel" }, () => ({ contents: "export default {};" }));
  },
};
const tests = readdirSync(here).filter((file) => file.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((file) => join(here, file)),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  logLevel: "warning",
  plugins: [nothing],
});
const bundled = tests.map((file) => join(out, file.replace(/\.ts$/, ".mjs")));
const { status } = spawnSync(process.execPath, ["--test", ...bundled], { stdio: "inherit" });
rmSync(out, { recursive: true });
process.exit(status ?? 1);
