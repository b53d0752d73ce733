//! Pages of the web, as text: the tool `web_fetch`.
//!
//! Which addresses may be reached, where a redirect may lead, and that nothing here is trusted afterwards, is the kernel's business.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tool", generate_all });
}
mod charset;
mod fetch;
mod html;
mod kind;
mod reader;

use bindings::carapace::plugin::http;
use bindings::carapace::plugin::types::Error;
use bindings::exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};

/// The component.
#[derive(Debug)]
pub struct Web;

const FETCH: &str = "Fetches a page of the web and gives what it says: HTML as text with its links, text and JSON as they are. \
PDFs, images and other files are named, not read. Long pages come in parts.";

impl Guest for Web {
    fn list() -> Vec<Tool> {
        vec![Tool {
            name: "web_fetch".into(),
            description: FETCH.into(),
            parameters: r#"{"type":"object","properties":{"url":{"type":"string","maxLength":4096,"description":"https://… or http://…"},"from":{"type":"integer","minimum":0,"description":"where to go on in a long page: the number that the part before ended with"}},"required":["url"],"additionalProperties":false}"#.into(),
            extra: Vec::new(),
        }]
    }

    fn call(name: String, arguments: String, _context: Context) -> Result<Vec<Content>, ToolError> {
        if name != "web_fetch" {
            return Err(ToolError::NotFound(format!("there is no tool `{name}` here; there is `web_fetch`")));
        }
        fetch::answer(&arguments, &mut Kernel(None)).map(|text| vec![Content::Text(text)])
    }
}

/// A response before its body.
#[derive(Debug, Clone)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    /// After redirects.
    url: String,
}

/// One request, and the body of its response.
trait Door {
    fn get(&mut self, url: &str) -> Result<Head, Error>;
    /// The next bytes; none at the end.
    fn read(&mut self) -> Result<Vec<u8>, Error>;
}

struct Kernel(Option<http::Response>);

impl Door for Kernel {
    fn get(&mut self, url: &str) -> Result<Head, Error> {
        let accept = "text/html, application/xhtml+xml, text/plain, application/json;q=0.9, */*;q=0.5";
        let request = http::Request {
            method: "GET".into(),
            target: http::Target::Public(url.into()),
            headers: vec![("accept".into(), accept.into())],
            body: http::Body::None,
            timeout_ms: Some(30_000),
            extra: Vec::new(),
        };
        let response = http::send(&request).map_err(|failure| failure.error)?;
        let head = Head { status: response.status(), headers: response.headers(), url: response.url() };
        self.0 = Some(response);
        Ok(head)
    }

    fn read(&mut self) -> Result<Vec<u8>, Error> {
        self.0.as_ref().map_or(Ok(Vec::new()), |response| response.read(1 << 18))
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
bindings::export!(Web with_types_in bindings);

#[cfg(test)]
mod tests;
