//! Whole detectors against the same network on Burn's own back end: every layer, all sizes, dense, sparse and
//! without some of their channels.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::architecture::ConvRef;
use yolo_model::modules::C3Spec;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::{Yolo, host_values};
use yolo_runtime::{CompiledNetwork, Isa, Network, Op, Options, Output, Plan, Selection};

/// Random weights whose logits are of the size of a trained network's.
fn checkpoint(architecture: Architecture, seed: u64) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    let names: Vec<String> = checkpoint.weights.names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| name.contains(".bn.")) {
        let range = match name.rsplit('.').next().unwrap() {
            "weight" => 0.8..1.6,
            "running_var" => 0.3..1.0,
            "bias" | "running_mean" => -0.2..0.2,
            _ => continue,
        };
        for value in checkpoint.weights.get_mut(name).unwrap().f32s_mut().unwrap() {
            *value = rng.random_range(range.clone());
        }
    }
    checkpoint.into_fused().unwrap().into_checkpoint()
}

fn variant(name: &str) -> Checkpoint {
    checkpoint(Architecture::variant(name, Some(3)).unwrap(), 1)
}

/// Sets `share` of the weights of every convolution to zero; with `block` > 1, that many output channels at once.
fn strewn(mut checkpoint: Checkpoint, share: f64, block: usize) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(2);
    for conv in checkpoint.architecture.convs() {
        let filter = conv.spec.in_channels * conv.spec.kernel[0] * conv.spec.kernel[1];
        let weights = checkpoint.weights.get_mut(&conv.weight()).unwrap().f32s_mut().unwrap();
        for group in weights.chunks_mut(block * filter) {
            for at in 0..filter {
                if rng.random_bool(share) {
                    group.iter_mut().skip(at).step_by(filter).for_each(|weight| *weight = 0.0);
                }
            }
        }
    }
    checkpoint
}

fn images(batch: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(3);
    (0..batch * 3 * height * width).map(|_| rng.random()).collect()
}

/// The output of every layer, then the logits of every level, on Burn's back end.
fn expected(checkpoint: &Checkpoint, batch: usize, size: [usize; 2]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let device = Device::flex();
    let model = Yolo::from_checkpoint(checkpoint, &device).unwrap();
    let input = TensorData::new(images(batch, size), [batch, 3, size[0], size[1]]);
    let mut layers = Vec::new();
    let observe = |_, output: &Tensor<4>| layers.push(host_values(output.clone()).unwrap());
    let logits = model.forward_observed(Tensor::from_data(input, &device), observe);
    (layers, logits.into_iter().map(|map| host_values(map).unwrap()).collect())
}

/// Largest difference, relative to the largest number.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(difference.is_finite());
    difference / largest.max(f32::MIN_POSITIVE)
}

/// Compares the logits.
fn compare(checkpoint: &Checkpoint, batch: usize, size: [usize; 2], options: &Options, what: &str) {
    let plan = Plan::new(Network::of(&checkpoint.fuse().unwrap(), batch, size).unwrap(), options).unwrap();
    let mut output = vec![f32::NAN; plan.output_len()];
    plan.run(&images(batch, size), &mut output).unwrap();
    let (_, logits) = expected(checkpoint, batch, size);
    let mut rest = output.as_slice();
    for (level, expected) in logits.iter().enumerate() {
        let (found, others) = rest.split_at(expected.len());
        rest = others;
        let difference = difference(found, expected);
        assert!(difference < 1e-4, "{what}, level {level}: {difference}");
    }
    assert!(rest.is_empty());
}

fn compare_size(size: &str, suffix: &str) {
    let name = format!("yolov5{size}{suffix}");
    let image = if suffix.is_empty() { [64, 96] } else { [64, 128] };
    compare(&variant(&name), 1, image, &Options::default(), &name);
}

#[test]
fn the_smallest_sizes_with_three_and_four_levels() {
    ["", "6"].into_iter().for_each(|suffix| compare_size("n", suffix));
}

#[test]
fn the_eight_larger_sizes() {
    if crate::runs_slow() {
        for size in ["s", "m", "l", "x"] {
            ["", "6"].into_iter().for_each(|suffix| compare_size(size, suffix));
        }
    }
}

#[test]
fn odd_shapes_and_batches_on_every_vector_unit() {
    let dense = variant("yolov5n");
    let sparse = strewn(dense.clone(), 0.6, 1);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for (batch, image) in [(1, [32, 32]), (3, [64, 160]), (2, [224, 96]), (1, [416, 416])] {
            let options = Options { isa: Some(isa), threads: 2, ..Options::default() };
            compare(&dense, batch, image, &options, &format!("dense {isa} {batch} {image:?}"));
            compare(&sparse, batch, image, &options, &format!("sparse {isa} {batch} {image:?}"));
        }
    }
}

#[test]
fn measured_kernels_give_the_same_numbers() {
    let measure = Options { threads: 2, selection: Selection::Measure, ..Options::default() };
    for (share, block) in [(0.0, 1), (0.3, 1), (0.7, 1), (0.95, 1), (0.7, 4)] {
        let sparse = strewn(variant("yolov5n"), share, block);
        compare(&sparse, 1, [128, 96], &measure, &format!("{share} in blocks of {block}"));
    }
}

