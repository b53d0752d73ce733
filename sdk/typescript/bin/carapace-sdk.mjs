#!/usr/bin/env node
// carapace-sdk build: src/index.ts to build/component.wasm. carapace-sdk test: tests/*.test.ts, against what was built.
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const sdk = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));
const require = createRequire(import.meta.url);
const folder = process.cwd();
const out = join(folder, "build");
const entry = join(folder, "src", "index.ts");

/** Ends with what was wrong and what to do. */
function fail(text) {
  console.error(`carapace-sdk: ${text}`);
  process.exit(1);
}

function run(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { stdio: "inherit", env: { ...process.env, ...env } });
  if (error) fail(`cannot start ${program}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** The folder of a package that the SDK is built with: beside the SDK, or where npm has put it for the component. */
function packaged(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return fail(`${name} is not installed; run this once: npm install`);
  }
}

/** What makes the component, for whoever wants to build the same bytes. */
function compiler() {
  const version = (name) => `${name} ${JSON.parse(readFileSync(join(packaged(name), "package.json"), "utf8")).version}`;
  return ["componentize-qjs", "esbuild"].map(version).join(", ");
}

/** The contract's version, as components name it. */
function version() {
  const found = /^package carapace:plugin@([^;]+);/m.exec(readFileSync(join(sdk, "wit", "types.wit"), "utf8"));
  return found ? found[1] : fail("the SDK's copy of the contract names no version");
}

/** A component has no Node around it, and its tests have no kernel: each is checked against what it has. Goes on beside what follows. */
function checkTypes(part, types) {
  if (!existsSync(join(folder, "tsconfig.json"))) {
    fail('there is no tsconfig.json; it holds { "extends": "carapace-sdk/tsconfig.json", "include": ["src", "tests"] }');
  }
  const config = join(out, `tsconfig.${part}.json`);
  const options = { types, typeRoots: [dirname(packaged("@types/node"))] };
  writeFileSync(config, JSON.stringify({ extends: "../tsconfig.json", include: [`../${part}`], compilerOptions: options }));
  const checker = spawn(process.execPath, [join(packaged("typescript"), "bin", "tsc"), "-p", config], { stdio: "inherit" });
  return new Promise((good) => checker.on("error", (e) => fail(e.message)).on("close", (status) => (status === 0 ? good() : process.exit(1))));
}

/** Interfaces of the contract are the kernel's: what is imported of them stays an import, with the version. */
const contract = (at) => ({
  name: "contract",
  setup(build) {
    build.onResolve({ filter: /^carapace:/ }, ({ path }) => ({ path: `${path}@${at}`, external: true }));
  },
});

async function bundle() {
  const at = version();
  const esbuild = require("esbuild");
  const js = join(out, "component.js");
  const { metafile } = await esbuild.build({
    entryPoints: [entry],
    outfile: js,
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    target: "es2023",
    treeShaking: true,
    metafile: true,
    logLevel: "warning",
    plugins: [contract(at)],
  });
  const made = metafile.outputs[relative(folder, js)];
  const imports = [...new Set(made.imports.filter((i) => i.external).map((i) => i.path))].sort();
  const exported = made.exports.filter((name) => ["tools", "provider", "channel"].includes(name));
  if (exported.length === 0) {
    fail("src/index.ts exports nothing that the kernel calls: neither tools, nor provider, nor channel; write e.g. export const tools = toolset(…)");
  }
  // A file's place on this machine is not part of the component.
  const named = (path) => {
    const inside = relative(sdk, resolve(folder, path));
    return inside.startsWith("..") ? path : `carapace-sdk/${inside}`;
  };
  const code = Object.keys(metafile.inputs).reduce(
    (text, path) => text.replaceAll(`\n// ${path}\n`, `\n// ${named(path)}\n`),
    `\n${readFileSync(js, "utf8")}`,
  );
  writeFileSync(js, code.slice(1));
  return { js, imports, exports: exported.map((name) => `carapace:plugin/${name}@${at}`) };
}

/** The contract, and a world that has what the code imports and exports, and nothing else. */
function world({ imports, exports }) {
  const wit = join(out, "wit");
  cpSync(join(sdk, "wit"), join(wit, "deps", "carapace-plugin"), { recursive: true, dereference: true, filter: (f) => !/v\d/.test(relative(sdk, f)) });
  const lines = [...imports.map((i) => `  import ${i};`), ...exports.map((e) => `  export ${e};`)];
  writeFileSync(join(wit, "component.wit"), `package local:component;\n\nworld component {\n${lines.join("\n")}\n}\n`);
  return wit;
}

async function build() {
  if (!existsSync(entry)) fail(`there is no ${relative(folder, entry)} here; run this in a component's folder`);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const made = compiler();
  const types = checkTypes("src", []);
  const bundled = await bundle();
  const { componentize } = await import("componentize-qjs");
  const { component } = await componentize({
    witPath: world(bundled),
    world: "component",
    jsSource: readFileSync(bundled.js, "utf8"),
    jsPath: bundled.js,
    // No WASI: what the engine itself would ask of it is the SDK's (globals.ts), and the contract is synchronous.
    stubWasi: true,
    sync: true,
  });
  await types;
  const file = join(out, "component.wasm");
  writeFileSync(file, component);
  writeFileSync(join(out, "compiler.txt"), `${made}\n`);
  console.log(`${relative(folder, file)} (${component.length} bytes), without its manifest; \`carapace plugin build\` makes a package of it`);
}

/** A package of what is built now. */
async function built(carapace) {
  await build();
  const file = join(out, "package.wasm");
  run(carapace, ["plugin", "build", "--core", join(out, "component.wasm"), "--manifest", "carapace.toml", "--out", file]);
  return file;
}

/** `carapace plugin test` says what is tested, and by which host. */
async function test(args) {
  const carapace = process.env.CARAPACE_TEST_HOST ?? process.env.CARAPACE_BIN ?? "carapace";
  const component = process.env.CARAPACE_TEST_COMPONENT ?? (await built(carapace));
  mkdirSync(out, { recursive: true });
  const tests = join(folder, "tests");
  const found = existsSync(tests) ? readdirSync(tests).filter((f) => f.endsWith(".test.ts")) : [];
  if (found.length === 0) fail("there is no tests/*.test.ts");
  const types = checkTypes("tests", ["node"]);
  await require("esbuild").build({
    entryPoints: found.map((f) => join(tests, f)),
    outdir: join(out, "tests"),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "warning",
  });
  await types;
  const bundled = found.map((f) => join(out, "tests", f.replace(/\.ts$/, ".mjs")));
  run(process.execPath, ["--test", ...args, ...bundled], {
    CARAPACE_TEST_COMPONENT: component,
    CARAPACE_TEST_HOST: carapace,
  });
}

const commands = { build, test };
const [name, ...args] = process.argv.slice(2);
const command = commands[name];
if (command === undefined || (name === "build" && args.length > 0)) fail("usage: carapace-sdk build | carapace-sdk test [OPTIONS OF node --test]");
await command(args);
