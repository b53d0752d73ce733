//! Hostile and curious components: core functions as WAT, most of them the runtime's own fixtures, made into packages.

#[path = "../../kernel/runtime/tests/fixtures/mod.rs"]
mod fixtures;

use carapace_registry::package;

/// Fixtures that the runtime's own tests use, too; each begins with what it does.
pub mod wat {
    /// Fetches the endpoint `api`.
    pub const FETCH: &str = super::fixtures::wat::FETCH;
    /// Hands the kernel 24 MiB in one host call.
    pub const GIANT_ARGUMENT: &str = super::fixtures::wat::GIANT_ARGUMENT;
    /// Answers with 24 MiB.
    pub const GIANT_RESULT: &str = super::fixtures::wat::GIANT_RESULT;
    /// Answers with 1,000,000 bytes.
    pub const LARGE_RESULT: &str = super::fixtures::wat::LARGE_RESULT;
    /// Writes log lines for ever.
    pub const CHATTER: &str = super::fixtures::wat::CHATTER;
    /// Collects responses of the endpoint `api` and lets go of none.
    pub const HANDLE_FLOOD: &str = super::fixtures::wat::HANDLE_FLOOD;
    /// Looks up its arguments in its kv namespace.
    pub const KV: &str = super::fixtures::wat::KV;
    /// Never ends.
    pub const LOOP: &str = super::fixtures::wat::LOOP;
    /// Takes all the memory there is.
    pub const MEMORY_BOMB: &str = super::fixtures::wat::MEMORY_BOMB;
    /// Reads where it has nothing.
    pub const OUT_OF_BOUNDS: &str = super::fixtures::wat::OUT_OF_BOUNDS;
    /// Gives up.
    pub const PANIC: &str = super::fixtures::wat::PANIC;
    /// Calls itself for ever.
    pub const RECURSION: &str = super::fixtures::wat::RECURSION;
    /// Takes all the memory there is, by way of a table.
    pub const TABLE_BOMB: &str = super::fixtures::wat::TABLE_BOMB;
    /// Waits a second in the kernel, then never ends.
    pub const WAIT_THEN_LOOP: &str = super::fixtures::wat::WAIT_THEN_LOOP;
    /// Answers with its arguments.
    pub const ECHO: &str = super::fixtures::wat::ECHO;
    /// A provider that says `hello`.
    pub const EMIT: &str = super::fixtures::wat::EMIT;
    /// Answers with the beginning of its file `notes.txt`.
    pub const ASSET: &str = super::fixtures::wat::ASSET;
    /// Asks the clock to wait for seven weeks.
    pub const SLEEP: &str = include_str!("../fixtures/sleep.wat");
    /// Writes to its kv namespace until the kernel refuses.
    pub const KV_FLOOD: &str = include_str!("../fixtures/kv-flood.wat");
    /// Looks into its kv namespace, waits, and looks again.
    pub const KV_TWICE: &str = include_str!("../fixtures/kv-twice.wat");
    /// Counts how often it was called with the same arguments.
    pub const MARK: &str = include_str!("../fixtures/mark.wat");
    /// Answers with the form in which its pairs were, and brings them to its own.
    pub const KV_SCHEMA: &str = include_str!("../fixtures/kv-schema.wat");
    /// Proposes to install `acme/mail`.
    pub const PROPOSE: &str = include_str!("../fixtures/propose.wat");
    /// Tells what is behind its endpoint to approve, as the owner would the kernel.
    pub const APPROVE: &str = include_str!("../fixtures/approve.wat");
    /// Gives back everything the kernel ever put into its memory.
    pub const SPY: &str = include_str!("../fixtures/spy.wat");
    /// A provider that says something and breaks.
    pub const BREAKS_OFF: &str = include_str!("../fixtures/breaks-off.wat");
    /// A provider that breaks before it says anything.
    pub const BREAKS: &str = include_str!("../fixtures/breaks.wat");
    /// A provider that never stops talking.
    pub const TALKS: &str = include_str!("../fixtures/talks.wat");
    /// A provider that emits pieces with nothing in them.
    pub const BABBLES: &str = include_str!("../fixtures/babbles.wat");
}

/// A component that lists these tools, all served by the fixture's `$main`.
pub fn tool(fields: &str, names: &[&str]) -> Vec<u8> {
    fixtures::tool(&format!("{fields}\n{}", listing(names)))
}

/// A provider component.
pub fn provider(fields: &str) -> Vec<u8> {
    fixtures::provider(fields)
}

/// A package of one tool that has its component's name; `uses` and `more` as in a manifest.
pub fn tool_package(name: &str, fields: &str, uses: &str, more: &str) -> Vec<u8> {
    let manifest = manifest(name, "0.1.0", &format!("[[tool]]\nname = \"{name}\"\nuses = [{uses}]\n{more}"));
    pack(&tool(fields, &[name]), &manifest)
}

/// A package of a provider.
pub fn provider_package(name: &str, fields: &str, more: &str) -> Vec<u8> {
    pack(&provider(fields), &manifest(name, "0.1.0", &format!("[provider]\n{more}")))
}

/// A manifest; `more` is TOML that follows `[component]`. Component names have no `_`, tools have no `-`.
pub fn manifest(name: &str, version: &str, more: &str) -> String {
    let name = name.replace('_', "-");
    format!(
        "[component]\nname = \"{name}\"\nversion = \"{version}\"\ncontract = \"0.1\"\ndescription = \"A fixture\"\n{more}"
    )
}

/// A package as `carapace plugin build` makes it.
pub fn pack(component: &[u8], manifest: &str) -> Vec<u8> {
    package::build(component, manifest).unwrap_or_else(|e| panic!("{e}\n{manifest}"))
}

/// Data that describe the tools: the list at 640, its records from 2048, their texts from 3072.
fn listing(names: &[&str]) -> String {
    const SCHEMA: &str = r#"{"type":"object"}"#;
    assert!(names.len() <= 16, "the records end where the texts begin");
    let mut texts = SCHEMA.to_owned();
    let mut records: Vec<u32> = Vec::new();
    let (schema, schema_len) = (3072, SCHEMA.len() as u32);
    for name in names {
        let at = 3072 + texts.len() as u32;
        let len = name.len() as u32;
        texts.push_str(name);
        // name, description, parameters, no extra
        records.extend([at, len, at, len, schema, schema_len, 0, 0]);
    }
    assert!(texts.len() <= 1024, "the heap begins at 4096");
    let bytes = |words: &[u32]| -> String {
        words.iter().flat_map(|w| w.to_le_bytes()).map(|b| format!("\\{b:02x}")).collect()
    };
    format!(
        "(data (i32.const 640) \"{}\") (data (i32.const 2048) \"{}\") (data (i32.const 3072) \"{}\")",
        bytes(&[2048, names.len() as u32]),
        bytes(&records),
        texts.replace('"', "\\22")
    )
}
