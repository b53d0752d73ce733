//! Blocks of four rows by 32 columns: their layout, and their product with activations.

use super::{Activations, Narrow, Wide};
#[cfg(target_feature = "relaxed-simd")]
use crate::vector::I16x8;
use crate::vector::{F32x4, I32x4, U8x16};

/// Rows in a block.
pub(super) const ROWS: usize = 4;

/// What multiplies.
pub(super) trait Block {
    /// The activations it takes.
    type Input;

    /// Picks them.
    fn inputs(activations: &Activations) -> &[Self::Input];

    /// Adds the products with tokens' 32 activations: in lane `i` of the `k`th vector, row `i` with token `i + k`.
    fn add_products<const K: usize>(&self, input: &Self::Input, sums: [F32x4; K]) -> [F32x4; K];

    /// Four rows' 32 numbers, each `quants[row][column]` scaled by `scales[row]`, plus `minima[row]`.
    fn pack(quants: &[[u8; 32]; ROWS], scales: [f32; ROWS], minima: [f32; ROWS]) -> Self;

    /// One row's numbers again.
    fn row(&self, row: usize) -> [f32; 32];
}

/// Numbers `scale · q + minimum` with `q` from 0 to 15. 96 bytes.
///
/// Byte `4r + c` of vector `j` holds row `r`, columns `8j + c` in its low and `8j + 4 + c` in its high nibble.
#[derive(Debug, Clone, Copy)]
pub(super) struct Q4 {
    quants: [U8x16; 4],
    scales: F32x4,
    minima: F32x4,
}

/// Numbers `scale · (q - 128)`. 144 bytes.
///
/// Byte `4r + c` of vector `j` holds row `r`, column `4j + c`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Q8 {
    quants: [U8x16; 8],
    scales: F32x4,
}

impl Block for Q4 {
    type Input = Narrow;

    fn inputs(activations: &Activations) -> &[Narrow] {
        activations.narrow()
    }

    #[inline(always)]
    fn add_products<const K: usize>(&self, input: &Narrow, mut sums: [F32x4; K]) -> [F32x4; K] {
        let products = self.products::<K>(input);
        let rotated = input.scales.rotations().into_iter().zip(input.sums.rotations());
        for ((sum, product), (scales, totals)) in sums.iter_mut().zip(products).zip(rotated) {
            let minima = self.minima.mul_add(totals, *sum);
            *sum = product.to_f32().mul_add(self.scales * scales, minima);
        }
        sums
    }

    fn pack(quants: &[[u8; 32]; ROWS], scales: [f32; ROWS], minima: [f32; ROWS]) -> Self {
        let mut packed = [[0u8; 16]; 4];
        for (r, row) in quants.iter().enumerate() {
            for (packed, eight) in packed.iter_mut().zip(row.as_chunks::<8>().0) {
                let [a, b, c, d, e, f, g, h] = *eight;
                if let Some(lane) = packed.as_chunks_mut::<4>().0.get_mut(r) {
                    *lane = [a | e << 4, b | f << 4, c | g << 4, d | h << 4];
                }
            }
        }
        Self {
            quants: packed.map(U8x16::from_bytes),
            scales: F32x4::from_array(scales),
            minima: F32x4::from_array(minima),
        }
    }

    fn row(&self, row: usize) -> [f32; 32] {
        let (scale, minimum) = (lane(self.scales, row), lane(self.minima, row));
        let mut numbers = [0.0; 32];
        for (out, packed) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(self.quants) {
            let [a, b, c, d] = packed.to_bytes().as_chunks::<4>().0.get(row).copied().unwrap_or_default();
            *out = [a & 15, b & 15, c & 15, d & 15, a >> 4, b >> 4, c >> 4, d >> 4]
                .map(|q| f32::from(q) * scale + minimum);
        }
        numbers
    }
}

impl Q4 {
    /// Whole numbers: a pair of products fits 16 bits 8 times over (8 · 2 · 15 · 128 < 2^15), so widening waits for the block's end.
    /// Whole numbers: a pair of products fits 16 bits 8 times over (8 · 2 · 15 · 128 < 2^15), so widening waits for the block's end.
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn products<const K: usize>(&self, input: &Narrow) -> [I32x4; K] {
        let mut sums = [I16x8::ZERO; K];
        for (quants, inputs) in self.quants.iter().zip(input.groups.as_chunks::<2>().0) {
            for (nibbles, input) in quants.nibbles().into_iter().zip(inputs) {
                for (sum, input) in sums.iter_mut().zip(input.rotations()) {
                    *sum = sum.plus(input.dot_nibbles(nibbles));
                }
            }
        }
        sums.map(I16x8::sum_pairs)
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn products<const K: usize>(&self, input: &Wide) -> [I32x4; K] {
        let mut sums = [I32x4::ZERO; K];
        for (quants, inputs) in self.quants.iter().zip(input.pairs.as_chunks::<4>().0) {
            for (words, input) in quants.nibble_words().into_iter().zip(inputs) {
                for (sum, input) in sums.iter_mut().zip(input.rotations()) {
                    *sum = *sum + input.dot(words);
                }
            }
        }
        sums
    }
}

impl Block for Q8 {
    type Input = Wide;

    fn inputs(activations: &Activations) -> &[Wide] {
        activations.wide()
    }

    #[inline(always)]
    fn add_products<const K: usize>(&self, input: &Wide, mut sums: [F32x4; K]) -> [F32x4; K] {
        let mut products = [I32x4::ZERO; K];
        for (quants, inputs) in self.quants.iter().zip(input.pairs.as_chunks::<2>().0) {
            for (words, input) in quants.byte_words().into_iter().zip(inputs) {
                for (product, input) in products.iter_mut().zip(input.rotations()) {
                    *product = *product + input.dot(words);
                }
            }
        }
        let rotated = input.scales.rotations().into_iter().zip(input.offsets.rotations());
        for ((sum, product), (scales, offsets)) in sums.iter_mut().zip(products).zip(rotated) {
            *sum = (product - offsets).to_f32().mul_add(self.scales * scales, *sum);
        }
        sums
    }

    fn pack(quants: &[[u8; 32]; ROWS], scales: [f32; ROWS], _minima: [f32; ROWS]) -> Self {
        let mut packed = [[0u8; 16]; 8];
        for (r, row) in quants.iter().enumerate() {
            for (packed, four) in packed.iter_mut().zip(row.as_chunks::<4>().0) {
                if let Some(lane) = packed.as_chunks_mut::<4>().0.get_mut(r) {
                    *lane = *four;
                }
            }
        }
        Self { quants: packed.map(U8x16::from_bytes), scales: F32x4::from_array(scales) }
    }

    fn row(&self, row: usize) -> [f32; 32] {
        let scale = lane(self.scales, row);
        let mut numbers = [0.0; 32];
        for (out, packed) in numbers.as_chunks_mut::<4>().0.iter_mut().zip(self.quants) {
            let four = packed.to_bytes().as_chunks::<4>().0.get(row).copied().unwrap_or_default();
            *out = four.map(|q| (f32::from(q) - 128.0) * scale);
        }
        numbers
    }
}

fn lane(lanes: F32x4, row: usize) -> f32 {
    lanes.to_array().get(row).copied().unwrap_or_default()
}
