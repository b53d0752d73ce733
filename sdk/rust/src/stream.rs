//! Items that a reader finds in a response's chunks.

use crate::http::{self, Response, Stage};
use std::collections::VecDeque;

/// Feeds the chunks to `push`, and what is left at the end to `finish`.
pub(crate) fn items<R, I: 'static>(
    response: &Response,
    mut reader: Option<R>,
    push: impl Fn(&mut R, &[u8], &mut Vec<I>) -> Result<(), &'static str>,
    finish: impl Fn(R, &mut Vec<I>),
) -> impl Iterator<Item = Result<I, http::Error>> {
    let mut chunks = response.chunks();
    let mut ready: VecDeque<I> = VecDeque::new();
    std::iter::from_fn(move || {
        loop {
            if let Some(item) = ready.pop_front() {
                return Some(Ok(item));
            }
            let mut found = Vec::new();
            match chunks.next() {
                Some(Ok(bytes)) => {
                    if let Err(what) = push(reader.as_mut()?, &bytes, &mut found) {
                        reader = None;
                        let text = format!("the server sent {what}");
                        return Some(Err(http::Error::new(crate::Error::Unavailable(text), Stage::Answered)));
                    }
                }
                Some(Err(e)) => {
                    reader = None;
                    return Some(Err(e));
                }
                None => finish(reader.take()?, &mut found),
            }
            ready.extend(found);
        }
    })
}
