//! The operations on arrays: for tests on the host, and for WebAssembly without SIMD. Compilers vectorise most of it.

use std::array::from_fn;

#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(16))]
pub(crate) struct F32x4([f32; 4]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct I32x4([i32; 4]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct I16x8([i16; 8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct U8x16([u8; 16]);

macro_rules! rotations {
    ($($vector:ty)*) => {$(
        impl $vector {
            /// Rotated by none, one, two and three lanes: lane `i` of the `k`th is lane `i + k` of this.
            pub(crate) fn rotations(self) -> [Self; 4] {
                let Self([a, b, c, d]) = self;
                [self, Self([b, c, d, a]), Self([c, d, a, b]), Self([d, a, b, c])]
            }
        }
    )*};
}
rotations!(F32x4 I32x4);

impl F32x4 {
    pub(crate) const fn splat(x: f32) -> Self {
        Self([x; 4])
    }
    pub(crate) fn from_array(lanes: [f32; 4]) -> Self {
        Self(lanes)
    }
    pub(crate) fn to_array(self) -> [f32; 4] {
        self.0
    }
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let (Self([a, b, c, d]), Self([p, q, r, s])) = (self, other);
        Self([f(a, p), f(b, q), f(c, r), f(d, s)])
    }
    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    pub(super) fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    pub(super) fn times(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    pub(super) fn over(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    pub(crate) fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if b < a { b } else { a })
    }
    pub(crate) fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { b } else { a })
    }
    pub(crate) fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }
    /// `self * factor + summand`.
    pub(crate) fn mul_add(self, factor: Self, summand: Self) -> Self {
        self.times(factor).plus(summand)
    }
    /// Neighbours exchanged: lanes 1, 0, 3, 2.
    pub(crate) fn swap_pairs(self) -> Self {
        let Self([a, b, c, d]) = self;
        Self([b, a, d, c])
    }
    /// Times 2^n, where `shifted` is `n` + 1.5 · 2^23.
    pub(super) fn scale_by_power(self, shifted: Self) -> Self {
        let factor = shifted.0.map(|s| f32::from_bits((s.to_bits() << 23).wrapping_add(0x3f80_0000)));
        self.times(Self(factor))
    }
}

impl I32x4 {
    pub(crate) const ZERO: Self = Self([0; 4]);
    pub(crate) fn from_array(lanes: [i32; 4]) -> Self {
        Self(lanes)
    }
    pub(super) fn plus(self, other: Self) -> Self {
        let (Self([a, b, c, d]), Self([p, q, r, s])) = (self, other);
        Self([a + p, b + q, c + r, d + s])
    }
    pub(super) fn minus(self, other: Self) -> Self {
        let (Self([a, b, c, d]), Self([p, q, r, s])) = (self, other);
        Self([a - p, b - q, c - r, d - s])
    }
    pub(crate) fn times_128(self) -> Self {
        Self(self.0.map(|x| x << 7))
    }
    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(self.0.map(|x| x as f32))
    }
}

impl I16x8 {
    pub(crate) fn from_pairs([[a, b], [c, d], [e, f], [g, h]]: [[i16; 2]; 4]) -> Self {
        Self([a, b, c, d, e, f, g, h])
    }
    /// As of the other vectors; a lane is a pair.
    pub(crate) fn rotations(self) -> [Self; 4] {
        let Self([a, b, c, d, e, f, g, h]) = self;
        [self, Self([c, d, e, f, g, h, a, b]), Self([e, f, g, h, a, b, c, d]), Self([g, h, a, b, c, d, e, f])]
    }
    /// Products of neighbours, summed: lane `i` is `a[2i] * b[2i] + a[2i + 1] * b[2i + 1]`.
    pub(crate) fn dot(self, other: Self) -> I32x4 {
        let (Self(a), Self(b)) = (self, other);
        let products: [i32; 8] = from_fn(|i| match (a.get(i), b.get(i)) {
            (Some(&a), Some(&b)) => i32::from(a) * i32::from(b),
            _ => 0,
        });
        let [a, b, c, d, e, f, g, h] = products;
        I32x4([a + b, c + d, e + f, g + h])
    }
    #[cfg(test)]
    pub(crate) fn to_array(self) -> [i16; 8] {
        self.0
    }
}

impl U8x16 {
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }
    fn words(self) -> [u16; 8] {
        let (pairs, _) = self.0.as_chunks::<2>();
        let mut words = [0; 8];
        for (word, pair) in words.iter_mut().zip(pairs) {
            *word = u16::from_le_bytes(*pair);
        }
        words
    }
    /// Low nibbles of the even bytes, of the odd bytes; high nibbles of the even bytes, of the odd bytes.
    pub(crate) fn nibble_words(self) -> [I16x8; 4] {
        let words = self.words();
        [0, 8, 4, 12].map(|shift| I16x8(words.map(|w| (w >> shift & 15) as i16)))
    }
    /// The even bytes, the odd bytes; both unsigned.
    pub(crate) fn byte_words(self) -> [I16x8; 2] {
        let words = self.words();
        [0, 8].map(|shift| I16x8(words.map(|w| (w >> shift & 255) as i16)))
    }
}
