//! Writing an answer, token by token.

use crate::context::{Context, ReadError};
use crate::sampling::{Sampler, Sampling};
use crate::text::TextStream;
use crate::tokeniser::Token;

/// What an answer may be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens at most; the context's end is another bound.
    pub most: usize,
    /// Strings before which the answer ends.
    pub stops: Vec<String>,
    /// Tokens that end it, besides the model's own.
    pub ends: Vec<Token>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model ended it, or a stop string came.
    Said,
    /// It reached the most tokens that were wished for, or the context's end.
    Length,
    /// The reader said stop.
    Stopped,
}

/// An answer's measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Why it ended.
    pub end: End,
    /// Tokens that were chosen, the last one included.
    pub tokens: usize,
}

/// Continues what `context` holds. `reader` is called once for every token, with the text that it made certain (often none); `false`
/// ends the answer before another token is computed.
///
/// # Errors
/// As [`Context::read`].
pub fn generate(context: &mut Context, wish: Wish, reader: &mut dyn FnMut(&str) -> bool) -> Result<Answer, ReadError> {
    let model = std::sync::Arc::clone(context.model());
    let prompt = context.tokens().len();
    let (mut sampler, mut text) = (Sampler::new(wish.sampling), TextStream::new(wish.stops));
    let mut tokens = 0;
    let end = loop {
        if tokens == wish.most {
            break End::Length;
        }
        let recent = context.tokens().get(prompt..).unwrap_or_default();
        let Some(token) = sampler.choose(context.logits(), recent) else { break End::Length };
        tokens += 1;
        if Some(token) == model.tokeniser().end() || wish.ends.contains(&token) {
            break End::Said;
        }
        let certain = text.push(model.tokeniser().bytes(token));
        if !reader(&certain) {
            return Ok(Answer { end: End::Stopped, tokens });
        }
        if text.stopped() {
            break End::Said;
        }
        if tokens == wish.most || context.tokens().len() == context.capacity() {
            break End::Length;
        }
        context.read(&[token], &mut || true)?;
    };
    let rest = text.finish();
    if !rest.is_empty() && !reader(&rest) {
        return Ok(Answer { end: End::Stopped, tokens });
    }
    Ok(Answer { end, tokens })
}
