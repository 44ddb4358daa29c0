//! The fit of single convolutions against least squares over every position of every image.

use half::f16;
use yolo_model::Checkpoint;
use yolo_model::architecture::ConvRef;
use yolo_model::weights::FloatFormat;
use yolo_prune::{Mask, Method, Pattern, PruneOptions, PrunePlan, Rank, Repair, Sparsity, apply};

use super::networks::{columns, difference, layers, logits, raw_batches, tensor, tiny};
use super::{Batches, calibrated};

/// Damping, as a fraction of the mean variance of the inputs: that of [`yolo_prune::reconstruct::Gram`].
const DAMPING: f64 = 0.01;

fn conv(checkpoint: &Checkpoint, name: &str) -> ConvRef {
    checkpoint.architecture.convs().into_iter().find(|conv| conv.name == name).unwrap()
}

/// Half of the weights of the named convolutions by magnitude, the rest of those fitted.
fn only(checkpoint: &Checkpoint, names: &[&str], rank: Rank) -> PruneOptions {
    let others =
        checkpoint.architecture.convs().into_iter().filter(|conv| !names.contains(&conv.name.as_str()));
    PruneOptions {
        exclude: others.map(|conv| Pattern::new(&conv.name)).collect(),
        repair: Some(Repair::Reconstruct),
        rank,
        ..PruneOptions::new(Method::Layer, 0.5)
    }
}

/// What the kernels of `conv`, which reads the output of `layer`, see at all positions of all images.
fn seen(checkpoint: &Checkpoint, conv: &ConvRef, layer: usize, batches: &Batches) -> Vec<Vec<f64>> {
    let of = |(shape, pixels): &([usize; 3], Vec<u8>)| {
        columns(&layers(checkpoint, tensor(pixels, *shape)).0[layer], &conv.spec)
    };
    batches.iter().flat_map(of).collect()
}

fn mean(columns: &[Vec<f64>]) -> Vec<f64> {
    let inputs = columns[0].len();
    (0..inputs).map(|i| columns.iter().map(|x| x[i]).sum::<f64>() / columns.len() as f64).collect()
}

/// `a x = b` by elimination with pivots.
fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for c in 0..n {
        let pivot = (c..n).max_by(|&p, &q| a[p][c].abs().total_cmp(&a[q][c].abs())).unwrap();
        a.swap(c, pivot);
        b.swap(c, pivot);
        for r in c + 1..n {
            let factor = a[r][c] / a[c][c];
            let (above, below) = a.split_at_mut(r);
            below[0][c..].iter_mut().zip(&above[c][c..]).for_each(|(to, from)| *to -= factor * from);
            b[r] -= factor * b[c];
        }
    }
    for r in (0..n).rev() {
        let known: f64 = (r + 1..n).map(|c| a[r][c] * b[c]).sum();
        b[r] = (b[r] - known) / a[r][r];
    }
    b
}

