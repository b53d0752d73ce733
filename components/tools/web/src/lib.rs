//! Pages of the web, as text: the tool `web_fetch`. Pictures and files, as they are: `web_file`.
//!
//! Which addresses may be reached, where a redirect may lead, and that nothing here is trusted afterwards, is the kernel's business.

mod charset;
mod fetch;
mod file;
mod html;
mod kind;
mod reader;

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug)]
pub struct Web;

const FETCH: &str = "Fetches a page of the web and gives what it says: HTML as text with its links, text and JSON as they are. \
PDFs, images and other files are named, not read: web_file brings them. Long pages come in parts.";
const FILE: &str = "Brings a picture or another file of the web, at most 7 MiB. It goes along with your answer to whoever you talk with; \
a picture you are shown, if you can see.";

impl Tools for Web {
    fn tools(set: &mut ToolSet) {
        set.add("web_fetch", FETCH, fetch::answer);
        set.add("web_file", FILE, file::answer);
    }
}

carapace_sdk::component!(Web: Tools);

#[cfg(test)]
mod tests;
