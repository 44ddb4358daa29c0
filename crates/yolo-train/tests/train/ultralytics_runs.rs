//! Whole runs of a small network with two sets of branches: the same numbers after interruptions, zeros that stay zero, and a loss
//! that falls.

use rand::SeedableRng;
use yolo_model::{Architecture, Checkpoint, LossTerm};
use yolo_prune::{Method, PruneOptions, Rank, Sparsity, apply, plan};
use yolo_train::distill::DistillationOptions;
use yolo_train::masks::Masks;
use yolo_train::optimizer::Rule;
use yolo_train::train::{Outcome, Setup, TrainOptions, TrainState, train};

use crate::example::{Example, StopAfter, assert_same, options, to_the_end};

const YAML: &str = "
nc: 5
end2end: True
reg_max: 1
depth_multiple: 1.0
width_multiple: 1.0
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3k2, [16, True]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, C2PSA, [64]]
head:
  - [[3, 4, 6], 1, Detect, [nc]]
";

fn network(seed: u64) -> Checkpoint {
    let architecture = Architecture::from_yaml(YAML, None).unwrap();
    Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap()
}

fn family_options(rule: Rule) -> TrainOptions {
    let mut options = TrainOptions { rule, ..options() };
    options.hyp = options.hyp.with_gains_of(yolo_model::Family::Ultralytics);
    options.hyp.close_mosaic = 1;
    options
}

#[test]
fn an_interrupted_run_ends_with_the_numbers_of_one_that_was_not() {
    let example = Example::new();
    for rule in [Rule::MuSgd, Rule::AdamW] {
        let options = family_options(rule);
        let setup = example.setup(&options);
        let start = || TrainState::new(network(0), Masks::default(), rule).unwrap();
        let mut whole = start();
        assert_eq!(train(&mut whole, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.safetensors");
        let mut resumed = start();
        // In the middle of the second epoch, whose branches have other weights than the first.
        assert_eq!(train(&mut resumed, &setup, &mut StopAfter { batches: 7 }).unwrap(), Outcome::Stopped);
        resumed.save(&file).unwrap();
        let mut resumed = TrainState::load(&file).unwrap();
        assert_eq!(train(&mut resumed, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
        assert_same(&resumed, &whole);
        let record = whole.progress.history.last().unwrap();
        assert!(record.train.get(LossTerm::Distribution).unwrap() > 0.0);
        assert!(record.train.get(LossTerm::Objectness).is_none());
        assert!(record.validation.as_ref().unwrap().loss.get(LossTerm::Class).unwrap() > 0.0);
    }
}

#[test]
fn zeros_stay_zero_under_musgd_with_a_teacher() {
    let example = Example::new();
    let dense = network(0);
    let prune = PruneOptions { rank: Rank::Stored, ..PruneOptions::new(Method::Global, 0.5) };
    let plan = plan(&dense, &prune).unwrap();
    let pruned = apply(&dense, &plan).unwrap();
    let count = Sparsity::of(&pruned).unwrap().conv_zeros;
    let distillation = Some(DistillationOptions::default());
    let options = TrainOptions { distillation, ..family_options(Rule::MuSgd) };
    let setup = Setup { teacher: Some(&dense), ..example.setup(&options) };
    let mut state = TrainState::new(pruned.clone(), Masks::of(&plan), Rule::MuSgd).unwrap();
    train(&mut state, &setup, &mut to_the_end()).unwrap();
    for checkpoint in [&state.checkpoint, &state.averaged()] {
        assert_eq!(Sparsity::of(checkpoint).unwrap().conv_zeros, count);
    }
    assert!(state.progress.history[0].distillation > 0.0);
    let moved = |name: &str| state.checkpoint.weights.get(name) != pruned.weights.get(name);
    assert!(moved("model.0.conv.weight") && moved("model.7.one2one_cv3.0.2.weight"));
}

#[test]
fn the_loss_falls_with_the_automatic_rule() {
    let example = Example::new();
    let mut options = TrainOptions { epochs: 6, nominal_batch_size: 4, ..family_options(Rule::Sgd) };
    options.hyp.close_mosaic = 6;
    let mut options = options.with_automatic_rule(example.train.items.len(), 5);
    options.validate_every_epoch = false;
    assert_eq!((options.rule, options.hyp.lr0), (Rule::AdamW, 0.001_111));
    let mut state = TrainState::new(network(1), Masks::default(), options.rule).unwrap();
    train(&mut state, &example.setup(&options), &mut to_the_end()).unwrap();
    let loss = |epoch: usize| state.progress.history[epoch].train.total();
    assert!(loss(5) < loss(0), "{} after {}", loss(5), loss(0));
}
