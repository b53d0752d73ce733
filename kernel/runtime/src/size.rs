//! How large a result is: the bytes the guest wrote, not what our copies of them take.

use crate::bindings::{channel, provider, tools};

fn len(s: &str) -> u64 {
    s.len() as u64
}
pub(crate) fn pairs_size(pairs: &[(String, String)]) -> u64 {
    pairs.iter().map(|(k, v)| len(k) + len(v)).sum()
}
pub(crate) fn tools_size(list: &[tools::Tool]) -> u64 {
    list.iter().map(|t| len(&t.name) + len(&t.description) + len(&t.parameters) + pairs_size(&t.extra)).sum()
}
pub(crate) fn content_size(answer: &Result<Vec<tools::Content>, tools::ToolError>) -> u64 {
    use tools::{Content, ToolError};
    match answer {
        Ok(list) => list
            .iter()
            .map(|c| match c {
                Content::Text(t) | Content::Structured(t) | Content::Other(t) => len(t),
                Content::Image(i) => len(&i.mime) + i.data.len() as u64,
                Content::File(f) => len(&f.name) + len(&f.mime) + f.data.len() as u64,
            })
            .sum(),
        Err(
            ToolError::InvalidArguments(t)
            | ToolError::NotFound(t)
            | ToolError::Denied(t)
            | ToolError::Unavailable(t)
            | ToolError::Failed(t)
            | ToolError::Other(t),
        ) => len(t),
    }
}
fn failure_size(failure: &provider::Failure) -> u64 {
    len(&failure.message)
}
pub(crate) fn models_size(answer: &Result<Vec<provider::Model>, provider::Failure>) -> u64 {
    match answer {
        Ok(list) => list.iter().map(|m| len(&m.id) + len(&m.name) + pairs_size(&m.extra)).sum(),
        Err(failure) => failure_size(failure),
    }
}
pub(crate) fn completion_size(answer: &Result<(), provider::Failure>) -> u64 {
    answer.as_ref().err().map_or(0, failure_size)
}
pub(crate) fn bytes_of(data: &[u8]) -> u64 {
    data.len() as u64
}
/// The answer of a channel, or its failure.
pub(crate) fn failed_or<R>(answer: &Result<R, channel::Failure>, size: fn(&R) -> u64) -> u64 {
    match answer {
        Ok(answer) => size(answer),
        Err(failure) => len(&failure.message),
    }
}
pub(crate) fn inbound_size(inbound: &channel::Inbound) -> u64 {
    let (channel::Inbound::Message(m) | channel::Inbound::Edited(m)) = inbound else { return 0 };
    let attachments: u64 = m
        .attachments
        .iter()
        .map(|a| len(&a.reference) + a.name.as_deref().map_or(0, len) + a.mime.as_deref().map_or(0, len))
        .sum();
    len(&m.text)
        + len(&m.key)
        + len(&m.id)
        + len(&m.conversation.id)
        + len(&m.sender.id)
        + len(&m.sender.name)
        + attachments
        + pairs_size(&m.extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_measured_by_what_the_guest_wrote() {
        let answer = Ok(vec![
            tools::Content::Text("four".into()),
            tools::Content::File(tools::File { name: "a".into(), mime: "b/c".into(), data: vec![0; 10] }),
        ]);
        assert_eq!(content_size(&answer), 4 + 14);
        assert_eq!(content_size(&Err(tools::ToolError::Failed("why".into()))), 3);
    }
}
