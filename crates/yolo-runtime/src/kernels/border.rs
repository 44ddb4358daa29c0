//! Borders: what a tile of the image sees beyond its edge are its neighbours' pixels, or zero outside the image.

use super::span::Span;
use yolo_simd::Simd;

/// Writes `plane[to] = lanes of plane[from]` for each copy.
pub(crate) struct Border<'a> {
    /// The plane.
    pub(crate) plane: Span,
    /// The copies, in runs that share a permutation.
    pub(crate) runs: &'a [Run],
    /// Lane of each lane, −1 for zero: `LANES` numbers per permutation.
    pub(crate) permutations: &'a [i32],
}

/// Copies by one permutation of the lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Which permutation.
    pub(crate) permutation: u32,
    /// The copies.
    pub(crate) copies: Vec<Copy>,
}

/// Where a vector comes from and goes to, counted in numbers from the start of the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Source.
    pub(crate) from: u32,
    /// Destination; may be the source.
    pub(crate) to: u32,
}

/// Fills the border and clears what lies outside the image.
///
/// # Safety
/// The processor has the instructions; the copies lie in the plane and the permutations in their table; nobody
/// else uses the plane.
#[inline(always)]
pub(crate) unsafe fn fill<S: Simd>(s: S, border: &Border<'_>) {
    for run in border.runs {
        let index = border.permutations[run.permutation as usize * S::LANES..][..S::LANES].as_ptr();
        for copy in &run.copies {
            // SAFETY: by the contract of this function.
            unsafe {
                let v = border.plane.load(s, copy.from as usize);
                border.plane.store(s, copy.to as usize, s.permute(v, index, s.splat(0.0)));
            }
        }
    }
}
