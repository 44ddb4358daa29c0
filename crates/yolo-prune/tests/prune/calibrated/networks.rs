//! Small networks, images, and convolutions written out; the unit tests of this crate include this file as well.
#![allow(dead_code, reason = "neither the unit tests nor the others use all of it")]

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::{Yolo, host_values};

pub(crate) fn device() -> Device {
    Device::flex()
}

/// Two levels, shortcuts, pooling and a concatenation across levels.
pub(crate) fn tiny_architecture() -> Architecture {
    let yaml = "
nc: 2
depth_multiple: 1.0
width_multiple: 1.0
anchors: [[8, 8, 16, 16], [32, 32, 64, 64]]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 2, C3, [16]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, SPPF, [24, 5]]
head:
  - [-1, 1, Conv, [16, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C3, [16, False]]
  - [-1, 1, Bottleneck, [16]]
  - [[9, 4], 1, Detect, [nc, anchors]]
";
    Architecture::from_yaml(yaml, None).unwrap()
}

/// Like the tiny network, but of widths that every structure fits, except for the stem's.
pub(crate) fn sixteens_architecture() -> Architecture {
    let yaml = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
anchors: [[8, 8, 16, 16], [32, 32, 64, 64]]
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 2, C3, [32]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, SPPF, [64, 5]]
head:
  - [-1, 1, Conv, [32, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C3, [32, False]]
  - [-1, 1, Bottleneck, [32]]
  - [[9, 4], 1, Detect, [nc, anchors]]
";
    Architecture::from_yaml(yaml, None).unwrap()
}

/// Whether tests that take long run.
pub(crate) fn runs_slow() -> bool {
    std::env::var_os("YOLO_SLOW_TESTS").is_some()
}

/// A network that is calibrated in an instant; with `YOLO_SLOW_TESTS` set also yolov5n, which takes half a minute.
pub(crate) fn small_and_slow(seed: u64) -> Vec<(&'static str, Checkpoint)> {
    let mut networks = vec![("sixteens", random(sixteens_architecture(), seed))];
    if runs_slow() {
        networks.push(("yolov5n", random(Architecture::variant("yolov5n", Some(3)).unwrap(), seed)));
    }
    networks
}

/// The tiny network with every activation, a grouped and a dilated convolution.
pub(crate) fn mixed_architecture() -> Architecture {
    let mut architecture = tiny_architecture();
    let layers = [
        (0, Activation::Relu, [1, 1], 1),
        (1, Activation::LeakyRelu { slope: 0.1 }, [1, 1], 4),
        (3, Activation::Silu, [2, 2], 1),
        (5, Activation::Identity, [1, 1], 2),
    ];
    for (layer, activation, dilation, groups) in layers {
        let spec = architecture.layers[layer].block.get_mut::<ConvSpec>().unwrap();
        let padding = [spec.kernel[0] / 2 * dilation[0]; 2];
        *spec = ConvSpec { activation, dilation, padding, groups, ..spec.clone() };
    }
    architecture.validate().unwrap();
    architecture
}

/// Weights, and batch normalisation that is the identity nowhere.
pub(crate) fn random(architecture: Architecture, seed: u64) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    for (name, tensor) in checkpoint.weights.iter_mut() {
        let range = match name {
            name if name.ends_with(".bn.weight") => 0.8..2.2,
            name if name.ends_with(".bn.bias") => -0.5..0.5,
            // The head's: answers of every kind, where training starts from few objects.
            name if name.ends_with(".bias") => -1.0..1.0,
            name if name.ends_with(".running_mean") => -0.2..0.2,
            name if name.ends_with(".running_var") => 0.2..1.0,
            _ => continue,
        };
        tensor.f32s_mut().unwrap().iter_mut().for_each(|value| *value = rng.random_range(range.clone()));
    }
    checkpoint
}

pub(crate) fn tiny(seed: u64) -> Checkpoint {
    random(tiny_architecture(), seed)
}

/// `n` images `[3, height, width]` of smooth waves with a little noise.
pub(crate) fn pixels([n, height, width]: [usize; 3], seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pixels = Vec::new();
    for _ in 0..n * 3 {
        let [a, b, c] = [0; 3].map(|_| rng.random_range(0.02f32..0.4));
        for (y, x) in (0..height * width).map(|i| ((i / width) as f32, (i % width) as f32)) {
            let wave = ((x * a).sin() + (y * b + x * c).cos()) * 0.2 + 0.5 + rng.random_range(-0.1..0.1);
            pixels.push((wave.clamp(0.0, 1.0) * 255.0).round() as u8);
        }
    }
    pixels
}

/// What the network gets of those.
pub(crate) fn tensor(pixels: &[u8], [n, height, width]: [usize; 3]) -> Tensor<4> {
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    Tensor::from_data(TensorData::new(values, [n, 3, height, width]), &device())
}

/// Three batches of different shapes: sides and numbers of their images, and their pixels.
pub(crate) fn raw_batches(seed: u64) -> Vec<([usize; 3], Vec<u8>)> {
    let shapes = [[2, 64, 64], [1, 96, 64], [3, 32, 96]];
    (seed..).zip(shapes).map(|(seed, shape)| (shape, pixels(shape, seed))).collect()
}

