//! What a model has read so far, and reading more.

use crate::attention::{Cache, Scratch};
use crate::layers::{add, gated, rms_norm};
use crate::matrix::Activations;
use crate::model::{Layer, Model};
use crate::rope::Turn;
use crate::tokeniser::Token;
use crate::vector::F32x4;
use std::fmt;
use std::sync::Arc;

/// Tokens read at once. More would not be faster and needs more memory for what lies between layers.
const BATCH: usize = 64;

/// Why tokens were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// They do not fit: so many were to be held, so many can be.
    Full {
        /// Tokens that were to be held.
        wanted: usize,
        /// Tokens that can be held.
        capacity: usize,
    },
    /// There is no memory for their keys and values.
    Memory,
    /// This is no token of the model.
    NoSuchToken(Token),
    /// The caller said stop. What was read before stays.
    Stopped,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { wanted, capacity } => write!(f, "{wanted} tokens do not fit a context of {capacity}"),
            Self::Memory => write!(f, "there is not enough memory for the context"),
            Self::NoSuchToken(token) => write!(f, "the model has no token {token}"),
            Self::Stopped => write!(f, "stopped"),
        }
    }
}

impl std::error::Error for ReadError {}

/// A sequence of tokens that a model has read, with the keys and values that it computed for them.
///
/// What comes next depends on these tokens and on nothing else: not on how they were cut into calls, and not on what the context held
/// before it was [truncated](Self::truncate).
#[derive(Debug)]
pub struct Context {
    model: Arc<Model>,
    capacity: usize,
    tokens: Vec<Token>,
    cache: Cache,
    logits: Vec<f32>,
    buffers: Buffers,
}

/// What lies between the matrices, for one batch.
#[derive(Debug, Default)]
struct Buffers {
    hidden: Vec<F32x4>,
    normed: Vec<F32x4>,
    query: Vec<F32x4>,
    key: Vec<F32x4>,
    value: Vec<F32x4>,
    attended: Vec<F32x4>,
    gate: Vec<F32x4>,
    up: Vec<F32x4>,
    result: Vec<F32x4>,
    activations: Activations,
    turns: Vec<Turn>,
    scratch: Scratch,
}

impl Context {
    /// An empty context for at most `capacity` tokens (and no more than the model was trained for). Memory is taken as it fills.
    pub fn new(model: Arc<Model>, capacity: usize) -> Self {
        let capacity = capacity.min(model.shape().context);
        let cache = Cache::new(model.shape());
        Self { model, capacity, tokens: Vec::new(), cache, logits: Vec::new(), buffers: Buffers::default() }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// How many tokens it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The tokens it holds.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// What the model expects after the last token: a number per token of the vocabulary, the larger the likelier. Empty when nothing
    /// was read since the context was made or cut.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Forgets all tokens but the first `length`, and gives their memory back.
    pub fn truncate(&mut self, length: usize) {
        if length < self.tokens.len() {
            self.tokens.truncate(length);
            self.cache.shrink(length);
            self.logits.clear();
        }
    }

    /// Makes the context hold exactly `tokens`, keeping what it already holds of their beginning; returns how many that was.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn set(&mut self, tokens: &[Token], go_on: &mut dyn FnMut() -> bool) -> Result<usize, ReadError> {
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last token is read again, because its logits are wanted.
        let kept = common.min(tokens.len().saturating_sub(1));
        self.truncate(kept);
        self.read(tokens.get(kept..).unwrap_or_default(), go_on)?;
        Ok(kept)
    }

    /// Reads tokens. `go_on` is asked once per batch of 64.
    ///
    /// # Errors
    /// They do not fit, there is no memory, one is no token, or `go_on` said no.
    pub fn read(&mut self, tokens: &[Token], go_on: &mut dyn FnMut() -> bool) -> Result<(), ReadError> {
        let wanted = self.tokens.len().saturating_add(tokens.len());
        if wanted > self.capacity {
            return Err(ReadError::Full { wanted, capacity: self.capacity });
        }
        if let Some(token) = tokens.iter().find(|t| t.index() >= self.model.shape().vocabulary) {
            return Err(ReadError::NoSuchToken(*token));
        }
        let batches = tokens.chunks(BATCH);
        let last = batches.len();
        for (i, batch) in batches.enumerate() {
            if !go_on() {
                return Err(ReadError::Stopped);
            }
            if !self.cache.reserve(self.tokens.len() + batch.len()) {
                return Err(ReadError::Memory);
            }
            self.logits.clear();
            self.read_batch(batch, i + 1 == last);
            self.tokens.extend_from_slice(batch);
        }
        Ok(())
    }

