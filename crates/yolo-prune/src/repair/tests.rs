//! Biases that replace the mean contribution of removed weights.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use yolo_model::Checkpoint;

use crate::calibration::walk;
use crate::fused::Fused;
use crate::networks::{Map, channel_means, convolve, device, raw_batches, tiny};
use crate::{
    Calibration, CalibrationImages, ImageBatch, Method, PruneOptions, Repair, apply, plan, plan_calibrated,
};

/// The mean of every channel of every convolution's output, before its activation.
fn means(checkpoint: &Checkpoint, images: &CalibrationImages) -> HashMap<String, Vec<f64>> {
    let fused = checkpoint.fuse().unwrap();
    let mut means = HashMap::new();
    walk(&Fused::of(&fused).unwrap(), images, &device(), |visit| {
        let weight = fused.weights.f32s(&visit.conv.weight())?;
        let bias = fused.weights.f32s(&visit.conv.bias())?;
        let outputs = |batch| convolve(&Map::of(batch), &visit.conv.spec, weight, bias);
        let all: Vec<Vec<f64>> = visit.dense.iter().flat_map(outputs).collect();
        means.insert(visit.conv.name.clone(), channel_means(&all));
        Ok(None)
    })
    .unwrap();
    means
}

fn worst(a: &HashMap<String, Vec<f64>>, b: &HashMap<String, Vec<f64>>) -> f64 {
    let pairs = a.iter().flat_map(|(name, a)| a.iter().zip(&b[name]));
    pairs.fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn every_channel_keeps_its_mean() {
    let dense = tiny(41);
    let batch = |(shape, pixels): ([usize; 3], Vec<u8>)| ImageBatch {
        pixels,
        n: shape[0],
        height: shape[1],
        width: shape[2],
    };
    let images = CalibrationImages::new(raw_batches(42).into_iter().map(batch)).unwrap();
    let expected = means(&dense, &images);
    let device = device();
    let options = PruneOptions::new(Method::Layer, 0.6);
    let unrepaired = apply(&dense, &plan(&dense, &options).unwrap()).unwrap();
    assert!(worst(&means(&unrepaired, &images), &expected) > 0.1);
    for method in [Method::Layer, Method::Wanda, Method::Reconstruction] {
        for repair in [Repair::Bias, Repair::Reconstruct] {
            let options = PruneOptions { repair: Some(repair), ..PruneOptions::new(method, 0.6) };
            let mut progress = |_: &'static str, _, _| {};
            let mut calibration = Calibration::new(&images, &device, &mut progress);
            let plan = plan_calibrated(&dense, &options, &mut calibration).unwrap();
            let error = worst(&means(&apply(&dense, &plan).unwrap(), &images), &expected);
            assert!(error < 1e-4, "{method:?} {repair:?}: {error}");
            if repair == Repair::Bias {
                // The weights that stay are left alone.
                let fused = dense.fuse().unwrap();
                let pruned = apply(&dense, &plan).unwrap().fuse().unwrap().into_checkpoint();
                for layer in &plan.masks {
                    let pair = fused.weights.f32s(&layer.tensor).unwrap();
                    let pair = pair.iter().zip(pruned.weights.f32s(&layer.tensor).unwrap());
                    for (index, (before, after)) in pair.enumerate() {
                        let kept = if layer.mask.keeps(index) { *before } else { 0.0 };
                        assert!((kept - after).abs() <= 1e-6 * kept.abs(), "{}[{index}]", layer.tensor);
                    }
                }
            }
        }
    }
}