/// The weights on `keep`, and the bias, that minimise `mean (w₀·x + b₀ − w·x̂ − b)² + λ |w − w₀|²` over positions.
fn least_squares(
    dense: &[Vec<f64>],
    pruned: &[Vec<f64>],
    original: &[f64],
    bias: f64,
    keep: &[bool],
) -> (Vec<f64>, f64) {
    let (mu, mu_hat) = (mean(dense), mean(pruned));
    let n = dense.len() as f64;
    let variance = |i: usize| pruned.iter().map(|x| (x[i] - mu_hat[i]).powi(2)).sum::<f64>() / n;
    let lambda = DAMPING * (0..mu.len()).map(variance).sum::<f64>() / mu.len() as f64;
    let support: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
    let mut left = vec![vec![0.0; support.len()]; support.len()];
    let mut right = vec![0.0; support.len()];
    for (x, x_hat) in dense.iter().zip(pruned) {
        let aim: f64 = original.iter().zip(x).zip(&mu).map(|((w, x), mu)| w * (x - mu)).sum();
        let inputs: Vec<f64> = support.iter().map(|i| x_hat[*i] - mu_hat[*i]).collect();
        for (r, a) in inputs.iter().enumerate() {
            right[r] += aim * a / n;
            left[r].iter_mut().zip(&inputs).for_each(|(to, b)| *to += a * b / n);
        }
    }
    for (r, i) in support.iter().enumerate() {
        left[r][r] += lambda;
        right[r] += lambda * original[*i];
    }
    let mut weights = vec![0.0; keep.len()];
    support.iter().zip(eliminate(left, right)).for_each(|(i, w)| weights[*i] = w);
    let output = |w: &[f64], mu: &[f64]| w.iter().zip(mu).map(|(w, mu)| w * mu).sum::<f64>();
    let bias = bias + output(original, &mu) - output(&weights, &mu_hat);
    (weights, bias)
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Every row of `conv` in `fitted` is the least-squares solution, to `tolerance` of the row's largest weight.
fn assert_fitted(
    [dense, before, fitted]: [&Checkpoint; 3],
    name: &str,
    layer: usize,
    mask: &Mask,
    batches: &Batches,
    tolerance: f64,
) {
    let conv = conv(dense, name);
    let (dense, fitted) = (dense.fuse().unwrap(), fitted.fuse().unwrap());
    let x = seen(&dense, &conv, layer, batches);
    let x_hat = seen(before, &conv, layer, batches);
    let inputs = x[0].len();
    assert!(x.len() > inputs, "{} positions for {inputs} inputs", x.len());
    let keep = mask.to_bools();
    let tensors = |checkpoint: &Checkpoint| {
        [conv.weight(), conv.bias()].map(|name| doubles(checkpoint.weights.f32s(&name).unwrap()))
    };
    let ([w0, b0], [w, b]) = (tensors(&dense), tensors(&fitted));
    for row in 0..conv.spec.out_channels {
        let at = row * inputs..(row + 1) * inputs;
        let (weights, bias) = least_squares(&x, &x_hat, &w0[at.clone()], b0[row], &keep[at.clone()]);
        let scale = weights.iter().fold(0.0f64, |scale, w| scale.max(w.abs()));
        for ((actual, expected), keep) in w[at.clone()].iter().zip(&weights).zip(&keep[at]) {
            assert!((actual - expected).abs() <= tolerance * scale, "{name}, row {row}: {actual} {expected}");
            assert!(*keep || *actual == 0.0);
        }
        let bias_scale = b0[row].abs().max(bias.abs());
        assert!(
            (b[row] - bias).abs() <= tolerance * bias_scale.max(scale),
            "{name}, row {row}: {} {bias}",
            b[row]
        );
    }
}

fn mask_of<'a>(plan: &'a PrunePlan, checkpoint: &Checkpoint, name: &str) -> &'a Mask {
    plan.mask_of(&conv(checkpoint, name)).unwrap()
}

/// Convolutions of several sizes and kernels, the head's included, and the layer whose output each reads.
const CONVS: [(&str, usize); 5] =
    [("model.1", 0), ("model.2.cv2", 1), ("model.3", 2), ("model.5", 4), ("model.10.m.1", 4)];

#[test]
fn a_single_convolution_is_fitted_by_least_squares() {
    let unfused = tiny(51);
    let batches = raw_batches(52);
    for checkpoint in [unfused.fuse().unwrap().into_checkpoint(), unfused] {
        for (name, layer) in CONVS {
            for rank in [Rank::Fused, Rank::Stored] {
                let plan = calibrated(&checkpoint, &only(&checkpoint, &[name], rank), &batches).unwrap();
                assert_eq!(plan.masks.len(), 1);
                let mask = mask_of(&plan, &checkpoint, name);
                assert_eq!(mask.pruned(), mask.len() / 2);
                let fitted = apply(&checkpoint, &plan).unwrap();
                assert_fitted([&checkpoint, &checkpoint, &fitted], name, layer, mask, &batches, 1e-4);
                let zeros = Sparsity::of(&fitted).unwrap().conv_zeros;
                assert_eq!(zeros, Sparsity::of(&checkpoint).unwrap().conv_zeros + mask.pruned());
            }
        }
    }
}

/// What comes second is fitted behind what came first, towards what the dense network computes.
#[test]
fn a_second_convolution_makes_up_for_the_first() {
    let checkpoint = tiny(53);
    let batches = raw_batches(54);
    let first = calibrated(&checkpoint, &only(&checkpoint, &["model.1"], Rank::Fused), &batches).unwrap();
    let before = apply(&checkpoint, &first).unwrap();
    for (name, layer) in [("model.2.cv1", 1), ("model.3", 2), ("model.10.m.0", 9), ("model.10.m.1", 4)] {
        let options = only(&checkpoint, &["model.1", name], Rank::Fused);
        let plan = calibrated(&checkpoint, &options, &batches).unwrap();
        let fitted = apply(&checkpoint, &plan).unwrap();
        // The first does not depend on the second.
        for update in &first.updates {
            assert!(plan.updates.contains(update), "{}", update.tensor);
        }
        let mask = mask_of(&plan, &checkpoint, name);
        assert_fitted([&checkpoint, &before, &fitted], name, layer, mask, &batches, 1e-3);
    }
}

