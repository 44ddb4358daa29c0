//! Mixup: two images, blended. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017.

use rand::Rng;

use super::LabelledImage;

/// Both parameters of the beta distribution of the ratio.
const BETA: usize = 32;

/// Draws the share of the first image from Beta(32, 32): near one half, with a standard deviation of 0.06.
///
/// The k-th smallest of n uniform numbers is distributed as Beta(k, n + 1 − k), so this is the middle one of 63
/// draws.
pub fn draw_ratio(rng: &mut impl Rng) -> f32 {
    let mut draws: [f64; 2 * BETA - 1] = std::array::from_fn(|_| rng.random());
    *draws.select_nth_unstable_by(BETA - 1, f64::total_cmp).1 as f32
}

/// Blends `other` into `sample`: every value becomes `ratio · sample + (1 − ratio) · other`, truncated to an
/// integer, and the objects of both are kept with full weight.
///
/// # Panics
/// If the images differ in size.
pub fn mixup(sample: &mut LabelledImage, other: LabelledImage, ratio: f32) {
    let size = |s: &LabelledImage| (s.image.width, s.image.height);
    assert_eq!(size(sample), size(&other), "images of one size are mixed");
    let rest = 1.0 - ratio;
    for (a, &b) in sample.image.pixels.iter_mut().zip(&other.image.pixels) {
        *a = (f32::from(*a) * ratio + f32::from(b) * rest) as u8;
    }
    sample.objects.extend(other.objects);
}