    fn read_batch(&mut self, batch: &[Token], wants_logits: bool) {
        let model = Arc::clone(&self.model);
        let (shape, first) = (model.shape(), self.tokens.len());
        let width = shape.width / 4;
        let b = &mut self.buffers;
        b.resize(&model, batch.len());
        for (token, hidden) in batch.iter().zip(b.hidden.chunks_exact_mut(width)) {
            model.embedding.row(token.index(), hidden);
        }
        for (i, turn) in b.turns.iter_mut().enumerate() {
            model.rope.turn(first + i, turn);
        }
        for (i, layer) in model.layers.iter().enumerate() {
            b.attention(layer, i, first, &mut self.cache, shape.epsilon);
            b.feed_forward(layer, shape.epsilon);
        }
        if wants_logits && let Some(hidden) = b.hidden.chunks_exact(width).last() {
            let output = model.output();
            b.normed.resize(width, F32x4::ZERO);
            rms_norm(hidden, &model.output_norm, shape.epsilon, &mut b.normed);
            b.activations.fill(&b.normed, [output]);
            b.result.resize(output.groups(), F32x4::ZERO);
            output.multiply(&b.activations, &mut b.result);
            self.logits.extend(b.result.iter().flat_map(|four| four.to_array()).take(shape.vocabulary));
        }
    }
}

impl Buffers {
    fn resize(&mut self, model: &Model, tokens: usize) {
        let shape = model.shape();
        let (queries, kv) = (shape.heads * shape.head_width / 4, shape.kv_heads * shape.head_width / 4);
        for (buffer, length) in [
            (&mut self.hidden, shape.width / 4),
            (&mut self.normed, shape.width / 4),
            (&mut self.result, shape.width / 4),
            (&mut self.query, queries),
            (&mut self.attended, queries),
            (&mut self.key, kv),
            (&mut self.value, kv),
            (&mut self.gate, shape.feed_forward / 4),
            (&mut self.up, shape.feed_forward / 4),
        ] {
            buffer.resize(length * tokens, F32x4::ZERO);
        }
        self.turns.resize_with(tokens, Turn::default);
    }

    fn norm(&mut self, weights: &[F32x4], epsilon: f32) {
        let width = weights.len();
        for (x, out) in self.hidden.chunks_exact(width).zip(self.normed.chunks_exact_mut(width)) {
            rms_norm(x, weights, epsilon, out);
        }
    }

    fn attention(&mut self, layer: &Layer, index: usize, first: usize, cache: &mut Cache, epsilon: f32) {
        self.norm(&layer.attention_norm, epsilon);
        self.activations.fill(&self.normed, [&layer.query, &layer.key, &layer.value]);
        layer.query.multiply(&self.activations, &mut self.query);
        layer.key.multiply(&self.activations, &mut self.key);
        layer.value.multiply(&self.activations, &mut self.value);
        let (queries, kv) = (layer.query.groups(), layer.key.groups());
        let keys = self.key.chunks_exact_mut(kv).zip(self.value.chunks_exact(kv));
        for (i, ((key, value), turn)) in keys.zip(&self.turns).enumerate() {
            turn.apply(key);
            cache.store(index, first + i, key, value);
        }
        for (query, turn) in self.query.chunks_exact_mut(queries).zip(&self.turns) {
            turn.apply(query);
        }
        cache.attend(index, first, &self.query, &mut self.scratch, &mut self.attended);
        self.activations.fill(&self.attended, [&layer.attention_output]);
        layer.attention_output.multiply(&self.activations, &mut self.result);
        add(&mut self.hidden, &self.result);
    }

    fn feed_forward(&mut self, layer: &Layer, epsilon: f32) {
        self.norm(&layer.feed_forward_norm, epsilon);
        self.activations.fill(&self.normed, [&layer.gate, &layer.up]);
        layer.gate.multiply(&self.activations, &mut self.gate);
        layer.up.multiply(&self.activations, &mut self.up);
        gated(&mut self.gate, &self.up);
        self.activations.fill(&self.gate, [&layer.down]);
        layer.down.multiply(&self.activations, &mut self.result);
        add(&mut self.hidden, &self.result);
    }
}
