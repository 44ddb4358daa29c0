//! The loss of heads without anchors on maps as an untrained network has them (boxes inside out, scores near the priors), against
//! another implementation of the specification: `tests/fixtures/losses/make.py`, in double precision with PyTorch's gradients.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::LossTerm;
use yolo_model::weights::{StateDict, read_safetensors};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::{AnchorFreeLoss, AnchorFreeShape, BranchWeights, TrainedBranches};

const STRIDES: [usize; 3] = [8, 16, 32];
/// Of a loss, relative.
const LOSS: f64 = 1e-5;
/// Of an element of the gradient, relative to the largest.
const GRADIENT: f64 = 1e-5;

fn host(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

fn read(tensors: &StateDict, name: &str, device: &Device) -> Tensor<4> {
    let tensor = tensors.require(name).unwrap();
    Tensor::from_data(TensorData::new(tensor.f32s().unwrap().to_vec(), tensor.shape.clone()), device)
}

fn assert_equals(file: &str, reg_max: usize, branches: TrainedBranches) {
    let path = format!("{}/../../tests/fixtures/losses/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (tensors, _) = read_safetensors(path).unwrap();
    let target = |row: &[f32]| Target {
        image: row[0] as usize,
        class: row[1] as u32,
        bbox_norm: Cxcywh { cx: row[2], cy: row[3], w: row[4], h: row[5] },
    };
    let targets: Vec<Target> = tensors.f32s("labels").unwrap().chunks_exact(6).map(target).collect();
    let sets = if branches == TrainedBranches::Both { 2 } else { 1 };
    let names: Vec<String> =
        (0..sets).flat_map(|set| (0..STRIDES.len()).map(move |level| format!("{set}.{level}"))).collect();
    let device = Device::flex().autodiff();
    let map = |name: &String| read(&tensors, &format!("map.{name}"), &device).require_grad();
    let maps: Vec<Tensor<4>> = names.iter().map(map).collect();

    let gains = Hyperparameters::default().with_gains_of(yolo_model::Family::Ultralytics);
    let shape = AnchorFreeShape { num_classes: 5, reg_max, strides: STRIDES.to_vec(), branches };
    let mut loss = AnchorFreeLoss::new(shape, &gains.unscaled_loss_options());
    loss.set_weights(BranchWeights::at(3, 19));
    let loss = loss.forward(&maps, &targets).unwrap();

    let items = tensors.f32s("items").unwrap();
    for (term, &expected) in [LossTerm::Box, LossTerm::Class, LossTerm::Distribution].into_iter().zip(items) {
        let got = loss.terms.get(term).unwrap();
        assert!((got / f64::from(expected) - 1.0).abs() < LOSS, "{file}, {term:?}: {got}, not {expected}");
    }
    let gradients = loss.total.backward();
    for (map, name) in maps.iter().zip(&names) {
        let got = host(map.grad(&gradients).unwrap());
        let expected = host(read(&tensors, &format!("gradient.{name}"), &Device::flex()));
        let largest = expected.iter().fold(0.0_f32, |largest, g| largest.max(g.abs()));
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = f64::from((got - expected).abs());
            assert!(
                error <= GRADIENT * f64::from(largest),
                "{file}, map {name}[{at}]: {got}, not {expected}"
            );
        }
    }
}

#[test]
fn losses_and_gradients_of_sixteen_bins() {
    assert_equals("single-16", 16, TrainedBranches::OneToMany);
}

#[test]
fn losses_and_gradients_of_two_sets_of_branches() {
    assert_equals("both-1", 1, TrainedBranches::Both);
}
