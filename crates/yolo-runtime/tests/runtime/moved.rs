//! Operations that move, pool or compare pixels, convolutions with groups, and whole networks of the reference.

#[path = "../../../yolo-model/tests/model/module_files/networks.rs"]
mod networks;

use yolo_model::Checkpoint;
use yolo_model::program::{AttentionOrder, AttentionSpec, PixelOrder, PoolSpec};
use yolo_model::weights::{HostTensor, read_safetensors};
use yolo_runtime::{Activation, Conv, Family, Isa, Network, Op, Options, Output, Plan, Selection};

use super::reference::{Random, Zeros, assert_close, conv, naive as run_slowly};

/// Runs a network on every vector unit, for one and three threads.
pub(crate) fn check(network: &Network, what: &str) {
    let [channels, height, width] = network.input;
    let input = Random::new(9).numbers(network.batch * channels * height * width);
    let expected = run_slowly(network, &input);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for threads in [1, 3] {
            let options = Options { threads, isa: Some(isa), ..Options::default() };
            let plan = Plan::new(network.clone(), &options).unwrap();
            let mut output = vec![f32::NAN; plan.output_len()];
            plan.run(&input, &mut output).unwrap();
            assert_close(&output, &expected, 2e-5, &format!("{what} on {isa} with {threads} threads"));
        }
    }
}

/// A convolution, the operation, and a 3×3 convolution that reads beyond the borders of its tiles.
fn around(op: impl Fn(usize) -> Op, [channels, made]: [usize; 2], input: [usize; 3]) -> Network {
    let mut random = Random::new(4);
    let before = conv("before", 0, [input[0], channels], [3, 3], &mut random, Zeros::None);
    let behind = conv("behind", 2, [made, 5], [3, 3], &mut random, Zeros::None);
    let ops = vec![Op::Conv(before), op(1), Op::Conv(behind)];
    Network { batch: 2, input, ops, output: Output::Maps(vec![2, 3]) }
}

#[test]
fn pools_paddings_and_squares_of_odd_maps() {
    let pool = |kernel, stride, padding, ceil| PoolSpec { kernel, stride, padding, ceil };
    let cases = [
        (pool([2, 2], [2, 2], [0, 0], false), [3, 26, 20]),
        (pool([2, 2], [2, 2], [0, 0], true), [3, 13, 19]),
        (pool([2, 2], [1, 1], [0, 0], false), [3, 13, 18]),
        (pool([3, 3], [2, 2], [1, 1], false), [3, 26, 38]),
        (pool([2, 3], [1, 2], [1, 0], false), [3, 9, 22]),
    ];
    for (pool, input) in cases {
        check(&around(|input| Op::Pool { input, pool }, [6, 6], input), &format!("{pool:?}"));
    }
    let sides = [1, 2, 0, 3];
    check(&around(|input| Op::ZeroPad { input, sides }, [6, 6], [3, 13, 18]), "padding");
    let channels = vec![5, 0, 3, 3];
    check(&around(|input| Op::Pick { input, channels: channels.clone() }, [6, 4], [3, 13, 18]), "channels");
    for order in [PixelOrder::Rows, PixelOrder::Columns] {
        let squares = |input| Op::SpaceToDepth { input, size: 2, order };
        check(&around(squares, [3, 12], [3, 26, 20]), &format!("{order:?}"));
    }
    for interleaved in [false, true] {
        let pixels = |input| Op::DepthToSpace { input, size: 3, interleaved };
        check(&around(pixels, [18, 2], [3, 7, 10]), &format!("interleaved {interleaved}"));
    }
}

