//! Every module of YOLOv5, in the reference's networks: couplings, scores, removal, compensation, calibrated pruning.

use std::path::PathBuf;

use burn::tensor::Device;
use yolo_model::Checkpoint;
use yolo_prune::channels::{
    ChannelOptions, ChannelPlan, ChannelScores, ChannelStatistics, Coupling, PassageKind, Quantity, Target,
    compensate, remove, select,
};
use yolo_prune::{Calibration, CalibrationImages, ImageBatch, Method, PruneOptions, Sparsity, apply, plan};

use super::networks::{difference, image, logits};

/// Networks with the modules that stock networks do not have.
const NETWORKS: [&str; 14] = [
    "zoo",
    "focus-c3",
    "focus-csp-hardswish",
    "old-v1.0-yolov5s",
    "old-v2.0-yolov5s",
    "act-gelu",
    "act-mish",
    "prune-masks",
    "yolov3",
    "yolov3-spp",
    "yolov3-tiny",
    "yolov5-p2",
    "yolov5s-ghost",
    "yolov5s-transformer",
];

/// Two executions add up in another order.
const TOLERANCE: f32 = 1e-4;

fn fixture(name: &str) -> Option<Checkpoint> {
    let folder =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/yolov5-modules"));
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(Checkpoint::load(&folder.join(format!("{name}.pt"))).unwrap())
}

/// The dense network whose channels that the plan removes are exactly zero behind every activation.
fn masked(checkpoint: &Checkpoint, plan: &ChannelPlan) -> Checkpoint {
    let mut masked = checkpoint.clone();
    let coupling = Coupling::of(&checkpoint.architecture);
    let gone = |group: usize| -> Vec<usize> {
        let name = &coupling.groups[group].name;
        let Some(kept) = plan.groups.iter().find(|kept| kept.group == *name) else { return Vec::new() };
        (0..kept.width).filter(|channel| !kept.kept.contains(channel)).collect()
    };
    let mut clear = |names: Vec<String>, channels: usize, gone: &[usize]| {
        for name in names {
            let Some(tensor) = masked.weights.get_mut(&name) else { continue };
            let values = tensor.f32s_mut().unwrap();
            let row = values.len() / channels;
            gone.iter().for_each(|channel| values[channel * row..(channel + 1) * row].fill(0.0));
        }
    };
    for (index, group) in coupling.groups.iter().enumerate() {
        for conv in &group.producers {
            let names = vec![conv.weight(), conv.bias(), conv.bn("weight"), conv.bn("bias")];
            clear(names, group.channels, &gone(index));
        }
    }
    for passage in &coupling.passages {
        let (channels, names) = match &passage.kind {
            PassageKind::Norm(norm) => (norm.spec.channels, vec![norm.tensor("weight"), norm.tensor("bias")]),
            PassageKind::Depthwise(conv) => {
                (conv.spec.out_channels, vec![conv.weight(), conv.bias(), conv.bn("weight"), conv.bn("bias")])
            }
        };
        for slice in &passage.slices {
            let gone = slice.group.map(&gone).unwrap_or_default();
            let gone: Vec<usize> = gone.into_iter().map(|channel| slice.offset + channel).collect();
            clear(names.clone(), channels, &gone);
        }
    }
    masked
}

fn options(fraction: f64) -> ChannelOptions {
    ChannelOptions { round_to: 1, ..ChannelOptions::new(Target::less(Quantity::Gflops, fraction)) }
}