/// Channels whose scale is zero, tiny and negative: what is stored computes what was fitted.
#[test]
fn scales_that_cannot_be_divided_by_keep_their_weights() {
    let mut checkpoint = tiny(55);
    let batches = raw_batches(56);
    let scales = checkpoint.weights.get_mut("model.3.bn.weight").unwrap().f32s_mut().unwrap();
    (scales[2], scales[5], scales[7]) = (0.0, 1e-30, -1.5);
    let before = checkpoint.weights.f32s("model.3.conv.weight").unwrap().to_vec();
    let plan = calibrated(&checkpoint, &only(&checkpoint, &["model.3"], Rank::Stored), &batches).unwrap();
    let mask = mask_of(&plan, &checkpoint, "model.3");
    let fitted = apply(&checkpoint, &plan).unwrap();
    let weights = fitted.weights.f32s("model.3.conv.weight").unwrap();
    let inputs = mask.len() / 24;
    for index in 2 * inputs..3 * inputs {
        let expected = if mask.keeps(index) { before[index] } else { 0.0 };
        assert_eq!(weights[index], expected);
    }
    assert_eq!(weights.iter().filter(|w| **w == 0.0).count(), mask.pruned());
    assert!(weights.iter().all(|w| w.is_finite()));
    assert_fitted([&checkpoint, &checkpoint, &fitted], "model.3", 2, mask, &batches, 1e-3);
    // In the fused network, those channels are nothing but their bias.
    let fused = fitted.fuse().unwrap();
    let worst = difference(&logits(&fitted, &batches), &logits(&fused, &batches));
    assert!(worst < 1e-5, "{worst}");
}

/// Both kinds of file end up as the same network, as far as f32 goes.
#[test]
fn fused_and_unfused_checkpoints_become_the_same_network() {
    let unfused = tiny(57);
    let fused = unfused.fuse().unwrap();
    let batches = raw_batches(58);
    for repair in [Repair::Bias, Repair::Reconstruct] {
        let options = PruneOptions { repair: Some(repair), ..PruneOptions::new(Method::Global, 0.5) };
        let [a, b] = [&unfused, &fused].map(|checkpoint| {
            let plan = calibrated(checkpoint, &options, &batches).unwrap();
            apply(checkpoint, &plan).unwrap().fuse().unwrap().into_checkpoint()
        });
        for (name, tensor) in a.weights.iter() {
            let Ok(values) = tensor.f32s() else { continue };
            let worst = difference(b.weights.f32s(name).unwrap(), values);
            assert!(worst < 1e-4, "{repair:?}, {name}: {worst}");
        }
    }
}

#[test]
fn what_came_in_half_precision_stays_in_half_precision() {
    let mut unfused = tiny(59);
    let batches = raw_batches(60);
    let halve = |checkpoint: &mut Checkpoint| {
        for (_, tensor) in checkpoint.weights.iter_mut() {
            let Ok(values) = tensor.f32s_mut() else { continue };
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
    };
    halve(&mut unfused);
    let mut fused = unfused.fuse().unwrap().into_checkpoint();
    halve(&mut fused);
    for checkpoint in [unfused, fused] {
        assert_eq!(FloatFormat::lossless_for(&checkpoint.weights), FloatFormat::F16);
        for method in [Method::Global, Method::Reconstruction] {
            let options =
                PruneOptions { repair: Some(Repair::Reconstruct), ..PruneOptions::new(method, 0.5) };
            let plan = calibrated(&checkpoint, &options, &batches).unwrap();
            let pruned = apply(&checkpoint, &plan).unwrap();
            assert_eq!(FloatFormat::lossless_for(&pruned.weights), FloatFormat::F16);
            // Every convolution has its weights and its biases renewed.
            assert_eq!(plan.updates.len(), 2 * checkpoint.architecture.convs().len());
        }
    }
}
