//! Tests of the solvers against all supports of small layers, each solved by elimination.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::*;

/// Reproducible normal numbers.
pub(crate) struct Normals(SplitMix64);

impl Normals {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// Above 0 and below 1.
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A normal number (Box & Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Moments of correlated inputs behind a SiLU; singular but for the damping where `samples < inputs`.
pub(crate) fn gram(inputs: usize, samples: usize, seed: u64) -> Gram {
    Gram::new(inputs, moments(inputs, samples, seed)).unwrap()
}

fn moments(inputs: usize, samples: usize, seed: u64) -> Vec<f64> {
    let mut rng = Normals::new(seed);
    let mix: Vec<f64> = (0..inputs * 3).map(|_| rng.normal()).collect();
    let mut sums = vec![0.0; inputs * inputs];
    for _ in 0..samples {
        let common: [f64; 3] = std::array::from_fn(|_| rng.normal());
        let silu = |mix: &[f64], noise: f64| {
            let z = mix.iter().zip(&common).map(|(m, c)| m * c).sum::<f64>() + 0.5 * noise;
            z / (1.0 + (-z).exp())
        };
        let x: Vec<f64> = mix.chunks(3).map(|mix| silu(mix, rng.normal())).collect();
        for (row, r) in sums.chunks_mut(inputs).zip(&x) {
            row.iter_mut().zip(&x).for_each(|(sum, c)| *sum += r * c);
        }
    }
    sums
}

fn layer(rows: usize, inputs: usize, seed: u64) -> Vec<f32> {
    let mut rng = Normals::new(seed ^ 0x5eed);
    (0..rows * inputs).map(|_| (rng.normal() * (0.5 * rng.normal()).exp()) as f32).collect()
}

/// The best weights of one row on a support, by Gauss-Jordan elimination with pivoting, and their damped error.
fn least_squares(gram: &Gram, row: &[f32], keep: &[bool]) -> (Vec<f64>, f64) {
    let (h, n) = (gram.damped(), row.len());
    let support: Vec<usize> = (0..n).filter(|i| keep[*i]).collect();
    let image = |r: usize| (0..n).map(|c| h[r * n + c] * f64::from(row[c])).sum::<f64>();
    let equation = |r: &usize| support.iter().map(|c| h[r * n + c]).chain([image(*r)]).collect();
    let mut system: Vec<Vec<f64>> = support.iter().map(equation).collect();
    for i in 0..system.len() {
        let pivot =
            (i..system.len()).max_by(|a, b| system[*a][i].abs().total_cmp(&system[*b][i].abs())).unwrap();
        system.swap(i, pivot);
        let lead = system[i].clone();
        for (_, other) in system.iter_mut().enumerate().filter(|(r, _)| *r != i) {
            let factor = other[i] / lead[i];
            other.iter_mut().zip(&lead).for_each(|(to, v)| *to -= factor * v);
        }
    }
    let mut weights = vec![0.0; n];
    for (i, (equation, input)) in system.iter().zip(&support).enumerate() {
        weights[*input] = equation.last().unwrap() / equation[i];
    }
    let error = damped_error(gram, &weights, row);
    (weights, error)
}

fn damped_error(gram: &Gram, weights: &[f64], row: &[f32]) -> f64 {
    let (h, n) = (gram.damped(), row.len());
    let d: Vec<f64> = weights.iter().zip(row).map(|(w, w0)| w - f64::from(*w0)).collect();
    (0..n * n).map(|i| d[i / n] * h[i] * d[i % n]).sum()
}

fn total_damped_error(gram: &Gram, weights: &[f32], original: &[f32]) -> f64 {
    let n = gram.inputs();
    let rows = weights.chunks(n).zip(original.chunks(n));
    rows.map(|(w, w0)| damped_error(gram, &w.iter().copied().map(f64::from).collect::<Vec<_>>(), w0)).sum()
}

fn masks(inputs: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1u32 << inputs).map(move |bits| (0..inputs).map(|i| bits >> i & 1 == 1).collect())
}

/// The smallest damped error of a layer under a pattern, over all supports.
fn best(gram: &Gram, original: &[f32], pattern: Pattern) -> f64 {
    let n = gram.inputs();
    match pattern {
        Pattern::NOfM { n: stay, m } => {
            let fits = |keep: &Vec<bool>| keep.chunks(m).all(|g| g.iter().filter(|k| **k).count() == stay);
            let of_row = |row| masks(n).filter(fits).map(move |keep| least_squares(gram, row, &keep).1);
            original.chunks(n).map(|row| of_row(row).fold(f64::INFINITY, f64::min)).sum()
        }
        Pattern::Unstructured { prune } => {
            // best[p]: the smallest error of the rows so far with p weights gone.
            let mut best = vec![f64::INFINITY; original.len() + 1];
            best[0] = 0.0;
            for row in original.chunks(n) {
                let mut with_row = vec![f64::INFINITY; best.len()];
                for keep in masks(n) {
                    let gone = keep.iter().filter(|keep| !**keep).count();
                    let error = least_squares(gram, row, &keep).1;
                    for (before, after) in (gone..with_row.len()).enumerate() {
                        with_row[after] = with_row[after].min(best[before] + error);
                    }
                }
                best = with_row;
            }
            best[prune]
        }
    }
}

const PATTERNS: [Pattern; 4] = [
    Pattern::Unstructured { prune: 9 },
    Pattern::Unstructured { prune: 11 },
    Pattern::NOfM { n: 2, m: 3 },
    Pattern::NOfM { n: 1, m: 3 },
];

#[test]
fn refit_is_least_squares_on_every_support() {
    for seed in 0..4 {
        let (gram, original) = (gram(6, 20, seed), layer(1, 6, seed));
        for keep in masks(6) {
            let (expected, _) = least_squares(&gram, &original, &keep);
            let found = refit(&gram, &original, &keep).unwrap();
            let close = |(f, e): (&f32, &f64)| (f64::from(*f) - e).abs() < 1e-5 * (1.0 + e.abs());
            assert!(found.iter().zip(&expected).all(close), "{keep:?}: {found:?} is not {expected:?}");
            assert!(found.iter().zip(&keep).all(|(w, keep)| *keep || *w == 0.0));
        }
    }
}

/// Beyond one block of the factorisation and on both sides of the solver: the slope along every survivor is zero.
#[test]
fn refit_of_a_large_row_is_stationary() {
    let n = 150;
    let (gram, original) = (gram(n, 90, 3), layer(1, n, 3));
    let h = gram.damped();
    let slope = |w: &[f32], r: usize| {
        let terms = (0..n).map(|c| h[r * n + c] * (f64::from(w[c]) - f64::from(original[c])));
        (terms.clone().sum::<f64>(), terms.map(f64::abs).sum::<f64>())
    };
    for prune in [60, 90] {
        let keep = keep_largest(&original.iter().map(|w| w.abs()).collect::<Vec<_>>(), prune);
        let w = refit(&gram, &original, &keep).unwrap();
        for (sum, size) in (0..n).filter(|r| keep[*r]).map(|r| slope(&w, r)) {
            assert!(sum.abs() < 1e-6 * size, "{prune}: {sum} of {size}");
        }
    }
}

/// The damping draws to the original weights: what is kept in full does not move.
#[test]
fn refit_without_removals_changes_nothing() {
    let (gram, original) = (gram(6, 3, 1).with_damping(0.5).unwrap(), layer(3, 6, 1));
    assert_eq!(refit(&gram, &original, &[true; 18]).unwrap(), original);
}

#[test]
fn obs_removes_the_best_weight_again_and_again() {
    for seed in 0..4 {
        let (gram, original) = (gram(6, 20, seed), layer(1, 6, seed));
        let mut inverse = Inverse::new(&gram).unwrap();
        let mut row: Vec<f64> = original.iter().copied().map(f64::from).collect();
        let mut alive = vec![true; 6];
        for _ in 0..6 {
            let without = |i: usize| {
                let mut keep = alive.clone();
                keep[i] = false;
                least_squares(&gram, &original, &keep)
            };
            let left = (0..6).filter(|i| alive[*i]);
            let expected = left.min_by(|a, b| without(*a).1.total_cmp(&without(*b).1)).unwrap();
            let (weights, _) = without(expected);
            assert_eq!(obs_remove(&mut row, &mut alive, &mut inverse), Some(expected));
            assert!(
                row.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-9),
                "{row:?} is not {weights:?}"
            );
        }
        assert_eq!(obs_remove(&mut row, &mut alive, &mut inverse), None);
    }
}

