//! Fine-tuning: the better of all candidates, statistics measured anew, teachers, and rising sparsity.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::loader::{Loader, LoaderOptions};
use yolo_data::rect::{BatchOptions, plan_batches};
use yolo_detect::images;
use yolo_model::Checkpoint;
use yolo_nn::Yolo;
use yolo_prune::{PrunePlan, Sparsity, apply, plan};
use yolo_train::batch_norm::{ReestimationOptions, reestimate_batch_norm};
use yolo_train::distill::{DistillationOptions, Observed, Teacher};
use yolo_train::finetune::{Choice, Finetuned, Finetuning, finetune};
use yolo_train::masks::Masks;
use yolo_train::recipe::Recipe;
use yolo_train::train::{RunFolder, TrainOptions};

use crate::example::{Example, SIZE, network, options, to_the_end};

fn run(example: &Example, recipe: &Recipe, options: &TrainOptions, pruned_fitness: f64) -> Finetuned {
    let dense = network();
    let (pruned, plan) = prune(&dense, recipe);
    let folder = tempfile::tempdir().unwrap();
    let job = Finetuning {
        dense: &dense,
        pruned: &pruned,
        masks: &Masks::of(&plan),
        pruned_fitness,
        recipe,
        setup: example.setup(options),
        folder: &RunFolder::create(folder.path()).unwrap(),
    };
    let finetuned = finetune(&job, &mut to_the_end()).unwrap().unwrap();
    assert_eq!(Sparsity::of(&finetuned.checkpoint).unwrap().conv_zeros, plan.pruned());
    finetuned
}

/// Prunes as the recipe says; none of these looks at images.
fn prune(dense: &Checkpoint, recipe: &Recipe) -> (Checkpoint, PrunePlan) {
    let plan = plan(dense, &recipe.prune).unwrap();
    (apply(dense, &plan).unwrap(), plan)
}

#[test]
fn sparsity_rises_along_the_cubic_curve_to_the_exact_amount() {
    let example = Example::new();
    let mut recipe = Recipe::default();
    recipe.prune.gradual_epochs = 3;
    let options = TrainOptions { epochs: 4, ..options() };
    let finetuned = run(&example, &recipe, &options, 0.0);
    let weights = Sparsity::of(&network()).unwrap().conv_weights as f64;
    let pruned: Vec<usize> = finetuned.state.progress.history.iter().map(|record| record.pruned).collect();
    let share = |t: f64| 1.0 - (1.0 - t).powi(3);
    let expected =
        [1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0].map(|t| (0.5 * share(t) * weights).round_ties_even() as usize);
    assert_eq!(pruned, expected);
    // Epochs that are denser than what was asked for are no candidates.
    let choice_is_sparse = match finetuned.choice {
        Choice::Epoch(epoch) | Choice::ReestimatedEpoch(epoch) => epoch >= 2,
        Choice::Pruned | Choice::Reestimated => true,
    };
    assert!(choice_is_sparse, "{}", finetuned.choice);
}

#[test]
fn nothing_worse_than_the_pruned_network_is_kept() {
    let example = Example::new();
    let mut recipe = Recipe::default();
    recipe.finetune.distillation = None;
    let options = TrainOptions { epochs: 1, ..options() };
    // A fitness that a random network never reaches.
    let finetuned = run(&example, &recipe, &options, 1.0);
    assert_eq!(finetuned.choice, Choice::Pruned);
    let (pruned, _) = prune(&network(), &recipe);
    for (name, tensor) in finetuned.checkpoint.weights.iter() {
        let expected = pruned.weights.get(name).unwrap();
        let (Ok(got), Ok(expected)) = (tensor.f32s(), expected.f32s()) else { continue };
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * b.abs() + 1e-7;
        assert!(
            got.iter().zip(expected).all(close),
            "{name} is that of the pruned network in half precision"
        );
    }
}

