import host, { type Level } from "carapace:plugin/log";

export type { Level };

/** A line with fields. A message is cut at 4 KiB; at most 32 fields. */
export function write(level: Level, message: string, fields: Readonly<Record<string, string>> = {}): void {
  host.write(level, message, Object.entries(fields));
}
/** For who follows the code. */
export function trace(message: string, fields?: Readonly<Record<string, string>>): void {
  write("trace", message, fields);
}
/** For who debugs the component. */
export function debug(message: string, fields?: Readonly<Record<string, string>>): void {
  write("debug", message, fields);
}
/** For the owner who looks. */
export function info(message: string, fields?: Readonly<Record<string, string>>): void {
  write("info", message, fields);
}
/** For the owner: something is not as it should be. */
export function warn(message: string, fields?: Readonly<Record<string, string>>): void {
  write("warn", message, fields);
}
/** For the owner: something failed. */
export function error(message: string, fields?: Readonly<Record<string, string>>): void {
  write("error", message, fields);
}
