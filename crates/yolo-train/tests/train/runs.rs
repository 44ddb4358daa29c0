//! Whole runs on a tiny example: the same numbers again, after interruptions too, and zeros that stay zero.

use yolo_model::Checkpoint;
use yolo_prune::channels::SMALL_SCALE;
use yolo_prune::{Method, PruneOptions, Rank, Sparsity, apply, plan};
use yolo_train::masks::Masks;
use yolo_train::optimizer::Rule;
use yolo_train::slim::SlimOptions;
use yolo_train::train::{Outcome, RunFolder, Setup, TrainOptions, TrainState, half_precision, train};

use crate::example::{Example, StopAfter, assert_same, network, options, to_the_end};

fn state(masks: Masks, rule: Rule) -> TrainState {
    TrainState::new(network(), masks, rule).unwrap()
}

#[test]
fn an_interrupted_run_ends_with_the_numbers_of_one_that_was_not() {
    let example = Example::new();
    for (rule, options) in [
        (Rule::Sgd, TrainOptions { multi_scale: true, ..options() }),
        (
            Rule::AdamW,
            TrainOptions { rule: Rule::AdamW, auto_balance: true, image_weights: true, ..options() },
        ),
        (Rule::Sgd, TrainOptions { slim: Some(SlimOptions::new(0.5)), ..options() }),
    ] {
        let mut whole = state(Masks::default(), rule);
        let setup = example.setup(&options);
        assert_eq!(train(&mut whole, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
        assert_eq!((whole.progress.history.len(), whole.progress.batches_seen), (2, 10));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.safetensors");
        let mut resumed = state(Masks::default(), rule);
        // In the middle of each epoch; both times gradients wait for their step.
        for batches in [2, 5] {
            let outcome = train(&mut resumed, &setup, &mut StopAfter { batches }).unwrap();
            assert_eq!(outcome, Outcome::Stopped);
            assert!(!resumed.pending.is_empty());
            resumed.save(&file).unwrap();
            let loaded = TrainState::load(&file).unwrap();
            assert_same(&loaded, &resumed);
            resumed = loaded;
        }
        assert_eq!(train(&mut resumed, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
        assert_same(&resumed, &whole);
    }
}

#[test]
fn a_run_whose_epochs_are_single_batches_can_be_stopped() {
    let example = Example::new();
    let options = TrainOptions { epochs: 4, batch_size: 20, ..options() };
    let mut stopped = state(Masks::default(), Rule::Sgd);
    let setup = example.setup(&options);
    assert_eq!(train(&mut stopped, &setup, &mut StopAfter { batches: 2 }).unwrap(), Outcome::Stopped);
    assert_eq!((stopped.progress.epoch, stopped.progress.batches_seen), (2, 2));
    assert_eq!(train(&mut stopped, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
    assert_eq!(stopped.progress.history.len(), 4);
}

#[test]
fn zeros_stay_zero_in_everything_that_training_leaves() {
    let example = Example::new();
    let dense = network();
    let prune = PruneOptions { rank: Rank::Stored, ..PruneOptions::new(Method::Global, 0.5) };
    let plan = plan(&dense, &prune).unwrap();
    let pruned = apply(&dense, &plan).unwrap();
    let count = Sparsity::of(&pruned).unwrap().conv_zeros;
    assert_eq!(count, plan.pruned());

    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    let options = options();
    let setup = Setup { folder: Some(&run), ..example.setup(&options) };
    let mut state = TrainState::new(pruned, Masks::of(&plan), Rule::Sgd).unwrap();
    train(&mut state, &setup, &mut to_the_end()).unwrap();

    let zeros = |checkpoint: &Checkpoint| Sparsity::of(checkpoint).unwrap().conv_zeros;
    let best = Checkpoint::load(&run.best()).unwrap();
    let resumed = TrainState::load(&run.state()).unwrap();
    let stages = [
        ("the weights", state.checkpoint.clone()),
        ("their average", state.averaged()),
        ("half precision", half_precision(&state.averaged(), &state.masks).unwrap()),
        ("fused", best.fuse().unwrap().into_checkpoint()),
        ("the file", best),
        ("resumed", resumed.checkpoint),
    ];
    for (what, checkpoint) in stages {
        assert_eq!(zeros(&checkpoint), count, "{what}");
        plan.check(&checkpoint).unwrap();
    }
    assert_ne!(state.checkpoint.weights, dense.weights, "the others moved");
}

#[test]
fn slimming_brings_scales_to_zero_and_spares_what_it_has_to() {
    let example = Example::new();
    let slim = SlimOptions { max_fraction: 0.75, tolerance: 0.99, ..SlimOptions::new(0.5) };
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    for (rule, lr0) in [(Rule::Sgd, 0.02), (Rule::AdamW, 0.002)] {
        let mut options =
            TrainOptions { epochs: 6, freeze: vec![0, 12], slim: Some(slim.clone()), rule, ..options() };
        (options.hyp.lr0, options.hyp.warmup_epochs) = (lr0, 0.0);
        let setup = Setup { folder: Some(&run), ..example.setup(&options) };
        let mut state = state(Masks::default(), rule);
        train(&mut state, &setup, &mut to_the_end()).unwrap();
        let history = &state.progress.history;
        let (first, last) = (history[0].slim.unwrap(), history[5].slim.unwrap());
        assert!(first.quantile > 0.2 && first.small < 0.5, "{first:?}");
        assert!(last.quantile <= SMALL_SCALE && last.small >= 0.5, "{last:?}");
        let best = state.progress.best.unwrap().epoch.unwrap();
        assert!(history[best].slim.unwrap().quantile <= SMALL_SCALE, "the best network is a slim one");

        let (mut n_small, mut n_scales) = (0, 0);
        for (name, tensor) in state.checkpoint.weights.iter().filter(|(name, _)| name.ends_with("bn.weight"))
        {
            let scales = tensor.f32s().unwrap();
            // They were 1 at the start.
            let small = scales.iter().filter(|scale| f64::from(scale.abs()) < SMALL_SCALE).count();
            (n_small, n_scales) = (n_small + small, n_scales + scales.len());
            assert!(small * 4 <= scales.len() * 3, "{name}: a quarter stays");
            assert!(small == 0 || !name.starts_with("model.0."), "{name} is frozen");
        }
        assert!(n_small * 5 > n_scales * 2, "{n_small} of {n_scales} scales are small");
    }
}

#[test]
fn frozen_layers_keep_their_weights_and_others_do_not() {
    let example = Example::new();
    let options = TrainOptions { epochs: 1, freeze: vec![0, 1, 2], ..options() };
    let before = network();
    let mut state = state(Masks::default(), Rule::Sgd);
    train(&mut state, &example.setup(&options), &mut to_the_end()).unwrap();
    for (name, tensor) in state.checkpoint.weights.iter() {
        let same = before.weights.get(name) == Some(tensor);
        let layer: usize = name.split('.').nth(1).unwrap().parse().unwrap();
        if name.contains("running_") {
            assert!(!same, "{name}: statistics move everywhere");
        } else if name.ends_with("conv.weight") {
            assert_eq!(same, layer < 3, "{name}");
        }
    }
}

#[test]
fn frozen_statistics_stay() {
    let example = Example::new();
    let options = TrainOptions { epochs: 1, freeze_batch_norm: true, ..options() };
    let before = network();
    let mut state = state(Masks::default(), Rule::Sgd);
    train(&mut state, &example.setup(&options), &mut to_the_end()).unwrap();
    for (name, tensor) in state.checkpoint.weights.iter().filter(|(name, _)| name.contains("running_")) {
        assert_eq!(before.weights.get(name), Some(tensor), "{name}");
    }
}

#[test]
fn patience_ends_a_run_that_does_not_get_better() {
    let example = Example::new();
    let mut options = TrainOptions { epochs: 9, patience: 2, ..options() };
    options.hyp.lr0 = 0.0;
    options.rect = true;
    let mut state = state(Masks::default(), Rule::Sgd);
    // A result that nothing reaches.
    state.progress.best = Some(yolo_train::train::Best { epoch: None, fitness: 2.0 });
    assert_eq!(train(&mut state, &example.setup(&options), &mut to_the_end()).unwrap(), Outcome::EarlyStop);
    assert_eq!(state.progress.history.len(), 3);
}

#[test]
fn what_does_not_fit_is_said_before_the_first_batch() {
    let example = Example::new();
    let fails = |options: &TrainOptions, checkpoint: Checkpoint| {
        let mut state = TrainState::new(checkpoint, Masks::default(), Rule::Sgd).unwrap();
        train(&mut state, &example.setup(options), &mut to_the_end()).unwrap_err().to_string()
    };
    let options = options();
    assert!(fails(&options, network().into_fused().unwrap().into_checkpoint()).contains("fused"));
    let size = TrainOptions { image_size: 72, ..options.clone() };
    assert!(fails(&size, network()).contains("72"));
    let freeze = TrainOptions { freeze: vec![25], ..options.clone() };
    assert!(fails(&freeze, network()).contains("layers 0 to 24"));
    let taught = TrainOptions { distillation: Some(Default::default()), ..options };
    assert!(fails(&taught, network()).contains("teacher"));
}