#[test]
fn obs_scores_are_the_errors_of_single_removals() {
    let (gram, original) = (gram(6, 20, 7), layer(3, 6, 7));
    let scores = obs_scores(&gram, &Inverse::new(&gram).unwrap(), &original).unwrap();
    for (i, score) in scores.iter().enumerate() {
        let row = &original[i / 6 * 6..][..6];
        let keep: Vec<bool> = (0..6).map(|c| c != i % 6).collect();
        let error = least_squares(&gram, row, &keep).1;
        assert!((f64::from(*score) - error).abs() < 1e-5 * error, "{i}: {score} is not {error}");
    }
}

/// No solver beats the best support; summed over layers, SparseGPT beats magnitude without update, its refit beats
/// it, and ADMM comes close to the best.
#[test]
fn solvers_lie_between_the_best_and_magnitude() {
    for pattern in PATTERNS {
        let mut sums = [0.0; 5];
        for seed in 0..24 {
            let (gram, original) = (gram(6, 30, seed), layer(3, 6, seed));
            let keep = pattern.keep(&original.iter().map(|w| w.abs()).collect::<Vec<_>>());
            let magnitude: Vec<f32> =
                original.iter().zip(&keep).map(|(w, k)| if *k { *w } else { 0.0 }).collect();
            let gpt = sparse_gpt(&gram, &original, pattern).unwrap();
            let fit = refit(&gram, &original, &gpt.keep).unwrap();
            let admm = admm(&gram, &original, Schedule::default(), |s| pattern.keep(s)).unwrap();
            let error = |weights: &[f32]| total_damped_error(&gram, weights, &original);
            let best = best(&gram, &original, pattern);
            let errors = [best, error(&admm.weights), error(&fit), error(&gpt.weights), error(&magnitude)];
            assert!(errors[1..].iter().all(|e| *e >= best * (1.0 - 1e-5)), "{pattern:?} {seed}: {errors:?}");
            assert!(errors[2] <= errors[3] * (1.0 + 1e-5), "{pattern:?} {seed}: {errors:?}");
            sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
        }
        let [best, admm, fit, gpt, magnitude] = sums;
        assert!(gpt < 0.7 * magnitude, "{pattern:?}: {sums:?}");
        assert!(fit < gpt && admm < fit, "{pattern:?}: {sums:?}");
        assert!(admm < 1.02 * best, "{pattern:?}: {sums:?}");
    }
}

