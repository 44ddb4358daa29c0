//! Compensation: exact for constant channels behind 1×1 convolutions, better than nothing elsewhere.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use yolo_model::Checkpoint;
use yolo_nn::{Yolo, host_values};
use yolo_prune::PruneError;
use yolo_prune::channels::{
    ChannelMeans, ChannelPlan, ChannelScores, Coupling, KeptChannels, compensate, remove,
};

use super::networks::{difference, image, logits, random, released, tiny_architecture, yolov5n};

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The plan that removes single channels.
fn without(checkpoint: &Checkpoint, gone: &[(&str, usize)]) -> ChannelPlan {
    let mut plan = ChannelPlan::identity(&checkpoint.architecture);
    for (name, channel) in gone {
        let group = plan.groups.iter_mut().find(|group| group.group == *name).unwrap();
        group.kept.retain(|kept| kept != channel);
    }
    plan
}

/// Makes output channel `channel` of the convolution `name` the constant `SiLU(shift)`.
fn make_constant(checkpoint: &mut Checkpoint, name: &str, channel: usize, shift: f32) {
    let conv = checkpoint.architecture.convs().into_iter().find(|conv| conv.name == name).unwrap();
    let shifts = if checkpoint.architecture.fused { conv.bias() } else { conv.bn("bias") };
    checkpoint.weights.get_mut(&shifts).unwrap().f32s_mut().unwrap()[channel] = shift;
    let scales = if checkpoint.architecture.fused { conv.weight() } else { conv.bn("weight") };
    let values = checkpoint.weights.get_mut(&scales).unwrap().f32s_mut().unwrap();
    let row = values.len() / conv.spec.out_channels;
    values[channel * row..(channel + 1) * row].fill(0.0);
}

fn zero_means(checkpoint: &Checkpoint) -> ChannelMeans {
    let convs = checkpoint.architecture.convs().into_iter();
    ChannelMeans {
        outputs: convs.map(|conv| (conv.name, vec![0.0; conv.spec.out_channels])).collect(),
        inputs: HashMap::new(),
    }
}

/// Constant channels that only 1×1 convolutions read, in every kind of place: behind a plain convolution, a
/// residual stream of three producers, the branch beside it, a concatenation across levels, before the head, and
/// before an SPPF's pools, which leave a constant as it is.
#[test]
fn constant_channels_behind_pointwise_convolutions_go_without_a_trace() {
    let dense = random(tiny_architecture(), 31);
    for mut checkpoint in [dense.fuse().unwrap().into_checkpoint(), dense] {
        let mut means = zero_means(&checkpoint);
        let coupling = Coupling::of(&checkpoint.architecture);
        let names =
            ["model.1", "model.2.cv1", "model.2.cv2", "model.4.cv1", "model.4.cv2", "model.5", "model.9.cv2"];
        let gone: Vec<(&str, usize)> = names.iter().copied().zip(2..).collect();
        for &(name, channel) in &gone {
            let group = &coupling.groups[coupling.produced_by(name).unwrap()];
            for consumer in &group.consumers {
                assert_eq!(consumer.conv.spec.kernel, [1, 1], "{name}: {}", consumer.conv.name);
            }
            for (index, conv) in group.producers.iter().enumerate() {
                let shift = 0.6 + 0.3 * index as f32;
                make_constant(&mut checkpoint, &conv.name, channel, shift);
                means.outputs.get_mut(&conv.name).unwrap()[channel] = silu(f64::from(shift));
            }
        }
        let plan = without(
            &checkpoint,
            &gone.iter().map(|&(n, c)| (group_name(&coupling, n), c)).collect::<Vec<_>>(),
        );
        assert_eq!(plan.removed(), names.len());
        let images = image(32, 32);
        let expected = logits(&checkpoint, &images);
        let plain = difference(&logits(&remove(&checkpoint, &plan).unwrap(), &images), &expected);
        let moved = compensate(&checkpoint, &plan, &means).unwrap();
        let compensated = difference(&logits(&remove(&moved, &plan).unwrap(), &images), &expected);
        assert!(compensated < 1e-5 && plain > 1e-2, "{compensated} {plain}");
        // Means of the readers' inputs, where they are given, come first.
        let mut wrong = means.clone();
        wrong.inputs.insert("model.2.cv3".to_owned(), vec![0.0; 1]);
        let error = compensate(&checkpoint, &plan, &wrong).unwrap_err().to_string();
        assert_eq!(error, "model.2.cv3: 1 means for 16 input channels");
        let mut by_inputs = zero_means(&checkpoint);
        for input in &coupling.inputs {
            let of_slice = |slice: &yolo_prune::channels::InputSlice| match slice.group {
                Some(group) => expected_input(&coupling, &means, group, &input.conv.name),
                None => vec![f64::NAN; slice.channels],
            };
            by_inputs
                .inputs
                .insert(input.conv.name.clone(), input.slices.iter().flat_map(of_slice).collect());
        }
        let again = compensate(&checkpoint, &plan, &by_inputs).unwrap();
        for ((name, a), (_, b)) in again.weights.iter().zip(moved.weights.iter()) {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            let floats = a.f32s().into_iter().flatten().zip(b.f32s().into_iter().flatten());
            assert!(floats.into_iter().all(close), "{name}");
        }
    }
}

