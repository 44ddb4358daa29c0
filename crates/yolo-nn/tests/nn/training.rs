//! Training on this crate's operations: gradients, statistics and repeatability of whole blocks, against Burn's
//! own operations.

use burn::module::Module;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Gradients, Tensor, activation, module};
use rand::SeedableRng;
use yolo_model::architecture::ConvSpec;
use yolo_model::program::{Lowering, Program};
use yolo_model::weights::{HostTensor, StateDict};
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::kernels::{self, Then};
use yolo_nn::{Conv, Network, Yolo};

/// Two orders of summation in `f32`.
const RELATIVE: f32 = 1e-4;

fn network(device: &Device) -> Yolo {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(4)).unwrap();
    Yolo::from_checkpoint(&checkpoint, device).unwrap()
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    device.seed(11);
    Tensor::random(shape, Distribution::Normal(0.3, 1.0), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

fn assert_close(ours: &[f32], golden: &[f32], what: &str) {
    assert_eq!(ours.len(), golden.len(), "{what}");
    let scale = golden.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
    assert!(scale > 0.0, "{what} is all zeros");
    for (a, b) in ours.iter().zip(golden) {
        assert!((a - b).abs() <= RELATIVE * scale, "{what}: {a} {b}");
    }
}

/// The block in Burn's operations.
fn burn_conv(block: &Conv, x: Tensor<4>) -> Tensor<4> {
    let bn = block.bn.as_ref().unwrap();
    let x = block.conv.forward(x);
    activation::silu(module::batch_norm_train(x, bn.gamma.val(), bn.beta.val(), bn.epsilon).output)
}

fn burn_c3(network: &Network, layer: usize, x: Tensor<4>) -> Tensor<4> {
    let block = |path: &str, x| burn_conv(network.conv(&format!("model.{layer}.{path}")).unwrap(), x);
    let n_bottlenecks = convs(network, layer).len().saturating_sub(3) / 2;
    let beside = block("cv2", x.clone());
    let mut deep = block("cv1", x);
    for j in 0..n_bottlenecks {
        deep = block(&format!("m.{j}.cv2"), block(&format!("m.{j}.cv1"), deep.clone())) + deep;
    }
    block("cv3", Tensor::cat(vec![deep, beside], 1))
}

fn convs(network: &Network, layer: usize) -> Vec<&Conv> {
    let named = network.names().iter().zip(&network.convs);
    named.filter(|(names, _)| names.layer == layer).map(|(_, conv)| conv).collect()
}

/// Gradients of every weight, `γ` and `β`, in the blocks' order.
fn gradients(convs: &[&Conv], gradients: &Gradients) -> Vec<Vec<f32>> {
    let of = |conv: &&Conv| {
        let bn = conv.bn.as_ref().unwrap();
        let weight = values(conv.conv.weight.val().grad(gradients).unwrap());
        [
            weight,
            values(bn.gamma.val().grad(gradients).unwrap()),
            values(bn.beta.val().grad(gradients).unwrap()),
        ]
    };
    convs.iter().flat_map(of).collect()
}

/// The C3 of layer 4 as a separate network.
fn c3_of_layer_4(device: &Device) -> Network {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let mut lowering = Lowering::new(64);
    let block = &architecture.layers[4].block;
    let output = lowering.within("model.0", |lowering| block.lower(lowering, &[0])).unwrap();
    lowering.output(output);
    let program: Program = lowering.finish();
    let checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(4)).unwrap();
    let mut weights = StateDict::default();
    for (name, tensor) in checkpoint.weights.iter() {
        if let Some(path) = name.strip_prefix("model.4.") {
            weights.insert(format!("model.0.{path}"), tensor.clone());
        }
    }
    let order = program.convs().map(|(_, conv)| conv.clone()).collect();
    Network::load(program, order, false, &weights, device).unwrap()
}

#[test]
fn a_c3_block_has_the_output_and_gradients_of_burns_operations() {
    let device = Device::flex().autodiff();
    let network = c3_of_layer_4(&device);
    let block = convs(&network, 0);
    let x = normal([2, 64, 11, 13], &device).require_grad();
    let weights = normal([2, 64, 11, 13], &device).detach();
    let run = |forward: &dyn Fn(Tensor<4>) -> Tensor<4>| {
        let y = forward(x.clone());
        let grads = (y.clone() * weights.clone()).sum().backward();
        (values(y), values(x.grad(&grads).unwrap()), gradients(&block, &grads))
    };
    let ours = run(&|x| network.forward(x).remove(0));
    let golden = run(&|x| burn_c3(&network, 0, x));
    assert_close(&ours.0, &golden.0, "output");
    assert_close(&ours.1, &golden.1, "gradient of the input");
    assert_eq!(ours.2.len(), 3 * (3 + 2 * 2));
    for (index, (a, b)) in ours.2.iter().zip(&golden.2).enumerate() {
        assert_close(a, b, &format!("gradient of parameter {index}"));
    }
}

