//! Rotary position embedding: neighbouring numbers of a head are turned by an angle that grows with the position.
//!
//! Source: Su et al., *RoFormer*, <https://arxiv.org/abs/2104.09864>. GGUF files of this family have the rows of query and key matrices
//! ordered so that the numbers of a pair are neighbours.

use crate::gguf::{Header, Value};
use crate::model::Shape;
use crate::source::{LoadError, malformed, unsupported};
use crate::vector::F32x4;

/// The angles' growth per position.
#[derive(Debug)]
pub(crate) struct Rope {
    frequencies: Vec<f64>,
}

/// One position's turn of a head.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// For each vector of the head: cosines, and sines with the sign that the exchanged neighbours take.
    factors: Vec<(F32x4, F32x4)>,
}

impl Rope {
    pub(crate) fn from_header(header: &Header, shape: &Shape) -> Result<Self, LoadError> {
        if let Some(Value::Text(scaling)) = header.value("llama.rope.scaling.type")
            && scaling != b"none"
        {
            return unsupported("its rotary embedding is scaled");
        }
        if header.tensor("rope_freqs.weight").is_some() {
            return unsupported("its rotary embedding has factors of its own");
        }
        if header.number("llama.rope.dimension_count").is_some_and(|n| n != shape.head_width as u64) {
            return unsupported("its rotary embedding covers only a part of each head");
        }
        let base = header.float("llama.rope.freq_base").unwrap_or(10_000.0);
        if !base.is_finite() || base < 1.0 {
            return malformed(format!("the base of its rotary embedding is {base}"));
        }
        let frequencies =
            (0..shape.head_width / 2).map(|i| base.powf(-2.0 * i as f64 / shape.head_width as f64)).collect();
        Ok(Self { frequencies })
    }

    /// Sets `turn` to a position's.
    pub(crate) fn turn(&self, position: usize, turn: &mut Turn) {
        turn.factors.clear();
        turn.factors.extend(self.frequencies.as_chunks::<2>().0.iter().map(|pair| {
            let [(s, c), (t, d)] = pair.map(|f| (f * position as f64).sin_cos()).map(|(s, c)| (s as f32, c as f32));
            (F32x4::from_array([c, c, d, d]), F32x4::from_array([-s, s, -t, t]))
        }));
    }
}

impl Turn {
    /// Turns heads in place.
    pub(crate) fn apply(&self, heads: &mut [F32x4]) {
        for head in heads.chunks_exact_mut(self.factors.len()) {
            for (x, (cosines, sines)) in head.iter_mut().zip(&self.factors) {
                *x = x.swap_pairs().mul_add(*sines, *x * *cosines);
            }
        }
    }
}
