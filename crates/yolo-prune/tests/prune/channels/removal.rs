//! Removal: the smaller network computes what the dense one does without those channels.

use burn::tensor::Device;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::Yolo;
use yolo_prune::channels::{ChannelPlan, Coupling, KeptChannels, remove};
use yolo_prune::{Method, PruneError, PruneOptions, Sparsity, apply, plan};

use super::networks::{difference, image, logits, random, released, tiny_architecture, yolov5n};

/// Issue 4: equal within this, before compensation.
const TOLERANCE: f32 = 1e-4;

/// A plan that keeps a random part of every group, in random order where `shuffle` says so.
fn random_plan(architecture: &Architecture, seed: u64, shuffle: bool) -> ChannelPlan {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut plan = ChannelPlan::identity(architecture);
    for group in &mut plan.groups {
        let keep = rng.random_range(1..=group.width);
        group.kept.shuffle(&mut rng);
        group.kept.truncate(keep);
        if !shuffle {
            group.kept.sort_unstable();
        }
    }
    plan
}

/// The dense network whose channels that the plan removes are exactly zero behind the activation: their rows,
/// biases, and scale and shift of batch normalisation are zero, and SiLU(0) = 0.
fn masked(checkpoint: &Checkpoint, plan: &ChannelPlan) -> Checkpoint {
    let mut masked = checkpoint.clone();
    let coupling = Coupling::of(&checkpoint.architecture);
    for KeptChannels { group, width, kept } in &plan.groups {
        let group = coupling.groups.iter().find(|g| g.name == *group).unwrap();
        for conv in &group.producers {
            let vectors = match checkpoint.architecture.fused {
                true => vec![conv.bias()],
                false => vec![conv.bn("weight"), conv.bn("bias")],
            };
            for name in vectors.into_iter().chain([conv.weight()]) {
                let values = masked.weights.get_mut(&name).unwrap().f32s_mut().unwrap();
                let row = values.len() / width;
                for channel in (0..*width).filter(|channel| !kept.contains(channel)) {
                    values[channel * row..(channel + 1) * row].fill(0.0);
                }
            }
        }
    }
    masked
}

fn assert_equals_masked(dense: &Checkpoint, plan: &ChannelPlan, side: usize) -> Checkpoint {
    let smaller = remove(dense, plan).unwrap();
    let images = image(side, 3);
    let expected = logits(&masked(dense, plan), &images);
    let worst = difference(&logits(&smaller, &images), &expected);
    assert!(worst <= TOLERANCE, "{worst}");
    // The channels mattered, so the comparison can fail.
    assert!(difference(&logits(dense, &images), &expected) > 10.0 * TOLERANCE);
    smaller
}