#[test]
fn a_convolution_with_bias_has_burns_gradients() {
    let device = Device::flex().autodiff();
    let x = normal([3, 6, 9, 14], &device).require_grad();
    let weight = normal([10, 3, 3, 3], &device).require_grad();
    let bias = normal([10], &device).require_grad();
    let options = ConvOptions::new([2, 1], [1, 2], [1, 2], 2);
    let run = |forward: &dyn Fn() -> Tensor<4>| {
        let y = forward();
        let grads = y.clone().square().sum().backward();
        let [x, weight] = [&x, &weight].map(|t| values(t.grad(&grads).unwrap()));
        [values(y), x, weight, values(bias.grad(&grads).unwrap())]
    };
    let (x, weight, bias) = (|| x.clone(), || weight.clone(), || Some(bias.clone()));
    let ours = run(&|| kernels::conv2d(x(), weight(), bias(), options.clone(), Then::Silu));
    let golden = run(&|| activation::silu(module::conv2d(x(), weight(), bias(), options.clone())));
    for (what, (a, b)) in ["output", "input", "weight", "bias"].iter().zip(ours.iter().zip(&golden)) {
        assert_close(a, b, what);
    }
}

/// A block whose convolution passes its one channel on and whose batch normalisation starts fresh.
fn identity_block(device: &Device) -> Conv {
    let mut weights = StateDict::default();
    weights.insert("model.0.conv.weight", HostTensor::from_f32s(vec![1, 1, 1, 1], vec![1.0]));
    for (name, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        weights.insert(format!("model.0.bn.{name}"), HostTensor::from_f32s(vec![1], vec![value]));
    }
    let mut lowering = Lowering::new(1);
    lowering.conv("model.0", &ConvSpec::new(1, 1, 1, 1), 0).unwrap();
    let program = lowering.finish();
    Conv::load(program.convs().next().unwrap().1, false, &weights, device).unwrap()
}

/// PyTorch's rule by hand: of 1, 2, 4, 5 the mean is 3, the squared deviations add up to 10, so the biased variance is
/// 2.5 and the unbiased 10 / 3. With momentum 0.03 from mean 0 and variance 1.
#[test]
fn running_statistics_follow_pytorch() {
    let device = Device::flex().autodiff();
    let block = identity_block(&device);
    let x = Tensor::<4>::from_data([[[[1.0f32, 2.0]]], [[[4.0, 5.0]]]], &device);
    block.forward(x.clone());
    let bn = block.bn.as_ref().unwrap();
    let state = || [&bn.running_mean, &bn.running_var].map(|state| values(state.value_sync())[0]);
    let [mean, var] = state();
    assert!((mean - 0.09).abs() < 1e-6, "{mean}");
    assert!((var - (0.97 + 0.03 * 10.0 / 3.0)).abs() < 1e-6, "{var}");
    block.forward(x);
    let [mean, var] = state();
    assert!((mean - (0.97 * 0.09 + 0.09)).abs() < 1e-6, "{mean}");
    assert!((var - (0.97 * 1.07 + 0.1)).abs() < 1e-6, "{var}");
    let valid = block.valid();
    let carried = values(valid.bn.as_ref().unwrap().running_var.value());
    assert_eq!(carried, [var]);
}

#[test]
fn a_frozen_block_uses_and_keeps_its_running_statistics() {
    let plain = Device::flex();
    let block = identity_block(&plain.clone().autodiff()).freeze();
    let x = normal([2, 1, 3, 5], &plain);
    let inference = values(identity_block(&plain).forward(x.clone()));
    let frozen = values(block.forward(Tensor::from_inner(x)));
    assert_close(&frozen, &inference, "output");
    assert_eq!(values(block.bn.as_ref().unwrap().running_var.value_sync()), [1.0]);
}

/// Without automatic differentiation the same numbers come out, SiLU in the same pass or not.
#[test]
fn both_paths_of_a_convolution_agree() {
    let plain = Device::flex();
    let (x, weight, bias) =
        (normal([2, 5, 17, 12], &plain), normal([9, 5, 3, 3], &plain), normal([9], &plain));
    let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let fused = kernels::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options(), Then::Silu);
    let lift = |x| Tensor::from_inner(x);
    let bias = Some(Tensor::<1>::from_inner(bias));
    let tracked = kernels::conv2d(lift(x), lift(weight).require_grad(), bias, options(), Then::Silu);
    assert_eq!(values(fused), values(tracked));
}

#[test]
fn a_training_step_repeats_bit_by_bit() {
    let device = Device::flex().autodiff();
    let images = normal([3, 3, 64, 96], &device);
    let run = || {
        let network = network(&device);
        let levels = network.forward(images.clone());
        let loss = levels.into_iter().map(|level| level.square().sum()).reduce(|a, b| a + b).unwrap();
        let grads = loss.clone().backward();
        let network = network.network();
        let stem = network.conv("model.0").unwrap();
        let mut all = gradients(&convs(network, 23), &grads);
        all.push(values(stem.conv.weight.val().grad(&grads).unwrap()));
        all.push(values(loss));
        all.into_iter().flatten().map(f32::to_bits).collect::<Vec<_>>()
    };
    let once = run();
    for _ in 0..4 {
        assert!(run() == once);
    }
}
