//! What is measured on images, against the network itself.

use burn::tensor::Device;
use yolo_model::Checkpoint;
use yolo_nn::{Yolo, host_values};
use yolo_prune::channels::{ChannelStatistics, taylor_scores};
use yolo_prune::{Calibration, CalibrationImages, ImageBatch};

use super::networks::{random, tiny_architecture};

/// Batches of different sizes and shapes.
fn images() -> CalibrationImages {
    let batch = |n: usize, height: usize, width: usize, salt: usize| ImageBatch {
        pixels: (0..n * 3 * height * width).map(|i| (((i + salt) * 2_654_435_761) >> 7) as u8).collect(),
        n,
        height,
        width,
    };
    CalibrationImages::new([batch(2, 32, 64, 1), batch(1, 32, 32, 2)]).unwrap()
}

fn statistics(checkpoint: &Checkpoint) -> ChannelStatistics {
    let (images, device) = (images(), Device::flex());
    ChannelStatistics::measure(checkpoint, &mut Calibration::new(&images, &device, &mut |_, _, _| {}))
        .unwrap()
}

/// Sum of `of` over all values of every channel that layer `layer` makes, and how many values a channel has.
fn sums(checkpoint: &Checkpoint, layer: usize, of: impl Fn(f32) -> f64) -> (Vec<f64>, usize) {
    let device = Device::flex();
    let model = Yolo::from_checkpoint(checkpoint, &device).unwrap();
    let (mut sums, mut count) = (Vec::new(), 0);
    for batch in images().tensors(&device) {
        model.forward_observed(batch, |index, output| {
            if index != layer {
                return;
            }
            let [n, channels, height, width] = output.dims();
            sums.resize(channels, 0.0);
            count += n * height * width;
            for (i, value) in host_values(output.clone()).unwrap().into_iter().enumerate() {
                sums[i / (height * width) % channels] += of(value);
            }
        });
    }
    (sums, count)
}

fn assert_near(measured: &[f64], sums: &[f64], count: usize, what: &str) {
    assert_eq!(measured.len(), sums.len(), "{what}");
    for (channel, (measured, sum)) in measured.iter().zip(sums).enumerate() {
        let expected = sum / count as f64;
        let close = (measured - expected).abs() <= 1e-5 * (1.0 + expected.abs());
        assert!(close, "{what}, channel {channel}: {measured}, not {expected}");
    }
}

#[test]
fn means_and_magnitudes_are_those_of_the_networks_own_maps() {
    let dense = random(tiny_architecture(), 5);
    for checkpoint in [dense.fuse().unwrap().into_checkpoint(), dense] {
        let measured = statistics(&checkpoint);
        for (layer, conv) in
            [(0, "model.0"), (1, "model.1"), (2, "model.2.cv3"), (4, "model.4.cv2"), (5, "model.5")]
        {
            let (means, count) = sums(&checkpoint, layer, f64::from);
            assert_near(&measured.means.outputs[conv], &means, count, conv);
            let (magnitudes, count) = sums(&checkpoint, layer, |value| f64::from(value.abs()));
            assert_near(&measured.magnitudes[conv], &magnitudes, count, conv);
        }
        assert_eq!(measured.means.outputs.len(), checkpoint.architecture.convs().len());
    }
}

#[test]
fn inputs_behind_pools_are_measured_and_grow_with_every_pool() {
    let measured = statistics(&random(tiny_architecture(), 6));
    let names: Vec<&String> = measured.means.inputs.keys().collect();
    assert_eq!(names, ["model.4.cv2"]);
    let inputs = &measured.means.inputs["model.4.cv2"];
    let before = &measured.means.outputs["model.4.cv1"];
    let parts: Vec<&[f64]> = inputs.chunks_exact(before.len()).collect();
    assert_eq!(parts.len(), 4);
    for (channel, mean) in before.iter().enumerate() {
        assert!((parts[0][channel] - mean).abs() < 1e-6, "channel {channel}");
        assert!(parts.windows(2).all(|pair| pair[0][channel] <= pair[1][channel]), "channel {channel}");
        assert!(parts[3][channel] > *mean, "channel {channel}: pooling changed nothing");
    }
}

/// Both `γ·∂γ + β·∂β` and, once fused, `w·∂w + b·∂b` are the sum of pre-activations times their gradients.
#[test]
fn taylor_scores_are_the_same_fused_and_not() {
    let mut dense = random(tiny_architecture(), 7);
    // A channel that is always zero costs nothing.
    for what in ["weight", "bias"] {
        dense.weights.get_mut(&format!("model.5.bn.{what}")).unwrap().f32s_mut().unwrap()[3] = 0.0;
    }
    let (images, device) = (images(), Device::flex());
    let scores = |checkpoint: &Checkpoint| {
        taylor_scores(checkpoint, &mut Calibration::new(&images, &device, &mut |_, _, _| {})).unwrap()
    };
    let (stored, fused) = (scores(&dense), scores(&dense.fuse().unwrap()));
    for (group, stored) in &stored.groups {
        let largest = stored.iter().copied().fold(0.0, f64::max);
        assert!(largest > 0.0, "{group} has no scores");
        for (channel, (a, b)) in stored.iter().zip(&fused.groups[group]).enumerate() {
            assert!((a - b).abs() <= 1e-3 * largest, "{group}, channel {channel}: {a} stored, {b} fused");
        }
    }
    assert_eq!(stored.groups["model.5"][3], 0.0);
    assert!(stored.groups["model.5"].iter().filter(|score| **score > 0.0).count() > 10);
}
