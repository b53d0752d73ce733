//! A model: its shape and its weights.

use crate::gguf::{Encoding, Header, Tensor};
use crate::matrix::Matrix;
use crate::rope::Rope;
use crate::source::{Cursor, LoadError, Source, malformed, unsupported};
use crate::tokeniser::Tokeniser;
use crate::vector::F32x4;

/// The sizes that make a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shape {
    /// Transformer layers.
    pub layers: usize,
    /// Numbers a token is represented by between layers.
    pub width: usize,
    /// Numbers between the two halves of a feed-forward network.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_width: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Tokens that the model was trained to see at once.
    pub context: usize,
    /// What is added to a mean square before its root is taken.
    pub epsilon: f32,
}

/// One layer's weights.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<F32x4>,
    pub(crate) query: Matrix,
    pub(crate) key: Matrix,
    pub(crate) value: Matrix,
    pub(crate) attention_output: Matrix,
    pub(crate) feed_forward_norm: Vec<F32x4>,
    pub(crate) gate: Matrix,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
}

/// A Llama-family model, loaded. Immutable: conversations live in a [`Context`](crate::Context).
#[derive(Debug)]
pub struct Model {
    shape: Shape,
    name: String,
    tokeniser: Tokeniser,
    pub(crate) embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<F32x4>,
    /// None: the embedding serves as output, too.
    output: Option<Matrix>,
    pub(crate) rope: Rope,
}

impl Model {
    /// Reads a GGUF file. Tensors are repacked while they are read; the file is never held.
    ///
    /// # Errors
    /// The source fails, the file is damaged, or it needs something that this crate does not do: another architecture than `llama`,
    /// another tokeniser than SmolLM's, other encodings than F32, F16, Q4_0, Q4_1 and Q8_0, rotary scaling, biases.
    pub fn load<S: Source>(source: &mut S) -> Result<Self, LoadError> {
        let mut cursor = Cursor::new(source);
        let mut header = Header::read(&mut cursor)?;
        let tokeniser = Tokeniser::from_header(&mut header)?;
        let shape = Shape::from_header(&header, tokeniser.len())?;
        let rope = Rope::from_header(&header, &shape)?;
        let mut loader = Loader { header: &header, cursor: &mut cursor };
        let (width, kv_width) = (shape.width, shape.kv_heads * shape.head_width);
        let query_width = shape.heads * shape.head_width;
        let embedding = loader.matrix("token_embd.weight", shape.vocabulary, width)?;
        let mut layers = Vec::new();
        for i in 0..shape.layers {
            let name = |part: &str| format!("blk.{i}.{part}.weight");
            layers.push(Layer {
                attention_norm: loader.vector(&name("attn_norm"), width)?,
                query: loader.matrix(&name("attn_q"), query_width, width)?,
                key: loader.matrix(&name("attn_k"), kv_width, width)?,
                value: loader.matrix(&name("attn_v"), kv_width, width)?,
                attention_output: loader.matrix(&name("attn_output"), width, query_width)?,
                feed_forward_norm: loader.vector(&name("ffn_norm"), width)?,
                gate: loader.matrix(&name("ffn_gate"), shape.feed_forward, width)?,
                up: loader.matrix(&name("ffn_up"), shape.feed_forward, width)?,
                down: loader.matrix(&name("ffn_down"), width, shape.feed_forward)?,
            });
        }
        let output_norm = loader.vector("output_norm.weight", width)?;
        let output = match header.tensor("output.weight") {
            Some(_) => Some(loader.matrix("output.weight", shape.vocabulary, width)?),
            None => None,
        };
        let name = header.text("general.name").unwrap_or("unnamed").to_owned();
        Ok(Self { shape, name, tokeniser, embedding, layers, output_norm, output, rope })
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What the file calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tokeniser.
    pub fn tokeniser(&self) -> &Tokeniser {
        &self.tokeniser
    }

    /// Bytes of weights in memory.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|l| {
            [&l.query, &l.key, &l.value, &l.attention_output, &l.gate, &l.up, &l.down].map(Matrix::bytes)
        });
        layers.sum::<usize>() + self.embedding.bytes() + self.output.as_ref().map_or(0, Matrix::bytes)
    }

    pub(crate) fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

