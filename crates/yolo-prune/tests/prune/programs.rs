//! Networks that are not detectors: programs that were put together by hand, with their weights.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::program::{Lowering, ProgramLayout, ProgramModel};
use yolo_model::weights::StateDict;
use yolo_model::{Answers, Architecture, Checkpoint, Layout, Model, ModelError};
use yolo_nn::{Network, host_values};
use yolo_prune::channels::{
    ChannelOptions, ChannelPlan, ChannelScores, ChannelStatistics, Coupling, Quantity, Size, Slimming,
    Target, compensate, remove, select, taylor_scores,
};
use yolo_prune::{
    Calibration, CalibrationImages, ImageBatch, Method, PruneError, PruneOptions, PrunePlan, Sparsity, apply,
    nonzero_gflops, plan, plan_calibrated, reestimate_batch_norm,
};

use crate::channels::networks::randomise_norms;

const IMAGE: [usize; 2] = [16, 16];

/// Five classes for images of 16×16: a shortcut, pools, a bare convolution inside, and bare classes.
fn classifier() -> Result<ProgramLayout, ModelError> {
    let mut lowering = Lowering::new(3);
    let stem = lowering.conv("stem", &ConvSpec::new(3, 8, 3, 2), 0)?;
    let stem = lowering.max_pool(3, stem)?;
    let down = lowering.conv("body.down", &ConvSpec::new(8, 16, 3, 2), stem)?;
    let same = lowering.conv("body.same", &ConvSpec::new(16, 16, 3, 1), down)?;
    let body = lowering.add([same, down])?;
    let gate = lowering.bare_conv("gate", &ConvSpec::new(16, 12, 1, 1), body)?;
    let whole = ConvSpec { kernel: [4; 2], padding: [0; 2], ..ConvSpec::new(12, 24, 1, 1) };
    let whole = lowering.conv("whole", &whole, gate)?;
    let classes = ConvSpec { activation: Activation::Identity, ..ConvSpec::new(24, 5, 1, 1) };
    lowering.output_conv("classes", &classes, whole)?;
    Ok(ProgramLayout::new(lowering.finish(), IMAGE))
}

/// The classifier with weights, and batch normalisation that is the identity nowhere.
fn random(seed: u64) -> ProgramModel {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = ProgramModel::random(classifier().unwrap(), &mut rng).unwrap();
    randomise_norms(&mut model.weights, &mut rng);
    model
}

fn images(n: usize, seed: u64) -> ImageBatch {
    let mut rng = StdRng::seed_from_u64(seed);
    let [height, width] = IMAGE;
    let pixels = (0..n * 3 * height * width).map(|_| rng.random()).collect();
    ImageBatch { pixels, n, height, width }
}

fn logits(model: &dyn Model, batch: &ImageBatch) -> Vec<f32> {
    let device = Device::flex();
    let values: Vec<f32> = batch.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let images =
        Tensor::<4>::from_data(TensorData::new(values, [batch.n, 3, batch.height, batch.width]), &device);
    let mut outputs = Network::of(model, &device).unwrap().forward(images);
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].dims()[1..], [5, 1, 1]);
    host_values(outputs.remove(0)).unwrap()
}

fn with_calibration<T>(n: usize, work: impl FnOnce(&mut Calibration) -> T) -> T {
    let images = CalibrationImages::new([images(n, 7), images(n / 2, 8)]).unwrap();
    let device = Device::flex();
    let mut progress = |_: &'static str, done: usize, total: usize| assert!(done <= total);
    work(&mut Calibration::new(&images, &device, &mut progress))
}

#[test]
fn the_tensors_have_the_names_that_were_given() {
    let model = random(1);
    let names: Vec<&str> = model.weights.names().collect();
    assert_eq!(names[..2], ["stem.conv.weight", "stem.bn.weight"]);
    for name in ["body.same.bn.running_var", "gate.weight", "gate.bias", "classes.bias"] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(!names.contains(&"gate.bn.weight") && !names.contains(&"classes.conv.weight"));
    let fused = model.clone().into_fused().unwrap();
    fused.check_tensors().unwrap();
    assert!(fused.weights.get("stem.conv.bias").is_some() && fused.weights.get("stem.bn.weight").is_none());
    let batch = images(2, 2);
    for (a, b) in logits(&model, &batch).iter().zip(logits(&fused, &batch)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let mut twice = Lowering::new(3);
    twice.conv("stem", &ConvSpec::new(3, 8, 3, 2), 0).unwrap();
    let error = twice.conv("stem", &ConvSpec::new(3, 8, 3, 2), 0).unwrap_err().to_string();
    assert!(error.contains("operation 1 stem: there is a convolution of this name already"), "{error}");
}

#[test]
fn operations_are_counted_for_the_programs_own_images() {
    let layout = classifier().unwrap();
    let normalised = 8 * 64 * 4 + 16 * 16 * 4 * 2 + 24 * 4;
    let products = 8 * 27 * 64 + 16 * 72 * 16 + 16 * 144 * 16 + 12 * 16 * 16 + 24 * 192 + 5 * 24;
    assert!((layout.gflops() - 2.0 * (normalised + products) as f64 / 1e9).abs() < 1e-15);
    let mut pruned = random(2);
    pruned.weights.get_mut("gate.weight").unwrap().f32s_mut().unwrap()[..10].fill(0.0);
    let saved = layout.gflops() - nonzero_gflops(&layout, &Sparsity::of(&pruned).unwrap());
    assert!((saved - 2.0 * 10.0 * 16.0 / 1e9).abs() < 1e-15, "{saved}");
}

#[test]
fn groups_of_channels_follow_the_program() {
    let coupling = Coupling::of(&classifier().unwrap());
    let names: Vec<&str> = coupling.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["stem", "body.down", "gate", "whole"]);
    assert_eq!(coupling.groups[1].producers.len(), 2);
    assert!(coupling.groups.iter().all(|group| group.fixed.is_none()));
    assert_eq!(coupling.produced_by("classes"), None);
    assert_eq!(Size::of(&classifier().unwrap(), None).channels, 8 + 16 + 16 + 12 + 24);
}

