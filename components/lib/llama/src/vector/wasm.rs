//! The operations on WebAssembly's `v128`.

use core::arch::wasm32::*;

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x4(v128);

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct I32x4(v128);

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct I16x8(v128);

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct U8x16(v128);

/// Four groups of four signed bytes.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct I8x16(v128);

macro_rules! rotations {
    ($($vector:ty)*) => {$(
        impl $vector {
            /// Rotated by none, one, two and three lanes: lane `i` of the `k`th is lane `i + k` of this.
            pub(crate) fn rotations(self) -> [Self; 4] {
                let v = self.0;
                [
                    self,
                    Self(i32x4_shuffle::<1, 2, 3, 0>(v, v)),
                    Self(i32x4_shuffle::<2, 3, 0, 1>(v, v)),
                    Self(i32x4_shuffle::<3, 0, 1, 2>(v, v)),
                ]
            }
        }
    )*};
}
rotations!(F32x4 I32x4 I16x8);
#[cfg(target_feature = "relaxed-simd")]
rotations!(I8x16);

impl F32x4 {
    pub(crate) const fn splat(x: f32) -> Self {
        Self(f32x4(x, x, x, x))
    }
    pub(crate) fn from_array([a, b, c, d]: [f32; 4]) -> Self {
        Self(f32x4(a, b, c, d))
    }
    pub(crate) fn to_array(self) -> [f32; 4] {
        let v = self.0;
        [f32x4_extract_lane::<0>(v), f32x4_extract_lane::<1>(v), f32x4_extract_lane::<2>(v), f32x4_extract_lane::<3>(v)]
    }
    pub(super) fn plus(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
    pub(super) fn minus(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
    pub(super) fn times(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }
    pub(super) fn over(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }
    pub(crate) fn min(self, other: Self) -> Self {
        Self(f32x4_pmin(self.0, other.0))
    }
    pub(crate) fn max(self, other: Self) -> Self {
        Self(f32x4_pmax(self.0, other.0))
    }
    pub(crate) fn abs(self) -> Self {
        Self(f32x4_abs(self.0))
    }
    /// `self * factor + summand`.
    pub(crate) fn mul_add(self, factor: Self, summand: Self) -> Self {
        #[cfg(target_feature = "relaxed-simd")]
        return Self(f32x4_relaxed_madd(self.0, factor.0, summand.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return self.times(factor).plus(summand);
    }
    /// Neighbours exchanged: lanes 1, 0, 3, 2.
    pub(crate) fn swap_pairs(self) -> Self {
        Self(i32x4_shuffle::<1, 0, 3, 2>(self.0, self.0))
    }
    /// Times 2^n, where `shifted` is `n` + 1.5 · 2^23.
    pub(super) fn scale_by_power(self, shifted: Self) -> Self {
        let factor = i32x4_add(i32x4_shl(shifted.0, 23), i32x4_splat(0x3f80_0000));
        Self(f32x4_mul(self.0, factor))
    }
}

impl I32x4 {
    pub(crate) const ZERO: Self = Self(i32x4(0, 0, 0, 0));
    pub(crate) fn from_array([a, b, c, d]: [i32; 4]) -> Self {
        Self(i32x4(a, b, c, d))
    }
    pub(super) fn plus(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }
    pub(super) fn minus(self, other: Self) -> Self {
        Self(i32x4_sub(self.0, other.0))
    }
    pub(crate) fn times_128(self) -> Self {
        Self(i32x4_shl(self.0, 7))
    }
    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(f32x4_convert_i32x4(self.0))
    }
}

impl I16x8 {
    pub(crate) fn from_pairs([[a, b], [c, d], [e, f], [g, h]]: [[i16; 2]; 4]) -> Self {
        Self(i16x8(a, b, c, d, e, f, g, h))
    }
    /// Products of neighbours, summed: lane `i` is `a[2i] * b[2i] + a[2i + 1] * b[2i + 1]`.
    pub(crate) fn dot(self, other: Self) -> I32x4 {
        I32x4(i32x4_dot_i16x8(self.0, other.0))
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl I16x8 {
    pub(crate) const ZERO: Self = Self(i16x8(0, 0, 0, 0, 0, 0, 0, 0));
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(i16x8_add(self.0, other.0))
    }
    /// Neighbours summed.
    pub(crate) fn sum_pairs(self) -> I32x4 {
        I32x4(i32x4_extadd_pairwise_i16x8(self.0))
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl I8x16 {
    pub(crate) fn from_groups(groups: [[i8; 4]; 4]) -> Self {
        let [a, b, c, d] = groups.map(|group| i32::from_le_bytes(group.map(|b| b as u8)));
        Self(i32x4(a, b, c, d))
    }
    /// Products of neighbours, summed. Exact, because `other` is at most 15.
    pub(crate) fn dot_nibbles(self, other: U8x16) -> I16x8 {
        I16x8(i16x8_relaxed_dot_i8x16_i7x16(self.0, other.0))
    }
}

impl U8x16 {
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let n = u128::from_le_bytes(bytes);
        Self(u64x2(n as u64, (n >> 64) as u64))
    }
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let (low, high) = (u64x2_extract_lane::<0>(self.0), u64x2_extract_lane::<1>(self.0));
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }
    /// Low nibbles of the even bytes, of the odd bytes; high nibbles of the even bytes, of the odd bytes.
    #[cfg(not(target_feature = "relaxed-simd"))]
    pub(crate) fn nibble_words(self) -> [I16x8; 4] {
        let (v, low) = (self.0, u16x8_splat(15));
        [
            I16x8(v128_and(v, low)),
            I16x8(v128_and(u16x8_shr(v, 8), low)),
            I16x8(v128_and(u16x8_shr(v, 4), low)),
            I16x8(u16x8_shr(v, 12)),
        ]
    }
    /// The low nibbles, the high nibbles.
    #[cfg(target_feature = "relaxed-simd")]
    pub(crate) fn nibbles(self) -> [Self; 2] {
        let low = u8x16_splat(15);
        [Self(v128_and(self.0, low)), Self(v128_and(u16x8_shr(self.0, 4), low))]
    }
    /// The even bytes, the odd bytes; both unsigned.
    pub(crate) fn byte_words(self) -> [I16x8; 2] {
        [I16x8(v128_and(self.0, u16x8_splat(255))), I16x8(u16x8_shr(self.0, 8))]
    }
}