#[test]
fn the_smaller_network_equals_the_masked_one() {
    for dense in [yolov5n(), random(Architecture::variant("yolov5n6", Some(2)).unwrap(), 4)] {
        for checkpoint in [dense.fuse().unwrap().into_checkpoint(), dense] {
            let plan = random_plan(&checkpoint.architecture, 5, true);
            assert_equals_masked(&checkpoint, &plan, 128);
        }
    }
    if let Some(released) = released() {
        // A little of every group, so that something is left to compare.
        let mut plan = ChannelPlan::identity(&released.architecture);
        plan.groups.iter_mut().for_each(|group| group.kept.retain(|channel| channel % 8 != 5));
        for checkpoint in [released.fuse().unwrap().into_checkpoint(), released] {
            assert_equals_masked(&checkpoint, &plan, 128);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_plan_of_a_small_network(seed in any::<u64>(), fused in any::<bool>(), shuffle in any::<bool>()) {
        let dense = random(tiny_architecture(), 2);
        let dense = if fused { dense.fuse().unwrap().into_checkpoint() } else { dense };
        let plan = random_plan(&dense.architecture, seed, shuffle);
        prop_assume!(plan.removed() > 0);
        let smaller = assert_equals_masked(&dense, &plan, 32);
        let size = plan.predict(&dense.architecture).unwrap();
        prop_assert_eq!(Sparsity::of(&smaller).unwrap().parameters, size.parameters);
    }
}

/// Parameters from the tensors, operations from the shapes of the weights and the sizes of the maps.
#[test]
fn sizes_are_exactly_those_predicted() {
    for dense in [yolov5n().fuse().unwrap().into_checkpoint(), yolov5n()] {
        let plan = random_plan(&dense.architecture, 6, false);
        let predicted = plan.predict(&dense.architecture).unwrap();
        let smaller = remove(&dense, &plan).unwrap();
        assert_eq!(Sparsity::of(&smaller).unwrap().parameters, predicted.parameters);
        assert_eq!(smaller.architecture.summary().gflops, predicted.gflops);
        let program = smaller.architecture.program();
        let sizes = program.sizes([640, 640]);
        let mut multiply_adds = 0;
        let mut channels = 0;
        for (index, conv) in program.convs() {
            let shape = &smaller.weights.require(&conv.weight()).unwrap().shape;
            let [height, width] = sizes[index + 1];
            let norm = if conv.is_bare || dense.architecture.fused { 0 } else { 4 * shape[0] };
            multiply_adds += (shape.iter().product::<usize>() + norm) * height * width;
            channels += if conv.is_bare { 0 } else { shape[0] };
        }
        // Enlargements count one per element in the reference's account.
        for (index, operation) in program.operations.iter().enumerate() {
            if matches!(operation.kind, yolo_model::program::OperationKind::Upsample { .. }) {
                multiply_adds += program.channels[index + 1] * sizes[index + 1].iter().product::<usize>();
            }
        }
        let gflops = 2.0 * multiply_adds as f64 / 1e9;
        assert!((gflops - predicted.gflops).abs() < 1e-9, "{gflops} {}", predicted.gflops);
        assert_eq!(channels, predicted.channels);
    }
}

#[test]
fn the_identity_changes_no_bit_and_a_permutation_no_output() {
    for dense in [yolov5n().fuse().unwrap().into_checkpoint(), yolov5n()] {
        let same = remove(&dense, &ChannelPlan::identity(&dense.architecture)).unwrap();
        assert_eq!((&same.architecture, &same.pruning), (&dense.architecture, &None));
        assert!(same.weights.names().eq(dense.weights.names()));
        for ((name, a), (_, b)) in same.weights.iter().zip(dense.weights.iter()) {
            assert_eq!(a, b, "{name}");
        }
        let empty = remove(&dense, &ChannelPlan { choice: None, groups: Vec::new() }).unwrap();
        assert_eq!(empty.weights, dense.weights);

        let mut rng = StdRng::seed_from_u64(8);
        let mut permutation = ChannelPlan::identity(&dense.architecture);
        permutation.groups.iter_mut().for_each(|group| group.kept.shuffle(&mut rng));
        let permuted = remove(&dense, &permutation).unwrap();
        assert_eq!(permuted.architecture, dense.architecture);
        assert_ne!(permuted.weights, dense.weights);
        let images = image(64, 9);
        assert!(difference(&logits(&permuted, &images), &logits(&dense, &images)) < 1e-5);
    }
}

/// Two rounds do what their composition does; zeros of an earlier pruning stay zeros.
#[test]
fn pruned_networks_can_be_pruned_again() {
    let dense = yolov5n();
    let sparse = apply(&dense, &plan(&dense, &PruneOptions::new(Method::Layer, 0.5)).unwrap()).unwrap();
    let first = random_plan(&sparse.architecture, 10, true);
    let once = remove(&sparse, &first).unwrap();
    let second = random_plan(&once.architecture, 11, true);
    let twice = remove(&once, &second).unwrap();
    let both = first.then(&second).unwrap();
    let at_once = remove(&sparse, &both).unwrap();
    assert_eq!(twice.architecture, at_once.architecture);
    assert_eq!(twice.weights, at_once.weights);
    assert!(Sparsity::of(&once).unwrap().conv_sparsity() > 0.3);
    // The record knows all three.
    let record = serde_json::to_value(twice.pruning.as_ref().unwrap()).unwrap();
    assert_eq!(record["method"], "channels");
    assert_eq!(record["previous"]["method"], "channels");
    assert_eq!(record["previous"]["previous"]["method"], "layer");
    assert_eq!(record["parameters"][1], Sparsity::of(&twice).unwrap().parameters);
    assert_eq!(record["widths"]["model.0"][1], second.groups[0].kept.len());
    assert!(second.then(&first).is_err());
    // What removes nothing leaves the record.
    let same = remove(&twice, &ChannelPlan::identity(&twice.architecture)).unwrap();
    assert_eq!(same.pruning, twice.pruning);
}

/// Files, yaml, fusing and the plan itself survive.
#[test]
fn the_smaller_network_is_an_ordinary_one() {
    let dense = yolov5n();
    let plan = random_plan(&dense.architecture, 12, false);
    let smaller = remove(&dense, &plan).unwrap();
    let images = image(64, 13);
    let expected = logits(&smaller, &images);
    assert!(difference(&logits(&smaller.fuse().unwrap(), &images), &expected) <= TOLERANCE);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smaller.safetensors");
    smaller.save(&path, FloatFormat::F32).unwrap();
    let read = Checkpoint::load(&path).unwrap();
    assert_eq!((&read.architecture, &read.pruning), (&smaller.architecture, &smaller.pruning));
    assert_eq!(read.weights, smaller.weights);
    let yaml = smaller.architecture.to_yaml().unwrap();
    assert_eq!(Architecture::from_yaml(&yaml, None).unwrap(), smaller.architecture);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<ChannelPlan>(&json).unwrap(), plan);
}

/// Every parameter of the smaller network gets a gradient of its own shape.
#[test]
fn the_smaller_network_trains() {
    let dense = random(tiny_architecture(), 14);
    let smaller = remove(&dense, &random_plan(&dense.architecture, 15, false)).unwrap();
    let device = Device::flex().autodiff();
    let network = Yolo::from_checkpoint(&smaller, &device).unwrap();
    let images = burn::tensor::Tensor::from_data(image(32, 16).into_data(), &device);
    let loss = network.forward(images).into_iter().map(|map| map.powi_scalar(2).mean());
    let gradients = loss.reduce(|a, b| a + b).unwrap().backward();
    let found = network.gradients(&gradients).unwrap();
    let parameters: Vec<_> =
        smaller.architecture.tensors().into_iter().filter(|tensor| tensor.is_parameter).collect();
    assert_eq!(found.len(), parameters.len());
    for (name, gradient) in found {
        let spec = parameters.iter().find(|spec| spec.name == name).unwrap();
        assert_eq!(gradient.len(), spec.shape.iter().product::<usize>(), "{name}");
        assert!(gradient.iter().all(|value| value.is_finite()), "{name}");
    }
}

#[test]
fn plans_of_other_networks_and_invalid_plans_are_refused() {
    let dense = random(tiny_architecture(), 17);
    let identity = ChannelPlan::identity(&dense.architecture);
    let error = |edit: &dyn Fn(&mut ChannelPlan)| {
        let mut plan = identity.clone();
        edit(&mut plan);
        let error = remove(&dense, &plan).unwrap_err();
        assert!(matches!(error, PruneError::ChannelPlan { .. }), "{error}");
        assert_eq!(plan.predict(&dense.architecture).unwrap_err().to_string(), error.to_string());
        error.to_string()
    };
    type Edit<'a> = &'a dyn Fn(&mut ChannelPlan);
    let cases: [(Edit, &str); 6] = [
        (&|plan| plan.groups[0].kept.clear(), "model.0: the plan leaves no channel"),
        (&|plan| plan.groups[0].kept[1] = 0, "model.0: the plan keeps channel 0 twice"),
        (&|plan| plan.groups[0].kept[1] = 8, "model.0: the plan keeps channel 8, but the last is 7"),
        (&|plan| plan.groups[0].width = 9, "model.0: the plan was made for 9 channels but the network has 8"),
        (&|plan| plan.groups[0].group = "model.77".into(), "model.77: no group of channels"),
        (&|plan| plan.groups[1] = plan.groups[0].clone(), "model.0: the plan lists this group twice"),
    ];
    for (edit, expected) in cases {
        let message = error(edit);
        assert!(message.starts_with(expected) && !message.contains('\n'), "{message}");
    }
    let other = ChannelPlan::identity(&Architecture::variant("yolov5n", None).unwrap());
    assert!(remove(&dense, &other).is_err());
    let mut damaged = dense.clone();
    damaged.weights.remove("model.0.bn.bias");
    assert!(remove(&damaged, &identity).unwrap_err().to_string().contains("model.0.bn.bias"));
}