/// An output that other convolutions read, and one that is a sum.
#[test]
fn channels_of_outputs_stay() {
    let mut lowering = Lowering::new(3);
    let a = lowering.conv("a", &ConvSpec::new(3, 4, 3, 1), 0).unwrap();
    lowering.output(a);
    let b = lowering.conv("b", &ConvSpec::new(4, 6, 1, 1), a).unwrap();
    let c = lowering.bare_conv("c", &ConvSpec::new(6, 6, 1, 1), b).unwrap();
    let sum = lowering.add([b, c]).unwrap();
    lowering.output(sum);
    let d = lowering.conv("d", &ConvSpec::new(6, 9, 1, 1), sum).unwrap();
    lowering.output_conv("e", &ConvSpec::new(9, 2, 1, 1), d).unwrap();
    let layout = ProgramLayout::new(lowering.finish(), [8, 8]);
    let coupling = Coupling::of(&layout);
    let fixed: Vec<(&str, bool)> =
        coupling.groups.iter().map(|group| (group.name.as_str(), group.fixed.is_some())).collect();
    assert_eq!(fixed, [("a", true), ("b", true), ("d", false)]);
    let model = ProgramModel::random(layout.clone(), &mut StdRng::seed_from_u64(3)).unwrap();
    let mut plan = ChannelPlan::identity(&layout);
    plan.groups[2].kept.truncate(5);
    assert_eq!(remove(&model, &plan).unwrap().layout.convs()[3].spec.out_channels, 5);
    plan.groups[0].kept.truncate(2);
    let error = remove(&model, &plan).unwrap_err().to_string();
    assert_eq!(error, "a: its channels have to stay as they are: the network returns its channels");
}

/// A removed channel does what one with scale and shift at zero does, since SiLU(0) is 0.
#[test]
fn removing_channels_equals_zeroing_them() {
    let dense = random(4);
    let mut plan = ChannelPlan::identity(&dense.layout);
    let (mut zeroed, gone) = (dense.clone(), [3, 0, 7, 11]);
    for (group, channel) in plan.groups.iter_mut().zip(gone) {
        group.kept.retain(|kept| *kept != channel);
    }
    let coupling = Coupling::of(&dense.layout);
    for (group, channel) in coupling.groups.iter().zip(gone) {
        for conv in &group.producers {
            let (row, vectors) = match conv.is_bare {
                true => (conv.weight_count() / conv.spec.out_channels, vec![conv.weight(), conv.bias()]),
                false => (1, vec![conv.bn("weight"), conv.bn("bias")]),
            };
            for (name, row) in vectors.iter().zip([row, 1]) {
                let values = zeroed.weights.get_mut(name).unwrap().f32s_mut().unwrap();
                values[channel * row..(channel + 1) * row].fill(0.0);
            }
        }
    }
    let smaller = remove(&dense, &plan).unwrap();
    assert_eq!(plan.predict(&dense.layout).unwrap(), Size::of(&smaller.layout, None));
    let batch = images(3, 5);
    for (a, b) in logits(&smaller, &batch).iter().zip(logits(&zeroed, &batch)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn half_of_the_weights_and_half_of_the_operations_go() {
    let dense = random(6);
    let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.5)).unwrap();
    let pruned = apply(&dense, &plan).unwrap();
    let sparsity = Sparsity::of(&pruned).unwrap();
    assert_eq!(sparsity.conv_zeros, (sparsity.conv_weights as f64 * 0.5).round_ties_even() as usize);
    assert!(pruned.pruning.is_some());
    let scores = ChannelScores::l1(&dense, false).unwrap().normalised();
    let options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.5));
    let plan = select(&dense.layout, &scores, &options, None).unwrap();
    let smaller = remove(&dense, &plan).unwrap();
    let size = Size::of(&smaller.layout, None);
    assert_eq!(size, plan.choice.unwrap().after);
    assert!(size.gflops <= 0.5 * dense.layout.gflops(), "{size:?}");
    assert!(logits(&smaller, &images(2, 9)).iter().all(|logit| logit.is_finite()));
}