#[test]
fn a_third_of_the_operations_goes_and_the_rest_computes_the_same() {
    for name in NETWORKS {
        let Some(dense) = fixture(name) else { return };
        let fused = dense.fuse().unwrap().into_checkpoint();
        let scales = ChannelScores::bn_scale(&dense).unwrap();
        assert!(scales.groups.values().any(|scores| scores.iter().any(|score| *score > 0.0)), "{name}");
        for checkpoint in [dense, fused] {
            let scores = ChannelScores::l2(&checkpoint, false).unwrap().normalised();
            let plan = select(&checkpoint.architecture, &scores, &options(0.3), None)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let narrow = remove(&checkpoint, &plan).unwrap();
            let [before, after] = [&checkpoint, &narrow].map(|c| c.architecture.summary().gflops);
            assert!(after <= 0.7 * before && after >= 0.6 * before, "{name}: {before} {after}");
            let images = image(128, 3);
            let expected = logits(&masked(&checkpoint, &plan), &images);
            let worst = difference(&logits(&narrow, &images), &expected);
            assert!(worst <= TOLERANCE, "{name}, fused {}: {worst}", checkpoint.architecture.fused);
            let dense = difference(&logits(&checkpoint, &images), &expected);
            assert!(dense > 10.0 * TOLERANCE, "{name}: the channels matter");
        }
    }
}

/// What stays says why: transformers, transposed convolutions, groups.
#[test]
fn channels_that_stay_have_a_reason() {
    let Some(zoo) = fixture("zoo") else { return };
    let coupling = Coupling::of(&zoo.architecture);
    let reason = |name: &str| {
        let group = &coupling.groups[coupling.produced_by(name).unwrap()];
        group.fixed.clone().unwrap_or_default()
    };
    assert!(
        reason("model.15.m.linear").contains("is a layer of a transformer"),
        "{}",
        reason("model.15.m.linear")
    );
    assert!(
        reason("model.16.cv2").contains("model.17 is a transposed convolution"),
        "{}",
        reason("model.16.cv2")
    );
    assert!(reason("model.24.cv2").contains("its channels become pixels"), "{}", reason("model.24.cv2"));
    assert!(reason("model.9.cv1").contains("is a convolution with"), "{}", reason("model.9.cv1"));
    assert!(reason("model.24.cv1").is_empty(), "{}", reason("model.24.cv1"));
    // A batch normalisation that stands alone is passed by the channels before it.
    let norm = coupling.passages.iter().find(|passage| passage.kind.name() == "model.11.bn").unwrap();
    let groups: Vec<&str> =
        norm.slices.iter().map(|slice| coupling.groups[slice.group.unwrap()].name.as_str()).collect();
    assert_eq!(groups, ["model.11.cv3", "model.11.cv2"]);
}

fn images() -> CalibrationImages {
    let pixels = |salt: usize| (0..3 * 64 * 64).map(|i| (((i + salt) * 2_654_435_761) >> 7) as u8).collect();
    let batch = |salt| ImageBatch { pixels: pixels(salt), n: 1, height: 64, width: 64 };
    CalibrationImages::new([batch(1), batch(2)]).unwrap()
}

#[test]
fn compensation_and_calibration_work_with_every_module() {
    for name in ["zoo", "focus-csp-hardswish", "yolov5s-ghost"] {
        let Some(dense) = fixture(name) else { return };
        let (images, device) = (images(), Device::flex());
        let statistics =
            ChannelStatistics::measure(&dense, &mut Calibration::new(&images, &device, &mut |_, _, _| {}))
                .unwrap();
        let scores = ChannelScores::l2(&dense, false).unwrap().normalised();
        let plan_of_channels = select(&dense.architecture, &scores, &options(0.1), None).unwrap();
        let moved = compensate(&dense, &plan_of_channels, &statistics.means).unwrap();
        let tensors: Vec<_> = images.tensors(&device).collect();
        let error = |network: &Checkpoint| -> f64 {
            let errors = tensors.iter().map(|batch| {
                let (found, expected) = (logits(network, batch), logits(&dense, batch));
                found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
            });
            errors.sum()
        };
        let plain = error(&remove(&dense, &plan_of_channels).unwrap());
        let compensated = error(&remove(&moved, &plan_of_channels).unwrap());
        assert!(compensated < plain, "{name}: {compensated} {plain}");

        let zeros = PruneOptions::new(Method::Global, 0.5);
        let sparse = apply(&dense, &plan(&dense, &zeros).unwrap()).unwrap();
        let counted = Sparsity::of(&sparse).unwrap();
        assert!((counted.conv_sparsity() - 0.5).abs() < 1e-3, "{name}: {}", counted.conv_sparsity());
    }
}
