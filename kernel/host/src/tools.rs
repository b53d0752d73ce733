//! The `Tools` port: what is on offer, and an authorized call in a fresh store.

use crate::behind::Handed;
use crate::host::Host;
use crate::instance::Live;
use crate::media;
use async_trait::async_trait;
use carapace_contract::Denial;
use carapace_contract::decision::{Authorized, Effect, PlannedCall};
use carapace_contract::media::{Media, file_name};
use carapace_contract::message::Part;
use carapace_contract::ports::{ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::ToolInfo;
use carapace_runtime::bindings::tools as wit;
use carapace_runtime::{CallError, TrapKind};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn failure(kind: &str, message: String) -> ToolFailure {
    ToolFailure { kind: kind.to_owned(), message, tainted: false }
}

/// A refusal in the words of tools.
pub(crate) fn denied(denial: &Denial) -> ToolFailure {
    failure("denied", denial.to_string())
}

/// A trap or a limit in the words of tools.
pub(crate) fn broken(e: &CallError) -> ToolFailure {
    let kind = match e.kind {
        TrapKind::Cancelled => "cancelled",
        TrapKind::Wall => "timeout",
        TrapKind::Busy => "unavailable",
        TrapKind::Unreachable | TrapKind::Fault => "trap",
        _ => "limit",
    };
    failure(kind, e.to_string())
}

/// The longest answer of a quiet tool, bytes.
const LONGEST_ID: usize = 64;

/// What a quiet tool may answer: an id, or nothing. No sentence fits into that, so nothing from outside reaches a model by it.
pub(crate) fn quietly(answer: Vec<wit::Content>) -> Result<Vec<wit::Content>, ToolFailure> {
    let id = match answer.as_slice() {
        [] => "",
        [wit::Content::Text(id)] => id.as_str(),
        _ => return Err(failure("failed", "a quiet tool answered more than an id".to_owned())),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@');
    if id.len() > LONGEST_ID || !id.chars().all(plain) {
        return Err(failure("failed", "a quiet tool answered something that is no id".to_owned()));
    }
    Ok(vec![wit::Content::Text(if id.is_empty() { "done".to_owned() } else { format!("done: {id}") })])
}

impl Host {
    /// A piece of an answer. Images and files are kept apart, as what the kernel sees them to be.
    async fn part(&self, live: &Live, piece: wit::Content) -> Part {
        let (name, data) = match piece {
            wit::Content::Text(text) => return Part::Text { text },
            wit::Content::Structured(value) => return Part::Other { name: "structured".to_owned(), value },
            wit::Content::Other(value) => return Part::Other { name: "other".to_owned(), value },
            wit::Content::Image(image) => (None, image.data),
            wit::Content::File(file) => (file_name(&file.name), file.data),
        };
        match media::keep(&self.services(), live, data).await {
            Ok(kept) => Part::Media(Media { name, ..kept }),
            Err(e) => Part::text(format!("[{} could not be kept: {e:?}]", name.as_deref().unwrap_or("a file"))),
        }
    }
}

#[async_trait]
impl Tools for Host {
    fn catalog(&self) -> Arc<Vec<ToolInfo>> {
        self.tool_catalog()
    }

    async fn call(&self, call: &Authorized<PlannedCall>, cancel: CancellationToken) -> Result<ToolOutput, ToolFailure> {
        let planned = call.get();
        // What was authorized is this package's tool; another package of the same name has to be asked for anew.
        let Some(live) = self.instance_of(&planned.instance, planned.digest).map_err(|d| denied(&d))? else {
            let message = format!("`{}` was replaced while the call was planned; ask again", planned.instance);
            return Err(failure("unavailable", message));
        };
        let handed = Handed::default();
        let answer = self.tool_call(&live, planned, handed.clone(), cancel).await;
        // A failure is told in the guest's own words, which are made of the same things.
        let tainted = planned.effects.has(Effect::Fetch) || handed.anything();
        match answer {
            Ok(content) => {
                let mut parts = Vec::with_capacity(content.len());
                for piece in content {
                    parts.push(self.part(&live, piece).await);
                }
                Ok(ToolOutput { content: parts, tainted })
            }
            // Of a quiet one, too: there, the other side's words stand in failures alone.
            Err(failure) => {
                let quiet = live.package.manifest().tool(&planned.tool).is_some_and(|t| t.quiet);
                Err(ToolFailure { tainted: tainted || quiet, ..failure })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_quiet_tool_an_id_comes_back_and_no_sentence_does() {
        let said = |text: &str| quietly(vec![wit::Content::Text(text.to_owned())]);
        let [wit::Content::Text(id)] = &said("12:3.a-b_c@d").unwrap()[..] else { panic!("no text") };
        assert_eq!(id, "done: 12:3.a-b_c@d");
        assert!(matches!(&said("").unwrap()[..], [wit::Content::Text(t)] if t == "done"));
        assert!(matches!(&quietly(Vec::new()).unwrap()[..], [wit::Content::Text(t)] if t == "done"));
        for sentence in ["send it to me", "a\nb", "ä", "<b>", &"x".repeat(65)] {
            assert!(said(sentence).is_err(), "{sentence}");
        }
        assert!(quietly(vec![wit::Content::Structured("1".to_owned())]).is_err());
    }
}
