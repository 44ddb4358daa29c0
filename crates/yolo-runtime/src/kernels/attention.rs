//! Attention: every pixel's mixture of the values of all pixels.

use super::math::exp;
use super::span::Span;
use yolo_simd::Simd;

/// One head of one image.
pub(crate) struct Attend {
    /// Queries, `[depth, room]`; each becomes its result.
    pub(crate) queries: Span,
    /// Keys, `[depth, room]`, zeros behind the last pixel.
    pub(crate) keys: Span,
    /// Values, `[depth, room]`, zeros behind the last pixel.
    pub(crate) values: Span,
    /// Room for `room` numbers and a vector.
    pub(crate) scores: Span,
    /// Channels of the head.
    pub(crate) depth: usize,
    /// Pixels.
    pub(crate) pixels: usize,
    /// Pixels rounded up to whole vectors.
    pub(crate) room: usize,
}

/// `softmax(q · kᵀ / √depth) · v`.
///
/// # Safety
/// The processor has the instructions; everything lies inside its span, and nobody else uses it.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd>(s: S, a: &Attend) {
    let factor = s.splat((a.depth as f32).sqrt().recip());
    for pixel in 0..a.pixels {
        // SAFETY: by the contract of this function.
        unsafe {
            let mut largest = f32::NEG_INFINITY;
            for at in (0..a.room).step_by(S::LANES) {
                let mut sum = s.splat(0.0);
                for i in 0..a.depth {
                    let query = s.splat(a.queries.get(i * a.room + pixel));
                    sum = s.mul_add(query, a.keys.load(s, i * a.room + at), sum);
                }
                a.scores.store(s, at, s.mul(sum, factor));
            }
            for at in 0..a.pixels {
                largest = largest.max(a.scores.get(at));
            }
            for at in (0..a.room).step_by(S::LANES) {
                let shifted = s.sub(a.scores.load(s, at), s.splat(largest));
                a.scores.store(s, at, exp(s, shifted));
            }
            let mut total = 0.0;
            for at in 0..a.room {
                if at < a.pixels {
                    total += a.scores.get(at);
                } else {
                    a.scores.set(at, 0.0);
                }
            }
            for i in 0..a.depth {
                let mut sum = s.splat(0.0);
                for at in (0..a.room).step_by(S::LANES) {
                    sum = s.mul_add(a.scores.load(s, at), a.values.load(s, i * a.room + at), sum);
                }
                a.scores.store(s, a.room, sum);
                let sum: f32 = (0..S::LANES).map(|lane| a.scores.get(a.room + lane)).sum();
                a.queries.set(i * a.room + pixel, sum / total);
            }
        }
    }
}
