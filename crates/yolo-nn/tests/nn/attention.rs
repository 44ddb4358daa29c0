//! Gradients through slices, attention of several heads and detached values, against finite differences.

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::program::{AttentionOrder, AttentionSpec, Lowering, ProgramLayout, ProgramModel};
use yolo_nn::Network;

const SIZE: [usize; 2] = [3, 4];
/// Step of the differences, and what they may be off by, relative to the largest gradient: cubes of steps and rounding.
const STEP: f32 = 0.02;
const TOLERANCE: f32 = 0.01;

fn plain(channels: [usize; 2], activation: Activation) -> ConvSpec {
    ConvSpec { activation, ..ConvSpec::new(channels[0], channels[1], 1, 1) }
}

/// `concat [a, attention(qkv(b)) + v]`, and a convolution of it that does not see its gradients.
fn model(order: AttentionOrder) -> ProgramModel {
    let mut lowering = Lowering::new(2);
    let spec = AttentionSpec { heads: 2, key: 3, order };
    let split = lowering.bare_conv("split", &plain([2, 8], Activation::Silu), 0).unwrap();
    let [a, b] = [0..4, 4..8].map(|range| lowering.slice(range, split).unwrap());
    let qkv = lowering.bare_conv("qkv", &plain([4, 20], Activation::Identity), b).unwrap();
    let attended = lowering.attention(spec, qkv).unwrap();
    let values = lowering.pick(spec.value_channels(20), qkv).unwrap();
    let sum = lowering.add([attended, values]).unwrap();
    let joined = lowering.concat(&[a, sum]);
    lowering.output(joined);
    let detached = lowering.detach(joined);
    lowering.output_conv("behind", &plain([12, 3], Activation::Identity), detached).unwrap();
    let layout = ProgramLayout::new(lowering.finish(), SIZE);
    let mut model = ProgramModel::random(layout, &mut StdRng::seed_from_u64(6)).unwrap();
    // Scores that differ, so that the softmax has slopes.
    let qkv = model.weights.get_mut("qkv.weight").unwrap().f32s_mut().unwrap();
    qkv.iter_mut().for_each(|weight| *weight *= 3.0);
    model
}

fn images(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 2 * 12).map(|i| (i as f32 * 0.71).sin()).collect();
    Tensor::from_data(TensorData::new(values, [2, 2, SIZE[0], SIZE[1]]), device)
}

/// A sum of the output number `output` with other factors for all its numbers.
fn loss(network: &Network, output: usize, device: &Device) -> Tensor<1> {
    let map = network.forward(images(device)).swap_remove(output);
    let count = map.dims().iter().product::<usize>();
    let factors: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).cos()).collect();
    let factors = Tensor::from_data(TensorData::new(factors, map.dims()), device);
    (map * factors).sum()
}

fn loss_of(model: &ProgramModel, output: usize) -> f32 {
    let device = Device::flex();
    loss(&Network::of(model, &device).unwrap(), output, &device).into_scalar::<f32>()
}

#[test]
fn gradients_are_differences_and_stop_where_they_are_told_to() {
    for order in [AttentionOrder::ByHead, AttentionOrder::ByPart] {
        let model = model(order);
        let device = Device::flex().autodiff();
        let network = Network::of(&model, &device).unwrap();
        let gradients = network.gradients(&loss(&network, 0, &device).backward()).unwrap();
        for name in ["split.weight", "qkv.weight", "qkv.bias"] {
            let (_, gradient) = gradients.iter().find(|(found, _)| found == name).unwrap();
            let scale = gradient.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
            for at in (0..gradient.len()).step_by(3) {
                let moved = |by: f32| {
                    let mut moved = model.clone();
                    moved.weights.get_mut(name).unwrap().f32s_mut().unwrap()[at] += by;
                    loss_of(&moved, 0)
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let error = (gradient[at] - difference).abs();
                assert!(error < TOLERANCE * scale, "{order:?} {name} {at}: {} {difference}", gradient[at]);
            }
        }
        let behind = network.gradients(&loss(&network, 1, &device).backward()).unwrap();
        let is_moved = |name: &str| {
            behind.iter().any(|(found, values)| found == name && values.iter().any(|value| *value != 0.0))
        };
        assert!(is_moved("behind.weight") && is_moved("behind.bias"));
        assert!(!["split.weight", "split.bias", "qkv.weight"].into_iter().any(is_moved));
    }
}
