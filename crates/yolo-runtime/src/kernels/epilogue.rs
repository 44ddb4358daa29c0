//! What happens to finished sums: activation, residual, the way home.

use super::math::{Activate, activate, silu};
use super::span::Span;
use yolo_simd::Simd;

/// Sums on their way to the output.
pub(crate) struct Epilogue<'a> {
    /// `[channels, pixels]` vectors.
    pub(crate) sums: Span,
    /// Channels to write.
    pub(crate) channels: usize,
    /// The output's plane of the first of these channels.
    pub(crate) output: Span,
    /// Numbers from one plane of the output to the next.
    pub(crate) output_plane: usize,
    /// Where each pixel vector lies in a plane of the output.
    pub(crate) output_pixels: &'a [u32],
    /// What is added: like the output.
    pub(crate) residual: Option<Residual<'a>>,
    /// The activation.
    pub(crate) activate: Activate,
}

/// A map that is added to the output.
#[derive(Clone, Copy)]
pub(crate) struct Residual<'a> {
    /// The plane of the first channel.
    pub(crate) map: Span,
    /// Numbers from one plane to the next.
    pub(crate) plane: usize,
    /// Where each pixel vector lies in a plane.
    pub(crate) pixels: &'a [u32],
}

/// Activates, adds, writes.
///
/// # Safety
/// The processor has the instructions; sums, planes and pixels lie inside their spans; nobody else uses the
/// sums and those pixels of the output.
#[inline(always)]
pub(crate) unsafe fn epilogue<S: Simd>(s: S, e: &Epilogue<'_>) {
    // SAFETY: by the contract of this function.
    unsafe {
        match e.activate {
            Activate::None => write::<S, false, false>(s, e, None),
            Activate::Silu => write::<S, true, false>(s, e, None),
            Activate::Leaky(slope) => write::<S, false, false>(s, e, Some(slope)),
            _ => write::<S, false, true>(s, e, None),
        }
    }
}

#[inline(always)]
unsafe fn write<S: Simd, const SILU: bool, const OTHER: bool>(s: S, e: &Epilogue<'_>, slope: Option<f32>) {
    let n = e.output_pixels.len();
    for c in 0..e.channels {
        // SAFETY: by the contract of the epilogue.
        unsafe {
            let sums = e.sums.from(c * n * S::LANES);
            let output = e.output.from(c * e.output_plane);
            for (p, &pixel) in e.output_pixels.iter().enumerate() {
                let mut v = sums.load(s, p * S::LANES);
                if SILU {
                    v = silu(s, v);
                } else if OTHER {
                    v = activate(s, v, e.activate);
                } else if let Some(slope) = slope {
                    v = s.max(v, s.mul(v, s.splat(slope)));
                }
                if let Some(residual) = e.residual {
                    let map = residual.map.from(c * residual.plane);
                    v = s.add(v, map.load(s, residual.pixels[p] as usize));
                }
                output.store(s, pixel as usize, v);
            }
        }
    }
}
