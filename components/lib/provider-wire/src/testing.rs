//! Requests and answers for the tests of the providers; the kernel is the SDK's [`TestHost`](carapace_sdk::testing::TestHost).

use carapace_sdk::provider::{Message, Part, Request, Role};
use carapace_sdk::testing::Answer;

/// `headers`: `name: value` lines.
pub fn answer<B: AsRef<[u8]>>(status: u16, headers: &str, chunks: &[B]) -> Answer {
    let lines = headers.lines().filter_map(|l| l.split_once(": "));
    lines.fold(Answer::new(status), |a, (name, value)| a.header(name, value)).chunks(chunks)
}

/// `text` as a body that arrives in pieces of these sizes, over and over.
pub fn in_pieces(text: &str, sizes: &[usize]) -> Answer {
    let (mut reply, mut rest, mut sizes) = (Answer::new(200), text.as_bytes(), sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
        let (a, b) = rest.split_at(size);
        reply = reply.chunk(a);
        rest = b;
    }
    reply
}

/// A request with these messages for the model `m`, and nothing else.
pub fn request(parts: Vec<(Role, Vec<Part>)>) -> Request {
    Request::new("m", parts.into_iter().map(|(role, parts)| Message::new(role, parts)).collect())
}

/// A question of one word.
pub fn question() -> Request {
    request(vec![(Role::User, vec![Part::Text("hi".into())])])
}
