// node build.mjs WIT OUT: app.js to a component. Without the features that want an HTTP server or client of WASI.
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFileSync } from "node:fs";

const [witPath, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: "app.js",
  witPath,
  worldName: "letters",
  disableFeatures: ["http", "fetch-event"],
});
writeFileSync(out, component);