fn assert_holds(pruned: &Pruned, pattern: Pattern) {
    assert!(pruned.weights.iter().zip(&pruned.keep).all(|(w, keep)| w.is_finite() && (*keep || *w == 0.0)));
    let gone = |keep: &[bool]| keep.iter().filter(|keep| !**keep).count();
    match pattern {
        Pattern::Unstructured { prune } => assert_eq!(gone(&pruned.keep), prune),
        Pattern::NOfM { n, m } => assert!(pruned.keep.chunks(m).all(|group| gone(group) == m - n)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Also on singular moments, across the borders of blocks and tasks, and with nothing or everything to prune.
    #[test]
    fn counts_are_exact(rows in 1usize..40, groups in 1usize..45, samples in 0usize..50, share in 0.0f64..=1.0, n in 1usize..=4) {
        let inputs = groups * 4;
        let (gram, original) = (gram(inputs, samples, 5), layer(rows, inputs, 6));
        let prune = (share * original.len() as f64) as usize;
        let schedule = Schedule { iterations: 4, ..Schedule::default() };
        for pattern in [Pattern::Unstructured { prune }, Pattern::NOfM { n, m: 4 }] {
            assert_holds(&sparse_gpt(&gram, &original, pattern).unwrap(), pattern);
            assert_holds(&admm(&gram, &original, schedule, |s| pattern.keep(s)).unwrap(), pattern);
        }
    }
}

/// Keeps the half of the blocks of `tall` rows by `wide` inputs that have the largest sums.
fn keep_blocks(scores: &[f32], inputs: usize, tall: usize, wide: usize) -> Vec<bool> {
    let block = |i: usize| i / inputs / tall * (inputs / wide) + i % inputs / wide;
    let mut sums = vec![0.0; scores.len() / tall / wide];
    scores.iter().enumerate().for_each(|(i, score)| sums[block(i)] += score);
    let keep = keep_largest(&sums, sums.len() / 2);
    (0..scores.len()).map(|i| keep[block(i)]).collect()
}

/// ADMM follows any projection, and finds better blocks than their magnitudes with the same least squares.
#[test]
fn admm_prunes_blocks() {
    let (inputs, gram, original) = (16, gram(16, 60, 1), layer(16, 16, 2));
    for (tall, wide) in [(4, 1), (1, 4)] {
        let project = |scores: &[f32]| keep_blocks(scores, inputs, tall, wide);
        let pruned = admm(&gram, &original, Schedule::default(), project).unwrap();
        let as_scores: Vec<f32> = pruned.keep.iter().map(|keep| f32::from(u8::from(*keep))).collect();
        assert_eq!(project(&as_scores), pruned.keep, "{tall}x{wide} blocks are broken up");
        let squares: Vec<f32> = original.iter().map(|w| w * w).collect();
        let plain = refit(&gram, &original, &project(&squares)).unwrap();
        let error = |weights: &[f32]| gram.error(weights, &original).unwrap().relative;
        assert!(error(&pruned.weights) < 0.8 * error(&plain), "{} {}", error(&pruned.weights), error(&plain));
    }
}

/// Dead inputs go first, survivors among them keep their values, and the rest is as if they were not there.
#[test]
fn dead_inputs_are_free_and_harmless() {
    let (full, dead) = (8, [1, 5, 6]);
    let mut sums = moments(full, 40, 2);
    for (i, v) in sums.iter_mut().enumerate() {
        *v *= f64::from(u8::from(!dead.contains(&(i / full)) && !dead.contains(&(i % full))));
    }
    let original: Vec<f32> = layer(4, full, 3)
        .iter()
        .enumerate()
        .map(|(i, w)| if dead.contains(&(i % full)) { 9.0 } else { *w })
        .collect();
    let alive = |keep: &[bool]| (0..keep.len()).filter(|i| keep[*i] && dead.contains(&(i % full))).count();
    for damping in [0.0, 0.01] {
        let gram = Gram::new(full, sums.clone()).unwrap().with_damping(damping).unwrap();
        let scores = obs_scores(&gram, &Inverse::new(&gram).unwrap(), &original).unwrap();
        for (prune, left) in [(5, 7), (12, 0), (20, 0)] {
            let pattern = Pattern::Unstructured { prune };
            let gpt = sparse_gpt(&gram, &original, pattern).unwrap();
            let admm = admm(&gram, &original, Schedule::default(), |s| pattern.keep(s)).unwrap();
            for pruned in [&gpt, &admm] {
                assert_eq!(alive(&pruned.keep), left, "{prune} at damping {damping}");
                let kept = |i: &usize| pruned.keep[*i] && dead.contains(&(i % full));
                assert!((0..original.len()).filter(kept).all(|i| pruned.weights[i] == 9.0));
            }
            assert_eq!(alive(&keep_largest(&scores, prune)), left);
            if prune <= 12 {
                assert!(gram.error(&admm.weights, &original).unwrap().relative < 1e-12);
                assert!(gram.error(&gpt.weights, &original).unwrap().relative < 1e-12);
            }
        }
    }
}

#[test]
fn a_layer_that_never_saw_anything_is_pruned_without_error() {
    let gram = Gram::new(4, vec![0.0; 16]).unwrap();
    let (original, pattern) = (layer(2, 4, 1), Pattern::Unstructured { prune: 3 });
    let gpt = sparse_gpt(&gram, &original, pattern).unwrap();
    let admm = admm(&gram, &original, Schedule::default(), |s| pattern.keep(s)).unwrap();
    for pruned in [gpt, admm] {
        assert_holds(&pruned, pattern);
        assert!(pruned.weights.iter().zip(&original).all(|(w, w0)| *w == 0.0 || w == w0));
    }
}

#[test]
fn bad_weights_and_settings_are_refused() {
    use ReconstructError as E;
    let (gram, good) = (gram(4, 9, 1), layer(2, 4, 1));
    let (pattern, schedule) = (Pattern::Unstructured { prune: 3 }, Schedule::default());
    let project = |scores: &[f32]| pattern.keep(scores);
    let inverse = Inverse::new(&gram).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = good.clone();
        bad[5] = value;
        let error = E::NotFinite { what: "the weights", count: 1 };
        assert_eq!(refit(&gram, &bad, &[true; 8]).unwrap_err(), error);
        assert_eq!(sparse_gpt(&gram, &bad, pattern).unwrap_err(), error);
        assert_eq!(admm(&gram, &bad, schedule, project).unwrap_err(), error);
        assert_eq!(obs_scores(&gram, &inverse, &bad).unwrap_err(), error);
    }
    assert!(matches!(refit(&gram, &good, &[true; 7]), Err(E::Length { expected: 8, found: 7, .. })));
    assert!(matches!(admm(&gram, &good, schedule, |_| vec![true]), Err(E::Length { found: 1, .. })));
    assert!(matches!(sparse_gpt(&gram, &good[1..], pattern), Err(E::Rows { inputs: 4, found: 7 })));
    assert!(matches!(sparse_gpt(&gram, &good, Pattern::Unstructured { prune: 9 }), Err(E::Count { .. })));
    for bad in [
        Schedule { iterations: 0, ..schedule },
        Schedule { period: 0, ..schedule },
        Schedule { growth: 0.9, ..schedule },
        Schedule { penalty: f64::NAN, ..schedule },
    ] {
        assert!(matches!(admm(&gram, &good, bad, project), Err(E::Schedule(_))));
    }
    let singular = Gram::new(2, vec![1.0, 1.0, 1.0, 1.0]).unwrap().with_damping(0.0).unwrap();
    assert!(matches!(sparse_gpt(&singular, &good, pattern), Err(E::NotPositive { .. })));
    assert!(matches!(refit(&singular, &good[..2], &[true; 2]), Err(E::NotPositive { .. })));
}

#[test]
fn threads_do_not_change_a_bit() {
    let (gram, original) = (gram(300, 500, 1), layer(70, 300, 2));
    let patterns = [Pattern::Unstructured { prune: 12_345 }, Pattern::NOfM { n: 2, m: 4 }];
    let all = || {
        let inverse = Inverse::new(&gram).unwrap();
        let scores = obs_scores(&gram, &inverse, &original).unwrap();
        let gpt = patterns.map(|pattern| sparse_gpt(&gram, &original, pattern).unwrap());
        let schedule = Schedule { iterations: 8, ..Schedule::default() };
        let admm = patterns.map(|pattern| admm(&gram, &original, schedule, |s| pattern.keep(s)).unwrap());
        let error = gram.error(&admm[0].weights, &original).unwrap();
        (scores, gpt, admm, error)
    };
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all);
    let one = on(1);
    assert!(one == on(2) && one == on(3));
}
