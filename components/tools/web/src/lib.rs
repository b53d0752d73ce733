//! Pages of the web, as text: the tool `web_fetch`.
//!
//! Which addresses may be reached, where a redirect may lead, and that nothing here is trusted afterwards, is the kernel's business.

mod charset;
mod fetch;
mod html;
mod kind;
mod reader;

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug)]
pub struct Web;

const FETCH: &str = "Fetches a page of the web and gives what it says: HTML as text with its links, text and JSON as they are. \
PDFs, images and other files are named, not read. Long pages come in parts.";

impl Tools for Web {
    fn tools(set: &mut ToolSet) {
        set.add("web_fetch", FETCH, fetch::answer);
    }
}

carapace_sdk::component!(Web: Tools);

#[cfg(test)]
mod tests;
