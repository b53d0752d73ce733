//! The small functions between the matrices.

use crate::vector::F32x4;

/// Root-mean-square norm of one token, times the layer's weights. <https://arxiv.org/abs/1910.07467>
pub(crate) fn rms_norm(x: &[F32x4], weights: &[F32x4], epsilon: f32, out: &mut [F32x4]) {
    let squares = x.iter().fold(F32x4::ZERO, |sum, v| v.mul_add(*v, sum)).sum();
    let mean = squares / (4 * x.len()) as f32;
    let factor = F32x4::splat(1.0 / (mean + epsilon).sqrt());
    for ((out, x), w) in out.iter_mut().zip(x).zip(weights) {
        *out = *x * factor * *w;
    }
}

/// `silu(gate) · up`, into `gate`: the gated unit of <https://arxiv.org/abs/2002.05202>.
pub(crate) fn gated(gate: &mut [F32x4], up: &[F32x4]) {
    let (zero, one) = (F32x4::ZERO, F32x4::splat(1.0));
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (one + (zero - *g).exp()) * *u;
    }
}

/// Adds in place.
pub(crate) fn add(to: &mut [F32x4], from: &[F32x4]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