/// Widths that are not multiples of any vector or tile.
#[test]
fn odd_widths() {
    let mut architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let yaml = include_str!("../../../../configs/models/demo.yaml");
    compare(
        &checkpoint(Architecture::from_yaml(yaml, None).unwrap(), 4),
        2,
        [96, 64],
        &Options::default(),
        "demo",
    );
    // A hidden width of a bottleneck is read by one convolution alone.
    for layer in &mut architecture.layers {
        if let Some(c3) = layer.block.get_mut::<C3Spec>() {
            for (index, bottleneck) in c3.m.iter_mut().enumerate() {
                bottleneck.cv1.out_channels -= 3 + index;
                bottleneck.cv2.in_channels = bottleneck.cv1.out_channels;
            }
        }
    }
    architecture.validate().unwrap();
    let odd = checkpoint(architecture, 5);
    compare(&odd, 1, [64, 64], &Options::default(), "odd widths");
    compare(&strewn(odd, 0.5, 1), 1, [64, 64], &Options::default(), "odd widths, sparse");
}

/// The convolution that makes the output of every layer that has one.
fn last_convolutions(architecture: &Architecture) -> HashMap<String, usize> {
    let program = architecture.program();
    let layer_of = |(index, conv): (usize, &ConvRef)| {
        let layer = program.layers.iter().position(|&value| value == index + 1)?;
        (!conv.is_bare).then(|| (conv.name.clone(), layer))
    };
    program.convs().filter_map(layer_of).collect()
}

#[test]
fn every_layer() {
    let dense = variant("yolov5s");
    for checkpoint in [dense.clone(), strewn(dense.clone(), 0.5, 1), strewn(dense, 0.75, 4)] {
        let (layers, _) = expected(&checkpoint, 1, [96, 64]);
        let mut network = Network::of(&checkpoint.fuse().unwrap(), 1, [96, 64]).unwrap();
        let layer_of = last_convolutions(&checkpoint.architecture);
        let mut shown = Vec::new();
        for (index, op) in network.ops.iter().enumerate() {
            if let Op::Conv(conv) = op
                && let Some(&layer) = layer_of.get(&conv.name)
            {
                shown.push((index + 1, layer));
            }
        }
        assert_eq!(shown.len(), layer_of.len());
        network.output = Output::Maps(shown.iter().map(|&(value, _)| value).collect());
        let plan = Plan::new(network, &Options::default()).unwrap();
        let mut output = vec![0.0; plan.output_len()];
        plan.run(&images(1, [96, 64]), &mut output).unwrap();
        let mut rest = output.as_slice();
        for (_, layer) in shown {
            let (found, others) = rest.split_at(layers[layer].len());
            rest = others;
            let difference = difference(found, &layers[layer]);
            assert!(difference < 1e-4, "layer {layer}: {difference}");
        }
    }
}

#[test]
fn a_compiled_network_takes_any_valid_shape_and_rejects_others() {
    let checkpoint = variant("yolov5n");
    let options = Options { threads: 2, ..Options::default() };
    let network = CompiledNetwork::new(checkpoint.fuse().unwrap(), options, None).unwrap();
    for size in [[64, 96], [96, 64], [32, 32], [64, 96]] {
        let levels = network.run(&images(2, size), 2, size).unwrap();
        let (_, logits) = expected(&checkpoint, 2, size);
        for (level, logits) in levels.iter().zip(&logits) {
            assert_eq!(level.dims[0], 2);
            assert!(difference(&level.values, logits) < 1e-4);
        }
    }
    let error = network.run(&images(1, [64, 64]), 1, [64, 50]).unwrap_err().to_string();
    assert!(error.contains("64×50") && error.contains("multiples of 32"), "{error}");
    assert!(network.run(&[0.0; 7], 1, [64, 64]).unwrap_err().to_string().contains("7 numbers"));
    assert!(network.run(&[], 0, [64, 64]).is_err());
}

/// YOLOv5's arithmetic for boxes, as [`yolo_model::Head::decode`] has it.
#[test]
fn decoded_rows_are_those_of_the_decoder() {
    let checkpoint = variant("yolov5n");
    let (batch, size, fused) = (2, [96, 64], checkpoint.fuse().unwrap());
    let network = Network::of(&fused, batch, size).unwrap().decoded(&fused);
    let plan = Plan::new(network, &Options::default()).unwrap();
    let mut rows = vec![0.0; plan.output_len()];
    plan.run(&images(batch, size), &mut rows).unwrap();
    let (_, logits) = expected(&checkpoint, batch, size);
    let head = checkpoint.architecture.head();
    let per_image = rows.len() / batch;
    for image in 0..batch {
        let maps: Vec<yolo_model::RawMap> = logits
            .iter()
            .zip(head.strides())
            .map(|(logits, stride)| {
                let length = logits.len() / batch;
                yolo_model::RawMap {
                    logits: &logits[image * length..(image + 1) * length],
                    height: size[0] / stride,
                    width: size[1] / stride,
                }
            })
            .collect();
        let expected = head.decode(&maps, -1.0);
        let expected: Vec<f32> =
            expected.rows().flat_map(|(b, scores)| [&[b.cx, b.cy, b.w, b.h], scores].concat()).collect();
        assert!(difference(&rows[image * per_image..(image + 1) * per_image], &expected) < 1e-5);
    }
}
