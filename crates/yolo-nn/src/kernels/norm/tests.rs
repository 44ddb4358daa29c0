//! Batch normalisation against formulas in `f64` and finite differences.

use yolo_simd::Unit;

use super::*;

/// Two images of three channels of 5 × 7, with means far from zero.
const DIMS: [usize; 4] = [2, 3, 5, 7];
const EPSILON: f64 = 1e-3;

fn wave(count: usize, step: f64) -> Vec<f32> {
    (0..count).map(|i| (1.5 + (i as f64 * step).sin() * (1.0 + i as f64 * 0.01)) as f32).collect()
}

fn planes(numbers: &[f32], [batch, channels, height, width]: [usize; 4]) -> Planes<'_> {
    Planes::new(numbers, channels * height * width, [batch, channels, height, width])
}

/// Output, means and biased variances in `f64`.
fn reference(x: &[f64], gamma: &[f32], beta: &[f32], silu: bool) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let [batch, channels, height, width] = DIMS;
    let pixels = height * width;
    let channel_of = |at: usize| at / pixels % channels;
    let mut moments = [vec![0.0; channels], vec![0.0; channels]];
    for power in [1, 2] {
        for (at, x) in x.iter().enumerate() {
            let c = channel_of(at);
            let d = if power == 1 { *x } else { (x - moments[0][c]).powi(2) };
            moments[power - 1][c] += d / (batch * pixels) as f64;
        }
    }
    let [mean, var] = moments;
    let output = |(at, x): (usize, &f64)| {
        let c = channel_of(at);
        let normalised = (x - mean[c]) / (var[c] + EPSILON).sqrt();
        let z = f64::from(gamma[c]) * normalised + f64::from(beta[c]);
        if silu { z / (1.0 + (-z).exp()) } else { z }
    };
    (x.iter().enumerate().map(output).collect(), mean, var)
}

fn close(ours: &[f32], golden: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), golden.len());
    for (at, (a, b)) in ours.iter().zip(golden).enumerate() {
        assert!((f64::from(*a) - b).abs() <= tolerance * b.abs().max(1.0), "{what} [{at}]: {a} {b}");
    }
}

#[test]
fn output_and_statistics_equal_the_formula() {
    let x = wave(210, 0.7);
    let (gamma, beta) = ([1.25, -0.5, 2.0], [0.1, 0.3, -0.7]);
    for silu in [false, true] {
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let (y, mean, var) = reference(&exact, &gamma, &beta, silu);
        let affine = Affine { gamma: &gamma, beta: &beta, epsilon: EPSILON, silu };
        for unit in Unit::all() {
            let (ours, statistics) = batch_norm_train(unit, planes(&x, DIMS), [2, 3], affine);
            close(&ours, &y, 2e-6, "output");
            close(&statistics.mean, &mean, 1e-6, "mean");
            close(&statistics.var, &var, 1e-6, "variance");
            let inferred = batch_norm_infer(unit, planes(&x, DIMS), [2, 3], affine, &statistics);
            assert_eq!(inferred, ours);
        }
    }
}

/// The loss is `Σ y · dy`; every gradient against central differences of the reference.
#[test]
fn gradients_equal_finite_differences() {
    let (x, dy) = (wave(210, 0.7), wave(210, 1.3));
    let (gamma, beta) = ([1.25, -0.5, 2.0], [0.1, 0.3, -0.7]);
    for silu in [false, true] {
        let loss = |x: &[f64], gamma: &[f32], beta: &[f32]| -> f64 {
            reference(x, gamma, beta, silu).0.iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum()
        };
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let difference = |at: usize| {
            let step = 1e-5;
            let [mut up, mut down] = [exact.clone(), exact.clone()];
            up[at] += step;
            down[at] -= step;
            (loss(&up, &gamma, &beta) - loss(&down, &gamma, &beta)) / (2.0 * step)
        };
        let dx: Vec<f64> = (0..x.len()).map(difference).collect();
        // Steps that f32 holds exactly.
        let step = 1.0 / 1024.0;
        let along = |parameters: &[f32; 3], loss: &dyn Fn(&[f32]) -> f64| -> Vec<f64> {
            let one = |c: usize| {
                let [mut up, mut down] = [*parameters, *parameters];
                up[c] += step;
                down[c] -= step;
                (loss(&up) - loss(&down)) / f64::from(up[c] - down[c])
            };
            (0..3).map(one).collect()
        };
        let d_gamma = along(&gamma, &|gamma| loss(&exact, gamma, &beta));
        let d_beta = along(&beta, &|beta| loss(&exact, &gamma, beta));
        let affine = Affine { gamma: &gamma, beta: &beta, epsilon: EPSILON, silu };
        for unit in Unit::all() {
            let (_, statistics) = batch_norm_train(unit, planes(&x, DIMS), [2, 3], affine);
            let mut in_place = dy.clone();
            let (x, dy) = (planes(&x, DIMS), planes(&dy, DIMS));
            let ours = batch_norm_backward(unit, x, dy, [2, 3], affine, &statistics);
            let parameters =
                batch_norm_backward_in_place(unit, x, &mut in_place, [2, 3], affine, &statistics);
            assert_eq!((in_place, parameters), (ours.x.clone(), [ours.gamma.clone(), ours.beta.clone()]));
            close(&ours.x, &dx, 1e-5, "dx");
            close(&ours.gamma, &d_gamma, 1e-5, "dγ");
            close(&ours.beta, &d_beta, 1e-5, "dβ");
        }
    }
}

#[test]
fn results_depend_on_neither_threads_nor_scheduling() {
    let dims = [3, 20, 31, 17];
    let (x, dy) = (wave(3 * 20 * 31 * 17, 0.37), wave(3 * 20 * 31 * 17, 0.11));
    let (gamma, beta) = (wave(20, 2.0), wave(20, 3.0));
    let affine = Affine { gamma: &gamma, beta: &beta, epsilon: EPSILON, silu: true };
    let results = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let unit = Unit::best();
            let (y, statistics) = batch_norm_train(unit, planes(&x, dims), [3, 20], affine);
            let (x, dy) = (planes(&x, dims), planes(&dy, dims));
            let gradients = batch_norm_backward(unit, x, dy, [3, 20], affine, &statistics);
            let all = [y, statistics.mean, statistics.var, gradients.x, gradients.gamma, gradients.beta];
            all.map(|numbers| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        })
    };
    let once = results(1);
    for threads in [1, 2, 2, 3, 5] {
        assert!(results(threads) == once, "{threads} threads");
    }
}