#[test]
fn attention_mixes_the_values_of_all_pixels() {
    let spec = AttentionSpec::thirds(2, 36);
    check(&around(|input| Op::Attention { input, spec }, [36, 12], [3, 7, 10]), "attention by part");
    // Values wider than keys, of a width that is not that of a block, and more pixels than stay in the first cache.
    let spec = AttentionSpec { heads: 3, key: 5, order: AttentionOrder::ByHead };
    check(&around(|input| Op::Attention { input, spec }, [51, 21], [3, 11, 13]), "attention by head");
    let spec = AttentionSpec { heads: 1, key: 4, order: AttentionOrder::ByPart };
    check(&around(|input| Op::Attention { input, spec }, [14, 6], [3, 20, 20]), "attention of one head");
}

#[test]
fn groups_are_kernels_of_their_own() {
    let measure = Options { selection: Selection::Measure, ..Options::default() };
    for (groups, channels, kernel, stride) in [
        (24, [24, 24], 5, 1),
        (24, [24, 24], 3, 2),
        (8, [8, 24], 3, 1),
        (3, [12, 21], 1, 1),
        (2, [10, 6], 3, 1),
    ] {
        let mut random = Random::new(5);
        let full = conv("grouped", 0, channels, [kernel; 2], &mut random, Zeros::None);
        let weights = full.weight.len() / groups;
        let grouped = Conv { groups, stride: [stride; 2], weight: full.weight[..weights].to_vec(), ..full };
        let ops = vec![Op::Conv(grouped)];
        let network = Network { batch: 2, input: [channels[0], 14, 11], ops, output: Output::Maps(vec![1]) };
        check(&network, &format!("{groups} groups"));
        let plan = Plan::new(network, &measure).unwrap();
        let report = &plan.convolutions()[0];
        let is_depthwise = report.chosen.family == Family::Depthwise;
        assert!(is_depthwise || report.chosen.family.skips_zeros(), "{}", report.chosen);
        // Two operations per weight and pixel: nothing is computed between groups.
        let expected = 2.0 * (2 * weights * report.size[0] * report.size[1]) as f64 * 1e-9;
        assert!((report.gflop - expected).abs() < 1e-12);
    }
}

/// Windows, strides, spacings, activations, a sum and borders of convolutions of one channel each.
#[test]
fn depthwise_convolutions() {
    for (kernel, stride, dilation, activation, size) in [
        ([3, 3], [1, 1], [1, 1], Activation::Silu, [20, 44]),
        ([3, 3], [2, 2], [1, 1], Activation::None, [14, 11]),
        ([5, 3], [1, 2], [1, 1], Activation::Relu6, [9, 16]),
        ([3, 1], [1, 1], [2, 1], Activation::LeakyRelu(0.1), [12, 7]),
        ([7, 7], [1, 1], [1, 1], Activation::Silu, [10, 13]),
    ] {
        let mut random = Random::new(7);
        let stem = conv("stem", 0, [3, 9], [3, 3], &mut random, Zeros::None);
        let full = conv("depthwise", 1, [1, 9], kernel, &mut random, Zeros::None);
        let padding = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] / 2);
        let single = Conv { groups: 9, stride, dilation, padding, activation, ..full };
        let behind = conv("behind", 2, [9, 4], [3, 3], &mut random, Zeros::None);
        let mut ops = vec![Op::Conv(stem), Op::Conv(single), Op::Conv(behind)];
        if stride == [1, 1] {
            ops[2] = Op::Add { inputs: [1, 2] };
            ops.push(Op::Conv(conv("behind", 3, [9, 4], [3, 3], &mut random, Zeros::None)));
        }
        let output = Output::Maps(vec![ops.len()]);
        let network = Network { batch: 2, input: [3, size[0], size[1]], ops, output };
        let plan = Plan::new(network.clone(), &Options::default()).unwrap();
        assert_eq!(plan.convolutions()[1].chosen.family, Family::Depthwise);
        check(&network, &format!("{kernel:?} {stride:?} {dilation:?} {activation:?}"));
    }
}

