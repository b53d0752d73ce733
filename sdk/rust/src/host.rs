//! The imports, from the side that calls them: the kernel in a component, a [test host](crate::testing) elsewhere.

use crate::bindings::imports::carapace::plugin::http as wit;
use crate::http::Target;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
#[allow(unreachable_pub, unused_imports, reason = "the test host needs it")]
pub use native::Incoming;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

/// A request, as it goes to the kernel.
#[allow(missing_docs, unreachable_pub, reason = "only the test host sees it")]
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub method: String,
    pub target: crate::http::Target,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    pub timeout_ms: Option<u32>,
    pub extra: Vec<(String, String)>,
}

impl From<Outgoing> for wit::Request {
    fn from(r: Outgoing) -> Self {
        Self {
            method: r.method,
            target: match r.target {
                Target::Endpoint { endpoint, path } => wit::Target::Endpoint((endpoint, path)),
                Target::Handle(handle) => wit::Target::Handle(handle),
                Target::Public(url) => wit::Target::Public(url),
            },
            headers: r.headers,
            body: r.body.map_or(wit::Body::None, wit::Body::Bytes),
            timeout_ms: r.timeout_ms,
            extra: r.extra,
        }
    }
}
