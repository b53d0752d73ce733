//! Vectors of 16 bytes, the width WebAssembly has: as `v128` there, as arrays elsewhere.
//!
//! Everything above is written once in these few operations. Integer results are the same everywhere. Of the floating-point ones only
//! [`F32x4::mul_add`] may differ: with relaxed SIMD it rounds once where the processor can, otherwise twice.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::*;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) use portable::*;

use std::ops::{Add, AddAssign, Div, Mul, Sub};

impl F32x4 {
    /// All zero.
    pub(crate) const ZERO: Self = Self::splat(0.0);

    /// The sum of the four.
    pub(crate) fn sum(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        (a + b) + (c + d)
    }

    /// Sorts what was computed with rotations: lane `i` of the `k`th vector goes to lane `i` of the `i + k`th, counted round.
    pub(crate) fn unrotate(rotated: [Self; 4]) -> [Self; 4] {
        let [[a0, b1, c2, d3], [b0, c1, d2, a3], [c0, d1, a2, b3], [d0, a1, b2, c3]] = rotated.map(Self::to_array);
        [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]].map(Self::from_array)
    }

    /// Lane `i` of the `k`th becomes lane `k` of the `i`th.
    pub(crate) fn transpose(rows: [Self; 4]) -> [Self; 4] {
        let [[a0, b0, c0, d0], [a1, b1, c1, d1], [a2, b2, c2, d2], [a3, b3, c3, d3]] = rows.map(Self::to_array);
        [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]].map(Self::from_array)
    }

    /// Sets one lane.
    pub(crate) fn set(&mut self, lane: usize, x: f32) {
        let mut lanes = self.to_array();
        if let Some(at) = lanes.get_mut(lane) {
            *at = x;
        }
        *self = Self::from_array(lanes);
    }

    /// The largest of the four.
    pub(crate) fn largest(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        a.max(b).max(c.max(d))
    }

    /// `e^x`, within about 2 units in the last place between -87 and 88, and bounded there.
    ///
    /// The exponent is split off by adding 1.5 · 2^23, which rounds to a whole number and leaves it in the low bits; the rest, at most
    /// half of ln 2, goes through the polynomial of Cephes' `expf`.
    pub(crate) fn exp(self) -> Self {
        const ROUND: f32 = 12_582_912.0;
        let x = self.min(Self::splat(88.0)).max(Self::splat(-87.0));
        let shifted = x.mul_add(Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUND));
        let n = shifted - Self::splat(ROUND);
        let r = n.mul_add(Self::splat(-0.693_359_4), x);
        let r = n.mul_add(Self::splat(2.121_944_4e-4), r);
        let p = Self::splat(1.987_569_1e-4);
        let p = p.mul_add(r, Self::splat(1.398_2e-3));
        let p = p.mul_add(r, Self::splat(8.333_452e-3));
        let p = p.mul_add(r, Self::splat(4.166_579_6e-2));
        let p = p.mul_add(r, Self::splat(1.666_666_5e-1));
        let p = p.mul_add(r, Self::splat(0.5));
        let p = p.mul_add(r * r, r) + Self::splat(1.0);
        p.scale_by_power(shifted)
    }
}

impl Add for F32x4 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl AddAssign for F32x4 {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

impl Sub for F32x4 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.minus(other)
    }
}

impl Mul for F32x4 {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.times(other)
    }
}

impl Div for F32x4 {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.over(other)
    }
}

impl Add for I32x4 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl Sub for I32x4 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.minus(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_a_few_units_in_the_last_place() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let [y, ..] = F32x4::splat(x).exp().to_array();
            let exact = f64::from(x).exp();
            assert!((f64::from(y) - exact).abs() <= exact * 2.5e-7, "exp({x}) = {y}, not {exact}");
            x += 0.0137;
        }
        assert_eq!(F32x4::splat(0.0).exp().to_array(), [1.0; 4]);
    }

    #[test]
    fn exp_is_bounded_where_it_would_overflow() {
        assert!(F32x4::splat(f32::NEG_INFINITY).exp().to_array()[0] < 1e-37);
        assert!(F32x4::splat(f32::INFINITY).exp().to_array()[0].is_finite());
    }

    #[test]
    fn products_with_all_rotations_are_sorted_into_a_square() {
        let (rows, columns) = (F32x4::from_array([1.0, 2.0, 3.0, 4.0]), F32x4::from_array([10.0, 20.0, 30.0, 40.0]));
        let square = F32x4::unrotate(columns.rotations().map(|column| rows * column)).map(F32x4::to_array);
        for (i, row) in rows.to_array().into_iter().enumerate() {
            for (j, column) in columns.to_array().into_iter().enumerate() {
                assert_eq!(square[j][i], row * column);
            }
        }
        let transposed = F32x4::transpose(square.map(F32x4::from_array)).map(F32x4::to_array);
        assert!((0..16).all(|n| transposed[n / 4][n % 4] == square[n % 4][n / 4]));
    }

    #[test]
    fn nibbles_and_bytes_come_out_in_the_order_that_the_layout_promises() {
        let mut bytes = [0u8; 16];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = (i as u8) << 4 | (15 - i as u8);
        }
        let packed = U8x16::from_bytes(bytes);
        let [low_even, low_odd, high_even, high_odd] = packed.nibble_words().map(I16x8::to_array);
        for i in 0..8 {
            assert_eq!(low_even[i], i16::from(bytes[2 * i] & 15));
            assert_eq!(low_odd[i], i16::from(bytes[2 * i + 1] & 15));
            assert_eq!(high_even[i], i16::from(bytes[2 * i] >> 4));
            assert_eq!(high_odd[i], i16::from(bytes[2 * i + 1] >> 4));
        }
        let [even, odd] = packed.byte_words().map(I16x8::to_array);
        for i in 0..8 {
            assert_eq!((even[i], odd[i]), (i16::from(bytes[2 * i]), i16::from(bytes[2 * i + 1])));
        }
    }
}
