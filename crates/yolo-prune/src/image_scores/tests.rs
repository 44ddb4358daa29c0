//! Scores against sums that are written out.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use yolo_model::Checkpoint;

use super::*;
use crate::candidates::candidates;
use crate::networks::{Map, columns, device, layers, raw_batches, tensor, tiny};
use crate::scores::scores;
use crate::{Allocation, CalibrationImages, Criterion, ImageBatch, Method, PruneError, PruneOptions};

fn batches(seed: u64) -> Vec<ImageBatch> {
    let batch = |(shape, pixels): ([usize; 3], Vec<u8>)| ImageBatch {
        pixels,
        n: shape[0],
        height: shape[1],
        width: shape[2],
    };
    raw_batches(seed).into_iter().map(batch).collect()
}

/// The scores of every convolution, by name.
fn scores_of(
    checkpoint: &Checkpoint,
    criterion: Criterion,
    images: impl IntoIterator<Item = ImageBatch>,
) -> HashMap<String, Vec<f32>> {
    let images = CalibrationImages::new(images).unwrap();
    let options = PruneOptions { criterion: Some(criterion), ..PruneOptions::new(Method::Global, 0.5) };
    let device = device();
    let mut progress = |_: &'static str, done: usize, total: usize| assert!(done <= total);
    let mut calibration = Calibration::new(&images, &device, &mut progress);
    let (candidates, skipped) = candidates(&checkpoint.architecture, &options).unwrap();
    assert!(skipped.is_empty());
    let fused = Fused::of(checkpoint).unwrap();
    let scores = scores(checkpoint, Some(&fused), &candidates, &options, Some(&mut calibration)).unwrap();
    let named = candidates.iter().zip(scores);
    named.map(|(candidate, scores)| (candidate.conv.name.clone(), scores.into_owned())).collect()
}

/// Convolutions that read the output of a layer, and that layer.
const READERS: [(&str, usize); 5] =
    [("model.1", 0), ("model.2.cv1", 1), ("model.3", 2), ("model.10.m.0", 9), ("model.10.m.1", 4)];

#[test]
fn wanda_is_the_weight_times_the_norm_of_its_input() {
    let checkpoint = tiny(31);
    let fused = checkpoint.fuse().unwrap();
    let scores = scores_of(&checkpoint, Criterion::Wanda, batches(32));
    let maps: Vec<Vec<Map>> =
        raw_batches(32).iter().map(|(shape, pixels)| layers(&checkpoint, tensor(pixels, *shape)).0).collect();
    for (name, layer) in READERS {
        let conv = checkpoint.architecture.convs().into_iter().find(|conv| conv.name == name).unwrap();
        let seen: Vec<Vec<f64>> = maps.iter().flat_map(|maps| columns(&maps[layer], &conv.spec)).collect();
        let inputs = seen[0].len();
        let norm = |i: usize| (seen.iter().map(|x| x[i] * x[i]).sum::<f64>() / seen.len() as f64).sqrt();
        let norms: Vec<f64> = (0..inputs).map(norm).collect();
        let weights = fused.weights.f32s(&conv.weight()).unwrap();
        assert_eq!(scores[name].len(), weights.len());
        for (index, (score, weight)) in scores[name].iter().zip(weights).enumerate() {
            let expected = f64::from(weight.abs()) * norms[index % inputs];
            assert!(
                (f64::from(*score) - expected).abs() <= 1e-5 * expected,
                "{name}[{index}]: {score} {expected}"
            );
        }
    }
    // Fused networks have the same, up to the bits.
    assert_eq!(scores_of(&fused, Criterion::Wanda, batches(32)), scores);
}

fn gradient_products(
    checkpoint: &Checkpoint,
    batch: ImageBatch,
    labels: Labels,
) -> HashMap<String, Vec<f64>> {
    let images = CalibrationImages::new([batch]).unwrap();
    let mut products = HashMap::new();
    let each = |name: &str, gradient: &[f32]| {
        let weights = checkpoint.weights.f32s(name).unwrap();
        let both = weights.iter().zip(gradient);
        products.insert(name.to_owned(), both.map(|(w, g)| f64::from(*w) * f64::from(*g)).collect());
        Ok(())
    };
    gradients(checkpoint, &images, &device(), labels, each, || {}).unwrap();
    products
}

/// With the gradients, which have tests of their own.
#[test]
fn saliencies_are_products_of_weight_and_gradient() {
    let checkpoint = tiny(33);
    let images = batches(34);
    let snip = scores_of(&checkpoint, Criterion::Snip, images.clone());
    let each: Vec<_> =
        images.iter().map(|batch| gradient_products(&checkpoint, batch.clone(), Labels::Pseudo)).collect();
    let taylor = scores_of(&checkpoint, Criterion::Taylor, images[..1].to_vec());
    let drawn = gradient_products(&checkpoint, images[0].clone(), Labels::Drawn);
    for conv in checkpoint.architecture.convs() {
        let name = conv.weight();
        for index in 0..snip[&conv.name].len() {
            let sum: f64 = each.iter().map(|products| products[&name][index].abs()).sum();
            assert_eq!(snip[&conv.name][index], sum as f32, "{name}[{index}]");
            assert_eq!(taylor[&conv.name][index], drawn[&name][index].powi(2) as f32, "{name}[{index}]");
        }
    }
}

#[test]
fn fused_networks_get_the_same_saliencies() {
    let checkpoint = tiny(35);
    let fused = checkpoint.fuse().unwrap();
    for criterion in [Criterion::Snip, Criterion::Taylor] {
        let [a, b] = [&checkpoint, &fused].map(|network| scores_of(network, criterion, batches(36)));
        for (name, a) in &a {
            let worst = crate::networks::difference(&b[name], a);
            assert!(worst < 1e-4, "{criterion:?} of {name}: {worst}");
            assert!(a.iter().all(|score| *score >= 0.0) && a.iter().any(|score| *score > 0.0));
        }
    }
}

#[test]
fn criteria_that_look_at_images_ask_for_them() {
    let checkpoint = tiny(37);
    for criterion in [Criterion::Wanda, Criterion::Snip, Criterion::Taylor] {
        let options = PruneOptions {
            criterion: Some(criterion),
            allocation: Some(Allocation::Layer),
            ..PruneOptions::new(Method::Global, 0.5)
        };
        let (candidates, _) = candidates(&checkpoint.architecture, &options).unwrap();
        let error = scores(&checkpoint, Some(&Fused::of(&checkpoint).unwrap()), &candidates, &options, None)
            .unwrap_err();
        assert!(matches!(error, PruneError::NeedsImages), "{error}");
    }
}
