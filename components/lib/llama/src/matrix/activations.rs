//! Activations, quantised and packed for multiplication: four tokens side by side, as weights are four rows side by side.

use super::{Blocks, Matrix, TILE};
#[cfg(target_feature = "relaxed-simd")]
use crate::vector::I8x16;
use crate::vector::{F32x4, I16x8, I32x4};
use std::array::from_fn;

/// 32 activations of each of four tokens as 16-bit pairs; a lane is a token. Of every four consecutive activations the even two come
/// first, then the odd two: the order in which [`U8x16::byte_words`](crate::vector::U8x16::byte_words) unpacks weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    pub(super) pairs: [I16x8; 16],
    /// 128 times their sums: what is too much when weights carry an offset of 128.
    pub(super) offsets: I32x4,
    pub(super) scales: F32x4,
    /// The sums of what they stand for; nibbles need them, and take these only without relaxed SIMD.
    #[cfg(not(target_feature = "relaxed-simd"))]
    pub(super) sums: F32x4,
}

/// 32 activations of each of four tokens as bytes, in groups of four; a lane is a token.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrow {
    pub(super) groups: [I8x16; 8],
    pub(super) scales: F32x4,
    pub(super) sums: F32x4,
}
/// Without relaxed SIMD there is no instruction that would take bytes.
#[cfg(not(target_feature = "relaxed-simd"))]
pub(super) type Narrow = Wide;

/// The activations of some tokens. Made once, multiplied with several matrices.
///
/// For every four tokens there is a row of packs, one per 32 columns. Where one token is left over, it is in all four lanes; where two
/// or three are, zeros stand beside them.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    #[cfg(target_feature = "relaxed-simd")]
    narrow: Vec<Narrow>,
    wide: Vec<Wide>,
}

/// 32 activations of a token.
struct Quantised {
    values: [i8; 32],
    scale: f32,
}

impl Quantised {
    /// The largest becomes 127; as ggml's `quantize_row_q8_1`, except that scales are not rounded to 16 bits.
    fn new(numbers: &[F32x4; 8]) -> Self {
        let largest = numbers.iter().fold(F32x4::ZERO, |largest, four| largest.max(four.abs())).largest();
        let scale = largest / 127.0;
        let inverse = F32x4::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        // Adding this rounds to a whole number, which then stands in the low bits.
        let round = F32x4::splat(12_582_912.0);
        let mut values = [0; 32];
        for (values, four) in values.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *values = (*four * inverse + round).to_array().map(|x| x.to_bits() as i8);
        }
        Self { values, scale }
    }

    fn sum(&self) -> i32 {
        self.values.iter().map(|&v| i32::from(v)).sum()
    }

    /// Four consecutive values.
    fn group(&self, i: usize) -> [i8; 4] {
        self.values.as_chunks::<4>().0.get(i).copied().unwrap_or_default()
    }
}

impl Wide {
    fn new(tokens: &[Quantised; TILE]) -> Self {
        let pairs = |i: usize, odd: bool| {
            I16x8::from_pairs(tokens.each_ref().map(|token| {
                let [a, b, c, d] = token.group(i).map(i16::from);
                if odd { [b, d] } else { [a, c] }
            }))
        };
        let scales = F32x4::from_array(tokens.each_ref().map(|token| token.scale));
        let sums = I32x4::from_array(tokens.each_ref().map(Quantised::sum));
        Self {
            pairs: from_fn(|i| pairs(i / 2, i % 2 == 1)),
            offsets: sums.times_128(),
            scales,
            #[cfg(not(target_feature = "relaxed-simd"))]
            sums: scales * sums.to_f32(),
        }
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Narrow {
    fn new(tokens: &[Quantised; TILE]) -> Self {
        let scales = F32x4::from_array(tokens.each_ref().map(|token| token.scale));
        let sums = I32x4::from_array(tokens.each_ref().map(Quantised::sum));
        let groups = from_fn(|i| I8x16::from_groups(tokens.each_ref().map(|token| token.group(i))));
        Self { groups, scales, sums: scales * sums.to_f32() }
    }
}

impl Activations {
    /// Quantises rows of numbers, each as long as the rows of these matrices, for products with them.
    pub(crate) fn fill<const N: usize>(&mut self, numbers: &[F32x4], matrices: [&Matrix; N]) {
        self.clear();
        // Without relaxed SIMD, nibbles take the same as bytes.
        let narrow = |m: &&Matrix| cfg!(target_feature = "relaxed-simd") && matches!(m.blocks, Blocks::Q4(_));
        let (narrow, wide) = (matrices.iter().any(narrow), !matrices.iter().all(narrow));
        let per_row = matrices.first().map_or(1, |m| m.columns / 32);
        for tile in numbers.as_chunks::<8>().0.chunks(per_row * TILE) {
            let alone = tile.len() == per_row;
            for column in 0..per_row {
                let tokens = from_fn(|token| {
                    let row = if alone { 0 } else { token * per_row };
                    Quantised::new(tile.get(row + column).unwrap_or(&[F32x4::ZERO; 8]))
                });
                self.push(&tokens, narrow, wide);
            }
        }
    }

    fn clear(&mut self) {
        self.wide.clear();
        #[cfg(target_feature = "relaxed-simd")]
        self.narrow.clear();
    }

    fn push(&mut self, tokens: &[Quantised; TILE], _narrow: bool, wide: bool) {
        if wide {
            self.wide.push(Wide::new(tokens));
        }
        #[cfg(target_feature = "relaxed-simd")]
        if _narrow {
            self.narrow.push(Narrow::new(tokens));
        }
    }

    /// What a matrix of bytes takes.
    pub(super) fn wide(&self) -> &[Wide] {
        &self.wide
    }

    /// What a matrix of nibbles takes.
    pub(super) fn narrow(&self) -> &[Narrow] {
        #[cfg(target_feature = "relaxed-simd")]
        return &self.narrow;
        #[cfg(not(target_feature = "relaxed-simd"))]
        return &self.wide;
    }
}
