//! Activations, quantised and spread out for multiplication.

#[cfg(target_feature = "relaxed-simd")]
use super::Blocks;
use super::Matrix;
#[cfg(target_feature = "relaxed-simd")]
use crate::vector::I8x16;
use crate::vector::{F32x4, I16x8, I32x4};

/// 32 activations as 16-bit pairs, each pair in all four lanes. Of every four consecutive activations the even two come
/// first, then the odd two: the order in which [`U8x16::byte_words`](crate::vector::U8x16::byte_words) unpacks weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    pub(super) pairs: [I16x8; 16],
    /// 128 times their sum: what is too much when weights carry an offset of 128.
    pub(super) offset: I32x4,
    pub(super) scale: F32x4,
    /// The sum of what they stand for; nibbles need it, and take these only without relaxed SIMD.
    #[cfg(not(target_feature = "relaxed-simd"))]
    pub(super) sum: F32x4,
}

/// 32 activations as bytes, each group of four in all four lanes.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrow {
    pub(super) groups: [I8x16; 8],
    pub(super) scale: F32x4,
    pub(super) sum: F32x4,
}
/// Without relaxed SIMD there is no instruction that would take bytes.
#[cfg(not(target_feature = "relaxed-simd"))]
pub(super) type Narrow = Wide;

/// The activations of some tokens. Made once, multiplied with several matrices.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    #[cfg(target_feature = "relaxed-simd")]
    narrow: Vec<Narrow>,
    wide: Vec<Wide>,
}

/// 32 activations before they are spread out.
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

    fn wide(&self) -> Wide {
        let mut pairs = [I16x8::splat_pair(0, 0); 16];
        for (pairs, group) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(self.values.as_chunks::<4>().0) {
            let [a, b, c, d] = group.map(i16::from);
            *pairs = [I16x8::splat_pair(a, c), I16x8::splat_pair(b, d)];
        }
        let sum = self.sum();
        Wide {
            pairs,
            offset: I32x4::splat(128 * sum),
            scale: F32x4::splat(self.scale),
            #[cfg(not(target_feature = "relaxed-simd"))]
            sum: F32x4::splat(self.scale * sum as f32),
        }
    }

    #[cfg(target_feature = "relaxed-simd")]
    fn narrow(&self) -> Narrow {
        let mut groups = [I8x16::splat_group([0; 4]); 8];
        for (out, group) in groups.iter_mut().zip(self.values.as_chunks::<4>().0) {
            *out = I8x16::splat_group(*group);
        }
        Narrow { groups, scale: F32x4::splat(self.scale), sum: F32x4::splat(self.scale * self.sum() as f32) }
    }
}

impl Activations {
    /// Quantises rows of numbers, each a multiple of 32 long, for products with these matrices.
    pub(crate) fn fill<const N: usize>(&mut self, numbers: &[F32x4], matrices: [&Matrix; N]) {
        self.wide.clear();
        #[cfg(target_feature = "relaxed-simd")]
        {
            self.narrow.clear();
            let bytes = matrices.iter().any(|m| matches!(m.blocks, Blocks::Q8(_)));
            let nibbles = matrices.iter().any(|m| matches!(m.blocks, Blocks::Q4(_)));
            for numbers in numbers.as_chunks::<8>().0 {
                let quantised = Quantised::new(numbers);
                self.wide.extend(bytes.then(|| quantised.wide()));
                self.narrow.extend(nibbles.then(|| quantised.narrow()));
            }
        }
        #[cfg(not(target_feature = "relaxed-simd"))]
        {
            let _ = matrices;
            self.wide.extend(numbers.as_chunks::<8>().0.iter().map(|numbers| Quantised::new(numbers).wide()));
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
