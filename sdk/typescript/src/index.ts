/// <reference path="./contract.d.ts" />
/** Components for Carapace in TypeScript. */
import "./globals.ts";

export * as assets from "./assets.ts";
export * as blob from "./blob.ts";
export * as clock from "./clock.ts";
export * as config from "./config.ts";
export { HostError, type Kind } from "./error.ts";
export * as http from "./http.ts";
export * as kv from "./kv.ts";
export * as lines from "./lines.ts";
export * as log from "./log.ts";
export * as memory from "./memory.ts";
export * as message from "./message.ts";
export * as random from "./random.ts";
export type { Infer, Schema } from "./schema.ts";
export * as secrets from "./secrets.ts";
export * as sessions from "./sessions.ts";
export * as settings from "./settings.ts";
export * from "./tools.ts";