fn group_name<'a>(coupling: &'a Coupling, producer: &str) -> &'a str {
    &coupling.groups[coupling.produced_by(producer).unwrap()].name
}

/// The mean that `reader` sees of a group: in the residual streams of the tiny network, what was added so far.
fn expected_input(coupling: &Coupling, means: &ChannelMeans, group: usize, reader: &str) -> Vec<f64> {
    let group = &coupling.groups[group];
    let producers = match reader {
        "model.2.m.0.cv1" | "model.9.cv1" => 1,
        "model.2.m.1.cv1" => 2,
        _ => group.producers.len(),
    };
    let sum = |channel: usize| {
        group.producers[..producers].iter().map(|conv| means.outputs[&conv.name][channel]).sum()
    };
    (0..group.channels).map(sum).collect()
}

/// Means of the outputs of the layers that are one convolution or end with one.
fn layer_means(checkpoint: &Checkpoint, images: &Tensor<4>) -> ChannelMeans {
    let mut means = ChannelMeans::default();
    let network = Yolo::from_checkpoint(checkpoint, &Device::flex()).unwrap();
    network.forward_observed(images.clone(), |index, output| {
        let [_, channels, height, width] = output.dims();
        let values = host_values(output.clone()).unwrap();
        let mean = |map: &[f32]| map.iter().map(|v| f64::from(*v)).sum::<f64>() / (height * width) as f64;
        let values: Vec<f64> = values.chunks_exact(height * width).map(mean).collect();
        assert_eq!(values.len(), channels);
        for name in [format!("model.{index}"), format!("model.{index}.cv3"), format!("model.{index}.cv2")] {
            means.outputs.insert(name, values.clone());
        }
    });
    let last = |name: &str| {
        let layer: usize = name.split('.').nth(1).unwrap().parse().unwrap();
        let ends_with = match checkpoint.architecture.layers[layer].block.name() {
            "C3" => "cv3",
            "SPPF" => "cv2",
            _ => "",
        };
        name == format!("model.{layer}.{ends_with}").trim_end_matches('.')
    };
    means.outputs.retain(|name, _| last(name));
    means
}

/// A quarter of the channels of every layer's output, by their scale: the outputs stay nearer with compensation.
#[test]
fn compensation_brings_the_outputs_nearer() {
    let checkpoints = [Some(("released", released())), Some(("random", Some(yolov5n())))];
    for (name, dense) in checkpoints.into_iter().flatten() {
        let Some(dense) = dense else { continue };
        let calibration = image(128, 33);
        let scores = ChannelScores::bn_scale(&dense).unwrap();
        for checkpoint in [dense.fuse().unwrap().into_checkpoint(), dense] {
            let means = layer_means(&checkpoint, &calibration);
            let mut plan = ChannelPlan::identity(&checkpoint.architecture);
            let coupling = Coupling::of(&checkpoint.architecture);
            for (group, coupled) in plan.groups.iter_mut().zip(&coupling.groups) {
                let [only] = &coupled.producers[..] else { continue };
                if means.outputs.contains_key(&only.name) {
                    drop_lowest(group, &scores.groups[&group.group]);
                }
            }
            assert!(plan.removed() > 100, "{}", plan.removed());
            for (images, what) in [(&calibration, "the same image"), (&image(128, 34), "another image")] {
                let expected = logits(&checkpoint, images);
                let error = |smaller: Checkpoint| -> f64 {
                    let actual = logits(&smaller, images);
                    let squares = actual.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2));
                    (squares.sum::<f64>() / expected.len() as f64).sqrt()
                };
                let plain = error(remove(&checkpoint, &plan).unwrap());
                let moved = error(remove(&compensate(&checkpoint, &plan, &means).unwrap(), &plan).unwrap());
                println!("{name}, {what}: RMS error of the logits {plain:.4}, compensated {moved:.4}");
                assert!(moved < 0.8 * plain, "{name}, {what}: {moved} {plain}");
            }
        }
    }
}

fn drop_lowest(group: &mut KeptChannels, scores: &[f64]) {
    let mut order: Vec<usize> = (0..group.width).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(group.width * 3 / 4);
    order.sort_unstable();
    group.kept = order;
}

#[test]
fn means_that_are_missing_or_misshapen_are_named() {
    let dense = random(tiny_architecture(), 35);
    let plan = without(&dense, &[("model.1", 3)]);
    let error = |means: &ChannelMeans| {
        let error = compensate(&dense, &plan, means).unwrap_err();
        assert!(matches!(error, PruneError::ChannelMeans { .. }), "{error}");
        error.to_string()
    };
    let mut means = zero_means(&dense);
    means.outputs.remove("model.1");
    let message = error(&means);
    assert!(message.starts_with("model.2.cv1: the mean of its input channel 3 is not known"), "{message}");
    means.outputs.insert("model.1".to_owned(), vec![0.0; 4]);
    assert_eq!(error(&means), "model.1: 4 means for 16 output channels");
    // What stays needs no means.
    let nothing = ChannelPlan::identity(&dense.architecture);
    assert_eq!(compensate(&dense, &nothing, &ChannelMeans::default()).unwrap().weights, dense.weights);
}