impl Shape {
    fn from_header(header: &Header, vocabulary: usize) -> Result<Self, LoadError> {
        match header.text("general.architecture") {
            Some("llama") => {}
            other => {
                return unsupported(format!("the architecture is {}; `llama` is read", other.unwrap_or("not stated")));
            }
        }
        // Larger than any model of this family, and small enough that no product of two overflows.
        let size = |key: &str, at_most: u64| match header.number(&format!("llama.{key}")) {
            Some(n) if (1..=at_most).contains(&n) => Ok(n as usize),
            Some(n) => malformed(format!("`llama.{key}` is {n}")),
            None => malformed(format!("`llama.{key}` is missing")),
        };
        let (width, heads) = (size("embedding_length", 1 << 16)?, size("attention.head_count", 1 << 10)?);
        let kv_heads = size("attention.head_count_kv", 1 << 10).unwrap_or(heads);
        let head_width = match header.number("llama.attention.key_length") {
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
            None => width / heads,
        };
        if header.number("llama.attention.value_length").is_some_and(|n| n != head_width as u64) {
            return unsupported("keys and values have different widths");
        }
        if !heads.is_multiple_of(kv_heads) || heads / kv_heads > 64 {
            return unsupported(format!("{heads} query heads on {kv_heads} key–value heads"));
        }
        if !head_width.is_multiple_of(16) || !(16..=512).contains(&head_width) {
            return unsupported(format!("heads of {head_width} numbers; multiples of 16 up to 512 are read"));
        }
        let epsilon = header.float("llama.attention.layer_norm_rms_epsilon").unwrap_or(1e-5) as f32;
        if !epsilon.is_finite() || epsilon <= 0.0 {
            return malformed(format!("the norm's epsilon is {epsilon}"));
        }
        if vocabulary == 0 {
            return malformed("there are no tokens");
        }
        Ok(Self {
            layers: size("block_count", 1 << 10)?,
            width,
            feed_forward: size("feed_forward_length", 1 << 16)?,
            heads,
            kv_heads,
            head_width,
            vocabulary,
            context: size("context_length", 1 << 31)?,
            epsilon,
        })
    }
}

struct Loader<'l, 's, S> {
    header: &'l Header,
    cursor: &'l mut Cursor<'s, S>,
}

impl<S: Source> Loader<'_, '_, S> {
    fn tensor(&self, name: &str, rows: usize, columns: usize) -> Result<Tensor, LoadError> {
        if self.header.tensor(&name.replace(".weight", ".bias")).is_some() {
            return unsupported(format!("`{name}` has a bias"));
        }
        match self.header.tensor(name) {
            None => malformed(format!("tensor `{name}` is missing")),
            Some(t) if (t.rows, t.columns) != (rows, columns) => {
                malformed(format!("tensor `{name}` is {} × {}; {rows} × {columns} was expected", t.rows, t.columns))
            }
            Some(t) => Ok(*t),
        }
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LoadError> {
        let tensor = self.tensor(name, rows, columns)?;
        Matrix::read(self.cursor, &tensor, name)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<F32x4>, LoadError> {
        let tensor = self.tensor(name, 1, length)?;
        if tensor.encoding != Encoding::F32 || !length.is_multiple_of(4) {
            return unsupported(format!("`{name}` is not a vector of F32 with a multiple of four elements"));
        }
        self.cursor.seek(tensor.offset);
        let bytes = self.cursor.take(tensor.row_bytes())?;
        let numbers = bytes.as_chunks::<4>().0.as_chunks::<4>().0;
        Ok(numbers.iter().map(|four| F32x4::from_array(four.map(f32::from_le_bytes))).collect())
    }
}