#[test]
fn activations_of_all_releases() {
    for activation in [
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Mish,
        Activation::Elu(0.7),
        Activation::LeakyRelu(0.1),
    ] {
        let mut random = Random::new(6);
        let conv = Conv { activation, ..conv("conv", 0, [4, 9], [3, 3], &mut random, Zeros::None) };
        let output = Output::Maps(vec![1]);
        let network = Network { batch: 1, input: [4, 12, 17], ops: vec![Op::Conv(conv)], output };
        check(&network, &format!("{activation:?}"));
    }
}

/// Mean, population deviation, and first values of every layer within 1e-4 of the deviation.
#[test]
fn every_layer_of_the_references_networks() {
    for name in networks::all() {
        let Some(path) = crate::shared(&format!("reference/yolov5-modules/{name}.pt")) else { return };
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (inputs, _) =
            read_safetensors(path.with_file_name(reference["input"].as_str().unwrap())).unwrap();
        let image: &HostTensor = inputs.get("x").unwrap();
        let checkpoint = Checkpoint::load(&path).unwrap();
        let program = checkpoint.architecture.program();
        let fused = checkpoint.fuse().unwrap();
        let size = [image.shape[2], image.shape[3]];
        let head = program.layers.len() - 1;
        let values = [&program.layers[..head], &program.outputs[..]].concat();
        let network = Network::showing(&fused, 1, size, &values).unwrap();
        let plan = Plan::new(network, &Options::default()).unwrap();
        let mut output = vec![f32::NAN; plan.output_len()];
        plan.run(image.f32s().unwrap(), &mut output).unwrap();
        let layers = reference["layers"].as_array().unwrap().iter();
        let mut expected: Vec<&serde_json::Value> =
            layers.filter(|layer| layer.get("mean").is_some() && !is_head_conv(name, layer)).collect();
        assert_eq!(expected.len(), head, "{name}");
        let mut heads: Vec<&serde_json::Value> = reference["heads"].as_array().unwrap().iter().collect();
        if name == "old-v1.0-yolov5s" {
            heads.reverse();
        }
        expected.extend(heads);
        let mut rest = output.as_slice();
        for (at, expected) in expected.iter().enumerate() {
            let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
            let (found, others) = rest.split_at(shape.iter().product());
            rest = others;
            if at < head {
                assert_map(found, expected, "first", &format!("{name} layer {at}"));
            } else {
                // Rows of an anchor's outputs there, planes here.
                let [anchors, height, width, outputs] = [shape[1], shape[2], shape[3], shape[4]];
                let cells = height * width;
                let mut rows = Vec::with_capacity(found.len());
                for (anchor, cell) in (0..anchors).flat_map(|a| (0..cells).map(move |cell| (a, cell))) {
                    rows.extend((0..outputs).map(|o| found[(anchor * outputs + o) * cells + cell]));
                }
                assert_map(&rows, expected, "first32", &format!("{name} head {}", at - head));
            }
        }
        assert!(rest.is_empty(), "{name}");
    }
}

/// The convolutions of the first release's head are layers there.
fn is_head_conv(name: &str, layer: &serde_json::Value) -> bool {
    name == "old-v1.0-yolov5s" && layer["type"].as_str().unwrap().ends_with("Conv2d")
}

fn assert_map(found: &[f32], expected: &serde_json::Value, samples: &str, what: &str) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let count = found.len() as f64;
    let mean = found.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = found.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let (deviation, limit) = (number("std"), 1e-4 * number("std"));
    assert!((mean - number("mean")).abs() <= limit, "{what}: mean {mean}, not {}", number("mean"));
    assert!(
        (variance.sqrt() - deviation).abs() <= limit,
        "{what}: deviation {}, not {deviation}",
        variance.sqrt()
    );
    let samples: Vec<f64> = serde_json::from_value(expected[samples].clone()).unwrap();
    for (at, (&found, expected)) in found.iter().zip(samples).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= limit + 1e-6 * expected.abs(), "{what}: {found} at {at}, not {expected}");
    }
}