/// The values of a map `[n, channels, height, width]` on the host.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) values: Vec<f32>,
    pub(crate) dims: [usize; 4],
}

impl Map {
    pub(crate) fn of(tensor: &Tensor<4>) -> Self {
        Self { values: host_values(tensor.clone()).unwrap(), dims: tensor.dims() }
    }
}

/// The outputs of all layers but Detect, and the logits of every level.
pub(crate) fn layers(checkpoint: &Checkpoint, images: Tensor<4>) -> (Vec<Map>, Vec<Map>) {
    let mut maps = Vec::new();
    let network = Yolo::from_checkpoint(checkpoint, &device()).unwrap();
    let levels = network.forward_observed(images, |_, map| maps.push(Map::of(map)));
    (maps, levels.iter().map(Map::of).collect())
}

/// The logits of all levels of all batches, one behind the other.
pub(crate) fn logits(checkpoint: &Checkpoint, batches: &[([usize; 3], Vec<u8>)]) -> Vec<f32> {
    let of = |(shape, pixels): &([usize; 3], Vec<u8>)| layers(checkpoint, tensor(pixels, *shape)).1;
    batches.iter().flat_map(of).flat_map(|map| map.values).collect()
}

/// Largest difference, over the largest magnitude of `expected`.
pub(crate) fn difference(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1e-9f32, |scale, value| scale.max(value.abs()));
    actual.iter().zip(expected).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) / scale
}

/// Root of the mean squared difference, over that of `expected` about its mean.
pub(crate) fn relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let mean = expected.iter().map(|v| f64::from(*v)).sum::<f64>() / expected.len() as f64;
    let error: f64 = actual.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (error / expected.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>()).sqrt()
}

/// What the kernels of each group of an ungrouped `spec` see at every position of the output of every image, each a
/// vector of `in · kh · kw` inputs in the order of the weights.
pub(crate) fn columns(map: &Map, spec: &ConvSpec) -> Vec<Vec<f64>> {
    let [n, channels, height, width] = map.dims;
    assert_eq!(channels, spec.in_channels);
    let [out_height, out_width] = spec.output_size([height, width]);
    let mut columns = Vec::new();
    for image in 0..n {
        for (y, x) in (0..out_height * out_width).map(|i| (i / out_width, i % out_width)) {
            let mut column = Vec::new();
            for channel in 0..channels {
                for (r, s) in
                    (0..spec.kernel[0] * spec.kernel[1]).map(|t| (t / spec.kernel[1], t % spec.kernel[1]))
                {
                    let row = (y * spec.stride[0] + r * spec.dilation[0]).checked_sub(spec.padding[0]);
                    let column_index =
                        (x * spec.stride[1] + s * spec.dilation[1]).checked_sub(spec.padding[1]);
                    column.push(match (row, column_index) {
                        (Some(row), Some(index)) if row < height && index < width => f64::from(
                            map.values[((image * channels + channel) * height + row) * width + index],
                        ),
                        _ => 0.0,
                    });
                }
            }
            columns.push(column);
        }
    }
    columns
}

/// A convolution with its bias, before the activation, in f64: for every position of every image the outputs of all
/// channels.
pub(crate) fn convolve(map: &Map, spec: &ConvSpec, weight: &[f32], bias: &[f32]) -> Vec<Vec<f64>> {
    let per_kernel: usize = spec.weight_shape()[1..].iter().product();
    let channels_per_group = spec.out_channels / spec.groups;
    let dot = |column: &[f64], channel: usize| -> f64 {
        let seen = &column[channel / channels_per_group * per_kernel..][..per_kernel];
        let kernel = &weight[channel * per_kernel..][..per_kernel];
        kernel.iter().zip(seen).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(bias[channel])
    };
    let outputs = |column: &Vec<f64>| (0..spec.out_channels).map(|channel| dot(column, channel)).collect();
    columns(map, spec).iter().map(outputs).collect()
}

/// The activation in f64, and the maps put in the order of a tensor `[n, channels, height, width]`.
pub(crate) fn activate(outputs: &[Vec<f64>], n: usize, activation: &Activation) -> Vec<f32> {
    let of = |x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu { slope } => {
            if x < 0.0 {
                f64::from(*slope) * x
            } else {
                x
            }
        }
        Activation::Identity => x,
        other => panic!("{other:?} is in none of these networks"),
    };
    let area = outputs.len() / n;
    let mut values = Vec::new();
    for image in outputs.chunks(area) {
        for channel in 0..image[0].len() {
            values.extend(image.iter().map(|position| of(position[channel]) as f32));
        }
    }
    values
}

/// The mean of every channel over all positions.
pub(crate) fn channel_means(outputs: &[Vec<f64>]) -> Vec<f64> {
    (0..outputs[0].len())
        .map(|channel| outputs.iter().map(|position| position[channel]).sum::<f64>() / outputs.len() as f64)
        .collect()
}
