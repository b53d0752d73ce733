/** The part of JSON Schema (2020-12) whose types TypeScript derives; any other keyword is passed on as it is. */
export interface Schema {
  readonly type?: "object" | "string" | "number" | "integer" | "boolean" | "array" | "null";
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly [keyword: string]: unknown;
}

/** What a value that fits the schema is. The kernel checks it before a tool is called. */
export type Infer<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly type: "string" }
      ? string
      : S extends { readonly type: "number" | "integer" }
        ? number
        : S extends { readonly type: "boolean" }
          ? boolean
          : S extends { readonly type: "null" }
            ? null
            : S extends { readonly type: "array" }
              ? S extends { readonly items: infer I }
                ? Infer<I>[]
                : unknown[]
              : S extends { readonly type: "object" }
                ? Fields<S>
                : unknown;

type Required<S> = S extends { readonly required: readonly (infer R)[] } ? R : never;

type Fields<S> = S extends { readonly properties: infer P }
  ? { [K in keyof P as K extends Required<S> ? K : never]: Infer<P[K]> } & {
      [K in keyof P as K extends Required<S> ? never : K]?: Infer<P[K]>;
    }
  : Record<string, unknown>;
