//! Quantised matrices and their product with activations.
//!
//! A matrix is kept as blocks of four rows by 32 columns. Within a block the rows are interleaved in groups of four bytes, so that lane
//! `i` of a vector always belongs to row `i`: scales are vectors too, and nothing has to be added across lanes. Activations are
//! quantised to signed bytes with one scale per 32 numbers, and each group of them is repeated for the four rows beforehand, which
//! turns the inner loop into loads, multiplications and additions and nothing else.
//!
//! A row's product with a token's activations is the same sequence of operations whether one token is multiplied or many, so that a
//! result never depends on how a prompt was cut into batches.

mod activations;
mod block;
mod load;

pub(crate) use activations::Activations;
use activations::{Narrow, Wide};
use block::{Block, Q4, Q8};

use crate::vector::F32x4;

/// Tokens multiplied at once: as many as leave the accumulators in registers.
const TILE: usize = 4;

/// The rows of a matrix, four by four.
#[derive(Debug)]
enum Blocks {
    Q4(Vec<Q4>),
    Q8(Vec<Q8>),
}

/// A matrix of a file, repacked.
#[derive(Debug)]
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    blocks: Blocks,
}

impl Matrix {
    /// Vectors in a column of results: a quarter of the rows, rounded up.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(4)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        match &self.blocks {
            Blocks::Q4(blocks) => size_of_val(blocks.as_slice()),
            Blocks::Q8(blocks) => size_of_val(blocks.as_slice()),
        }
    }

    /// One row's numbers.
    pub(crate) fn row(&self, row: usize, out: &mut [F32x4]) {
        let per_row = self.columns / 32;
        let blocks = row / 4 * per_row;
        for (i, out) in out.chunks_exact_mut(8).take(per_row).enumerate() {
            let numbers = match &self.blocks {
                Blocks::Q4(all) => all.get(blocks + i).map(|block| block.row(row % 4)),
                Blocks::Q8(all) => all.get(blocks + i).map(|block| block.row(row % 4)),
            };
            for (out, four) in out.iter_mut().zip(numbers.unwrap_or([0.0; 32]).as_chunks::<4>().0) {
                *out = F32x4::from_array(*four);
            }
        }
    }

    /// The products with each token's activations: [`groups`](Self::groups) vectors a token.
    pub(crate) fn multiply(&self, activations: &Activations, out: &mut [F32x4]) {
        match &self.blocks {
            Blocks::Q4(blocks) => self.multiply_blocks(blocks, activations, out),
            Blocks::Q8(blocks) => self.multiply_blocks(blocks, activations, out),
        }
    }

    fn multiply_blocks<B: Block>(&self, blocks: &[B], activations: &Activations, out: &mut [F32x4]) {
        let per_row = self.columns / 32;
        let (inputs, groups) = (B::inputs(activations), self.groups());
        let mut inputs = inputs.chunks_exact(per_row * TILE);
        let mut outs = out.chunks_exact_mut(groups * TILE);
        for (inputs, out) in inputs.by_ref().zip(outs.by_ref()) {
            tile(blocks, inputs, per_row, out, groups);
        }
        for (input, out) in inputs.remainder().chunks_exact(per_row).zip(outs.into_remainder().chunks_exact_mut(groups))
        {
            single(blocks, input, per_row, out);
        }
    }
}

/// [`TILE`] tokens.
fn tile<B: Block>(blocks: &[B], inputs: &[B::Input], per_row: usize, out: &mut [F32x4], groups: usize) {
    let mut inputs = inputs.chunks_exact(per_row);
    let (Some(a), Some(b), Some(c), Some(d)) = (inputs.next(), inputs.next(), inputs.next(), inputs.next()) else {
        return;
    };
    let (out_a, rest) = out.split_at_mut(groups);
    let (out_b, rest) = rest.split_at_mut(groups);
    let (out_c, out_d) = rest.split_at_mut(groups);
    let outs = out_a.iter_mut().zip(out_b).zip(out_c).zip(out_d);
    for (row, (((out_a, out_b), out_c), out_d)) in blocks.chunks_exact(per_row).zip(outs) {
        let mut sums = [F32x4::ZERO; TILE];
        for ((((block, a), b), c), d) in row.iter().zip(a).zip(b).zip(c).zip(d) {
            sums = block.add_products([a, b, c, d], sums);
        }
        [*out_a, *out_b, *out_c, *out_d] = sums;
    }
}

/// One token.
fn single<B: Block>(blocks: &[B], input: &[B::Input], per_row: usize, out: &mut [F32x4]) {
    for (row, out) in blocks.chunks_exact(per_row).zip(out) {
        let mut sums = [F32x4::ZERO];
        for (block, input) in row.iter().zip(input) {
            sums = block.add_products([input], sums);
        }
        [*out] = sums;
    }
}
