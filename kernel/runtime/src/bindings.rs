//! The contract in `wit/` as Rust: traits for the imports, types for both sides, typed calls for the exports.
//!
//! Imports are `async` and may trap: their functions return `wasmtime::Result<…>`, where the outer `Err` ends
//! the call (a [`Stop`](crate::Stop), never a guest's business) and the inner one is the contract's `error`.

mod generated {
    #![allow(missing_docs, unused_lifetimes, clippy::all, reason = "generated from wit/")]
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package carapace:kernel;
            world kernel {
                include carapace:plugin/imports@0.1.0-dev;
                export carapace:plugin/tools@0.1.0-dev;
                export carapace:plugin/provider@0.1.0-dev;
                export carapace:plugin/channel@0.1.0-dev;
            }
        ",
        world: "carapace:kernel/kernel",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        additional_derives: [serde::Serialize, serde::Deserialize],
        with: { "carapace:plugin/http.response": super::HttpResponse },
    });
}

pub use generated::carapace::plugin::{
    assets, blob, clock, completion, config, http, kv, lines, log, memory, message, random, requests, secrets,
    sessions, settings, types,
};
pub use generated::exports::carapace::plugin::{channel, provider, tools};

/// `http.response` on the kernel's side. `host` implements [`ResponseBody`]; the head is plain data.
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers as the guest may see them.
    pub headers: Vec<(String, String)>,
    /// Where it came from, after redirects; without query or credentials.
    pub url: String,
    /// The rest.
    pub body: Box<dyn ResponseBody>,
}

/// A response's bytes, pulled.
#[async_trait::async_trait]
pub trait ResponseBody: Send {
    /// The next bytes, at most `max`; an empty list is the end.
    async fn read(&mut self, max: u32) -> Result<Vec<u8>, types::Error>;
    /// Keeps the rest as a blob, at most `max` bytes of it; its id.
    async fn to_blob(&mut self, max: u64) -> Result<String, types::Error>;
}
