//! Quantised matrices and their product with activations.
//!
//! A matrix is kept as blocks of four rows by 32 columns. Within a block the rows are interleaved in groups of four bytes, so that lane
//! `i` of a vector always belongs to row `i`: scales are vectors too, and nothing has to be added across lanes. Activations are
//! quantised to signed bytes with one scale per 32 numbers, and four tokens of them are interleaved in the same way. Products of such
//! a vector in its four rotations with one of the weights are those of all four rows with all four tokens, from two loads.
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

/// Tokens multiplied at once: one per lane.
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

    /// Row by row, so that weights come from memory once for all tokens.
    fn multiply_blocks<B: Block>(&self, blocks: &[B], activations: &Activations, out: &mut [F32x4]) {
        let (per_row, groups) = (self.columns / 32, self.groups());
        let rows = blocks.chunks_exact(per_row);
        let mut tiles = B::inputs(activations).chunks_exact(per_row);
        let alone = out.len() / groups % TILE == 1;
        let (out, last) = out.split_at_mut(out.len() - if alone { groups } else { 0 });
        if let Some(inputs) = alone.then(|| tiles.next_back()).flatten() {
            for (blocks, place) in rows.clone().zip(last) {
                [*place] = products(blocks, inputs);
            }
        }
        for (row, blocks) in rows.enumerate() {
            for (inputs, out) in tiles.clone().zip(out.chunks_mut(groups * TILE)) {
                let sums = F32x4::unrotate(products(blocks, inputs));
                for (place, sums) in out.iter_mut().skip(row).step_by(groups).zip(sums) {
                    *place = sums;
                }
            }
        }
    }
}

/// Four rows' products with the tokens in the lanes: the `k`th vector has row `i` with token `i + k` in its lane `i`.
fn products<B: Block, const K: usize>(blocks: &[B], inputs: &[B::Input]) -> [F32x4; K] {
    let mut sums = [F32x4::ZERO; K];
    for (block, input) in blocks.iter().zip(inputs) {
        sums = block.add_products(input, sums);
    }
    sums
}
