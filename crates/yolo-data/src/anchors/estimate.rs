//! New anchors: clusters of the label sizes, then refined by small random changes.

use rand::Rng;

use super::fitness;
use super::kmeans::cluster;

/// Labels with both sides below this many pixels are left out, because they are too small to detect.
const MIN_SIDE: f32 = 2.0;
/// Labels with a side below this many pixels are counted as tiny.
const TINY_SIDE: f32 = 3.0;
/// Probability that a side is changed.
const CHANGED: f64 = 0.9;
/// Standard deviation of the change, as a fraction of the side, before it is multiplied by a random factor below 1.
const STRENGTH: f64 = 0.1;
/// Smallest and largest factor that a side is multiplied by.
const FACTORS: (f64, f64) = (0.3, 3.0);

/// The anchors that the refinement starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstimateOrigin {
    /// Clusters of the label sizes.
    Clusters,
    /// Random sizes, because the labels have fewer different sizes than the number of anchors.
    Random,
}

/// Anchors made for a set of sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Width and height in pixels, in ascending order of their area.
    pub anchors_px: Vec<[f32; 2]>,
    /// What they were refined from.
    pub origin: EstimateOrigin,
    /// Number of labels with a side below 3 pixels; warn if it is not 0.
    pub n_tiny: usize,
}

/// Makes `n` anchors for `sizes_px` (width and height in pixels, without jitter).
///
/// The anchors are the k-means clusters of the sizes, each axis divided by its standard deviation, refined by
/// `generations` random changes; a change is kept if it raises the mean closeness of the best fitting anchor (see
/// [`super::anchor_fit`]). `anchor_t` is the largest ratio of two sides that fit. Sizes with both sides below 2 pixels,
/// and sizes that are not finite, are ignored. If there are fewer different sizes than anchors, the refinement starts
/// from random sizes up to `image_size` pixels.
pub fn kmeans_anchors(
    sizes_px: &[[f32; 2]],
    n: usize,
    image_size: u32,
    anchor_t: f32,
    generations: usize,
    rng: &mut impl Rng,
) -> Estimate {
    let n_tiny = sizes_px.iter().filter(|[w, h]| w.min(*h) < TINY_SIDE).count();
    let usable = |[w, h]: &[f32; 2]| w.max(*h) >= MIN_SIDE && w.is_finite() && h.is_finite();
    let usable_px: Vec<[f32; 2]> = sizes_px.iter().copied().filter(usable).collect();
    let (start, origin) = match cluster(&usable_px, n, rng) {
        Some(centres) => (centres, EstimateOrigin::Clusters),
        None => (random_anchors(n, image_size, rng), EstimateOrigin::Random),
    };
    let mut anchors_px = refine(start, &usable_px, anchor_t, generations, rng);
    anchors_px.sort_by(|a, b| (a[0] * a[1]).total_cmp(&(b[0] * b[1])));
    Estimate { anchors_px, origin, n_tiny }
}

/// Uniform random sides, sorted before they are paired, so that the pairs ascend and are nearly square.
fn random_anchors(n: usize, image_size: u32, rng: &mut impl Rng) -> Vec<[f32; 2]> {
    let mut sides: Vec<f32> = (0..2 * n).map(|_| rng.random_range(0.0..1.0f32) * image_size as f32).collect();
    sides.sort_by(f32::total_cmp);
    sides.as_chunks().0.to_vec()
}

/// Genetic refinement with a population of one: a change is kept if the fitness is strictly higher.
pub(super) fn refine(
    start: Vec<[f32; 2]>,
    sizes_px: &[[f32; 2]],
    anchor_t: f32,
    generations: usize,
    rng: &mut impl Rng,
) -> Vec<[f32; 2]> {
    let mut best = start;
    if sizes_px.is_empty() || best.is_empty() {
        return best;
    }
    let mut best_fitness = fitness(sizes_px, &best, anchor_t);
    for _ in 0..generations {
        let changed = mutate(&best, rng);
        let changed_fitness = fitness(sizes_px, &changed, anchor_t);
        if changed_fitness > best_fitness {
            (best, best_fitness) = (changed, changed_fitness);
        }
    }
    best
}

/// Multiplies sides by random factors near 1, drawn again until at least one differs from 1.
fn mutate(anchors_px: &[[f32; 2]], rng: &mut impl Rng) -> Vec<[f32; 2]> {
    loop {
        let factors: Vec<[f64; 2]> =
            anchors_px.iter().map(|_| std::array::from_fn(|_| random_factor(rng))).collect();
        if factors.as_flattened().iter().any(|&factor| factor != 1.0) {
            let change = |([w, h], [fw, fh]): (&[f32; 2], [f64; 2])| {
                [(f64::from(*w) * fw) as f32, (f64::from(*h) * fh) as f32].map(|side| side.max(MIN_SIDE))
            };
            return anchors_px.iter().zip(factors).map(change).collect();
        }
    }
}

fn random_factor(rng: &mut impl Rng) -> f64 {
    if !rng.random_bool(CHANGED) {
        return 1.0;
    }
    let change = rng.random_range(0.0..1.0) * standard_normal(rng) * STRENGTH;
    (change + 1.0).clamp(FACTORS.0, FACTORS.1)
}

/// A normally distributed number with mean 0 and variance 1, by Marsaglia's polar method.
fn standard_normal(rng: &mut impl Rng) -> f64 {
    loop {
        let [u, v]: [f64; 2] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut rng = StdRng::seed_from_u64(0);
        let numbers: Vec<f64> = (0..20_000).map(|_| standard_normal(&mut rng)).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        let variance = numbers.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        // Five standard errors: 1/sqrt(20000) of the mean, sqrt(2/20000) of the variance.
        assert!(mean.abs() < 0.036 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn changes_keep_a_tenth_of_the_sides_and_stay_within_limits() {
        let mut rng = StdRng::seed_from_u64(1);
        let factors: Vec<f64> = (0..10_000).map(|_| random_factor(&mut rng)).collect();
        let kept = factors.iter().filter(|&&factor| factor == 1.0).count();
        assert!((850..1150).contains(&kept), "{kept}");
        assert!(factors.iter().all(|factor| (0.3..=3.0).contains(factor)));
        assert!(mutate(&[[2.0, 2.0]], &mut rng)[0].iter().all(|&side| side >= 2.0));
    }

    #[test]
    fn random_anchors_ascend_below_the_image_size() {
        let anchors = random_anchors(9, 640, &mut StdRng::seed_from_u64(2));
        let sides = anchors.as_flattened();
        assert!(sides.is_sorted() && sides.iter().all(|side| (0.0..640.0).contains(side)));
        assert_eq!(anchors.len(), 9);
    }
}