#[test]
fn statistics_are_those_of_all_images_whatever_the_batches() {
    let example = Example::new();
    let checkpoint = network();
    let options = ReestimationOptions { batch_size: 8, image_size: SIZE, max_images: 12, workers: 1 };
    let renewed =
        reestimate_batch_norm(&checkpoint, &example.train, &example.device, &options, |_| {}).unwrap();
    // The first convolution sees the images themselves, so its statistics can be had directly.
    let sizes: Vec<(u32, u32)> = vec![(SIZE as u32, SIZE as u32); 12];
    let batches = BatchOptions { image_size: SIZE as u32, batch_size: 12, stride: 32, pad: 0.0, rect: false };
    let loader = LoaderOptions { image_size: SIZE as u32, ..LoaderOptions::default() };
    let mut loader = Loader::new(example.train.items.as_slice(), plan_batches(&sizes, &batches), loader);
    let batch = loader.next().unwrap().unwrap();
    let model = Yolo::from_checkpoint(&checkpoint, &example.device).unwrap();
    let first = model.network().conv("model.0").unwrap();
    let output = first.conv.forward(images(&batch.pixels, 12, SIZE, SIZE, &example.device));
    let [_, channels, height, width] = output.dims();
    let values = output.into_data().try_into_vec_as::<f32>().unwrap();
    let area = height * width;
    let mean = |channel: usize| {
        let of_image = |image: usize| {
            let start = (image * channels + channel) * area;
            values[start..start + area].iter().map(|&v| f64::from(v)).sum::<f64>()
        };
        (0..12).map(of_image).sum::<f64>() / (12 * area) as f64
    };
    let got = renewed.weights.f32s("model.0.bn.running_mean").unwrap();
    for (channel, &got) in got.iter().enumerate() {
        assert!((f64::from(got) - mean(channel)).abs() < 1e-5, "{got} {}", mean(channel));
    }
    for (name, tensor) in renewed.weights.iter() {
        let same = checkpoint.weights.get(name) == Some(tensor);
        assert_eq!(same, !name.contains(".running_"), "{name}");
    }
    let fused = checkpoint.fuse().unwrap();
    let same = reestimate_batch_norm(&fused, &example.train, &example.device, &options, |_| {}).unwrap();
    assert_eq!(same.weights, fused.weights, "nothing is left to be measured");
}

fn noise(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 3 * SIZE * SIZE).map(|i| (i as f32 * 0.37).sin() * 0.5 + 0.5).collect();
    Tensor::from_data(TensorData::new(values, [2, 3, SIZE, SIZE]), device)
}

#[test]
fn a_teacher_is_content_with_itself_only() {
    let device = Device::flex();
    let dense = network();
    let teacher = Teacher::new(&dense, DistillationOptions::default(), &device).unwrap();
    let loss = |checkpoint: &Checkpoint| {
        let model =
            Yolo::from_checkpoint(checkpoint, &device.clone().autodiff()).unwrap().freeze_batch_norm();
        let student = Observed::run(&model, Tensor::from_inner(noise(&device)), true);
        let loss = teacher.loss(noise(&device), &student).unwrap();
        let value = loss.clone().into_scalar::<f32>();
        (value, model.gradients(&loss.backward()).unwrap())
    };
    assert!(loss(&dense).0 < 1e-6);
    let (pruned, _) = prune(&dense, &Recipe::default());
    let (value, gradients) = loss(&pruned);
    assert!(value > 1e-3, "{value}");
    assert!(gradients.iter().all(|(_, gradient)| gradient.iter().all(|g| g.is_finite())));
    let head = gradients.iter().find(|(name, _)| name == "model.24.m.0.weight").unwrap();
    assert!(head.1.iter().any(|&g| g != 0.0));

    let other = dense.architecture.clone().with_num_classes(3);
    let other = Checkpoint { weights: other.initial_weights(&mut rand::rng()), architecture: other, ..dense };
    let model = Yolo::from_checkpoint(&other, &device.clone().autodiff()).unwrap();
    let student = Observed::run(&model, Tensor::from_inner(noise(&device)), false);
    let error = teacher.loss(noise(&device), &student).unwrap_err().to_string();
    assert!(error.contains("teacher"), "{error}");
}
