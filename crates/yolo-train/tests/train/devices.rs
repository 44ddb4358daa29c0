//! Runs on several devices, which are the same processor here.

use burn::tensor::Device;
use yolo_prune::{Method, PruneOptions, Sparsity, apply, plan};
use yolo_train::masks::Masks;
use yolo_train::optimizer::Rule;
use yolo_train::train::{Outcome, Setup, TrainOptions, TrainState, train};

use crate::example::{Example, StopAfter, assert_same, network, options, to_the_end};

#[test]
fn a_run_on_several_devices_keeps_its_zeros_and_can_be_interrupted() {
    let example = Example::new();
    let others = [Device::flex(), Device::flex()];
    // Seven batches: six of three images, one for each device, and a last one of two.
    let options = TrainOptions { batch_size: 3, auto_balance: true, ..options() };
    let setup = Setup { other_devices: &others, ..example.setup(&options) };
    let dense = network();
    let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.5)).unwrap();
    let start = || TrainState::new(apply(&dense, &plan).unwrap(), Masks::of(&plan), Rule::Sgd).unwrap();

    let mut whole = start();
    assert_eq!(train(&mut whole, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
    assert_eq!(whole.progress.batches_seen, 14);
    assert_eq!(Sparsity::of(&whole.checkpoint).unwrap().conv_zeros, plan.pruned());
    assert_ne!(whole.checkpoint.weights, start().checkpoint.weights);

    let mut resumed = start();
    assert_eq!(train(&mut resumed, &setup, &mut StopAfter { batches: 5 }).unwrap(), Outcome::Stopped);
    assert_eq!(train(&mut resumed, &setup, &mut to_the_end()).unwrap(), Outcome::Done);
    assert_same(&resumed, &whole);

    // Another number of devices has other batch statistics, so the same run gives other numbers.
    let mut alone = start();
    train(&mut alone, &example.setup(&options), &mut to_the_end()).unwrap();
    assert_ne!(alone.checkpoint.weights, whole.checkpoint.weights);
}