/// The program of a detector loses the same weights as the detector.
#[test]
fn a_detectors_program_is_pruned_like_the_detector() {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let detector = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(10)).unwrap();
    let layout = ProgramLayout::new(detector.architecture.program(), [640, 640]);
    let mut weights = StateDict::default();
    for (name, tensor) in detector.weights.iter().filter(|(name, _)| !name.ends_with(".anchors")) {
        weights.insert(name, tensor.clone());
    }
    let program = ProgramModel::new(layout, weights).unwrap();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * b, "{a} {b}");
    close(program.layout.gflops(), detector.architecture.gflops());
    assert_eq!(program.layout.n_parameters(), detector.architecture.n_parameters());
    for method in [Method::Layer, Method::Lamp, Method::Erk, Method::Flops] {
        let options = PruneOptions::new(method, 0.4);
        let by_tensor = |plan: PrunePlan| -> HashMap<_, _> {
            plan.masks.into_iter().map(|layer| (layer.tensor, layer.mask)).collect()
        };
        let [a, b] =
            [plan(&detector, &options), plan(&program, &options)].map(|plan| by_tensor(plan.unwrap()));
        for (name, mask) in &a {
            // The order of convolutions, which differs, decides where the last weights go.
            let differ = mask.to_bools().iter().zip(b[name].to_bools()).filter(|(a, b)| *a != b).count();
            assert!(differ <= 4, "{method:?} of {name}: {differ}");
        }
    }
}

/// Everything that looks at images, against the classifier's own answers.
#[test]
fn images_decide_what_a_classifier_loses() {
    let dense = random(11);
    let total = Sparsity::of(&dense).unwrap().conv_weights;
    let methods = [Method::Wanda, Method::Snip, Method::Taylor, Method::Sensitivity, Method::Reconstruction];
    for method in methods {
        for answers in [Answers::OneOf, Answers::YesNo] {
            let dense = ProgramModel { answers, ..dense.clone() };
            let options = PruneOptions::new(method, 0.5);
            let plan = with_calibration(8, |calibration| plan_calibrated(&dense, &options, calibration));
            let plan = plan.unwrap();
            let pruned = apply(&dense, &plan).unwrap();
            assert_eq!(Sparsity::of(&pruned).unwrap().conv_zeros, plan.pruned());
            assert!(plan.pruned().abs_diff(total / 2) <= 6, "{method:?}: {} of {total}", plan.pruned());
            assert!(logits(&pruned, &images(2, 12)).iter().all(|logit| logit.is_finite()), "{method:?}");
        }
    }
}

#[test]
fn channels_of_a_classifier_are_measured_on_images() {
    let dense = random(13);
    let scores = with_calibration(8, |calibration| taylor_scores(&dense, calibration)).unwrap();
    let options = ChannelOptions::new(Target::less(Quantity::Parameters, 0.5));
    let plan = select(&dense.layout, &scores.normalised(), &options, None).unwrap();
    let statistics =
        with_calibration(8, |calibration| ChannelStatistics::measure(&dense, calibration)).unwrap();
    let error = ChannelScores::bn_scale(&dense).unwrap_err().to_string();
    assert!(error.starts_with("gate: it has no batch normalisation"), "{error}");
    assert!(!Slimming::new(&dense, 0.9, &[]).unwrap().tensors().any(|name| name.starts_with("gate")));
    let smaller = remove(&compensate(&dense, &plan, &statistics.means).unwrap(), &plan).unwrap();
    let device = Device::flex().autodiff();
    let batches = CalibrationImages::new([images(8, 14)]).unwrap();
    let tensors = batches.tensors(&device).map(Ok::<_, PruneError>);
    let renewed = reestimate_batch_norm(&smaller, tensors, &device).unwrap();
    assert_ne!(renewed.weights.get("stem.bn.running_mean"), smaller.weights.get("stem.bn.running_mean"));
    assert_eq!(renewed.weights.get("stem.conv.weight"), smaller.weights.get("stem.conv.weight"));
}

#[test]
fn images_of_other_channels_are_refused() {
    let dense = random(15);
    let grey = ImageBatch { pixels: vec![9; 256], n: 1, height: 16, width: 16 };
    let images = CalibrationImages::new([grey]).unwrap();
    let device = Device::flex();
    for method in [Method::Wanda, Method::Snip] {
        let mut progress = |_: &'static str, _, _| {};
        let mut calibration = Calibration::new(&images, &device, &mut progress);
        let error = plan_calibrated(&dense, &PruneOptions::new(method, 0.5), &mut calibration).unwrap_err();
        assert_eq!(error.to_string(), "calibration: the images have 1 channels but the network reads 3");
    }
}
