//! From a file's rows to blocks: four rows at a time, so that no more than these are held twice.

use super::block::{Block, Q4, Q8, ROWS};
use super::{Blocks, Matrix};
use crate::gguf::{Encoding, Tensor};
use crate::source::{Cursor, LoadError, Source, unsupported};

impl Matrix {
    /// Reads a matrix. Nibbles stay nibbles; bytes, and floating-point numbers too, become bytes with a scale per 32.
    pub(crate) fn read<S: Source>(cursor: &mut Cursor<'_, S>, tensor: &Tensor, name: &str) -> Result<Self, LoadError> {
        if !tensor.columns.is_multiple_of(32) || tensor.columns > 1 << 16 {
            return unsupported(format!(
                "tensor `{name}` has rows of {} numbers; a multiple of 32 up to 65,536 is read",
                tensor.columns
            ));
        }
        cursor.seek(tensor.offset);
        let blocks = match tensor.encoding {
            Encoding::Q4_0 | Encoding::Q4_1 => Blocks::Q4(blocks::<Q4, S>(cursor, tensor)?),
            Encoding::Q8_0 | Encoding::F16 | Encoding::F32 => Blocks::Q8(blocks::<Q8, S>(cursor, tensor)?),
        };
        Ok(Self { rows: tensor.rows, columns: tensor.columns, blocks })
    }
}

fn blocks<B: Block, S: Source>(cursor: &mut Cursor<'_, S>, tensor: &Tensor) -> Result<Vec<B>, LoadError> {
    let row_bytes = tensor.row_bytes();
    // Bytes of 32 numbers.
    let size = tensor.encoding.bytes() * 32 / tensor.encoding.block();
    let count = tensor.columns / 32 * tensor.rows.div_ceil(ROWS);
    let mut blocks = Vec::new();
    // The header was compared with the file's size, so this is bounded by it; too much memory is still an error and no abort.
    if blocks.try_reserve_exact(count).is_err() {
        return unsupported(format!(
            "it needs more memory than there is ({} bytes for one matrix)",
            count * size_of::<B>()
        ));
    }
    for first in (0..tensor.rows).step_by(ROWS) {
        let rows = cursor.take(row_bytes * ROWS.min(tensor.rows - first))?;
        for column in (0..row_bytes).step_by(size) {
            let (mut quants, mut scales, mut minima) = ([[0; 32]; ROWS], [0.0; ROWS], [0.0; ROWS]);
            for (row, ((quants, scale), minimum)) in
                rows.chunks_exact(row_bytes).zip(quants.iter_mut().zip(&mut scales).zip(&mut minima))
            {
                let bytes = row.get(column..column + size).unwrap_or_default();
                (*scale, *minimum) = unpack(tensor.encoding, bytes, quants);
            }
            blocks.push(B::pack(&quants, scales, minima));
        }
    }
    Ok(blocks)
}

/// 32 numbers as a file has them: quants from 0 up, scale and minimum.
fn unpack(encoding: Encoding, bytes: &[u8], quants: &mut [u8; 32]) -> (f32, f32) {
    match (encoding, bytes) {
        (Encoding::Q4_0, [a, b, nibbles @ ..]) => {
            unpack_nibbles(nibbles, quants);
            let scale = f16([*a, *b]);
            (scale, -8.0 * scale)
        }
        (Encoding::Q4_1, [a, b, c, d, nibbles @ ..]) => {
            unpack_nibbles(nibbles, quants);
            (f16([*a, *b]), f16([*c, *d]))
        }
        (Encoding::Q8_0, [a, b, values @ ..]) => {
            for (q, v) in quants.iter_mut().zip(values) {
                *q = v ^ 128;
            }
            (f16([*a, *b]), 0.0)
        }
        (Encoding::F16, bytes) => quantise(bytes.as_chunks::<2>().0.iter().map(|b| f16(*b)), quants),
        (Encoding::F32, bytes) => quantise(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)), quants),
        _ => (0.0, 0.0),
    }
}

/// Numbers 0 to 15 stand in the low nibbles, 16 to 31 in the high ones.
fn unpack_nibbles(nibbles: &[u8], quants: &mut [u8; 32]) {
    let (low, high) = quants.split_at_mut(16);
    for ((byte, low), high) in nibbles.iter().zip(low).zip(high) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

/// As ggml's `quantize_row_q8_0`.
fn quantise(numbers: impl Iterator<Item = f32> + Clone, quants: &mut [u8; 32]) -> (f32, f32) {
    let largest = numbers.clone().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    for (q, x) in quants.iter_mut().zip(numbers) {
        *q = ((x * inverse).round() + 128.0) as u8;
    }
    (largest / 127.0, 0.0)
}

/// A 16-bit floating-point number (IEEE 754 binary16), exactly.
pub(crate) fn f16(bytes: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(bytes));
    let (sign, rest) = ((half & 0x8000) << 16, (half & 0x7fff) << 13);
    if half & 0x7c00 == 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | rest);
    }
    // Exponents differ by 112; the multiplication also normalises what was too small to be normal.
    let magnitude = f32::from_bits(rest) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(sign | magnitude.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        let table: [(u16, f32); 9] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, x) in table {
            assert_eq!(f16(bits.to_le_bytes()), x, "{bits:#06x}");
        }
        assert!(f16(0x7e00u16.to_le_bytes()).is_nan());
    }
}
