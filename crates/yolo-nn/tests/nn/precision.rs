//! Networks in half and in mixed precision, beside the same in single.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use rand::SeedableRng;
use yolo_model::architecture::variant_yaml;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::{HalfFormat, NamedValues, Yolo, host_values};

/// 11 bits of precision, some sixty convolutions in a row.
const FP16: f64 = 1e-2;
/// 8 bits.
const BF16: f64 = 8e-2;

/// A YOLOv5n whose signal does not fade, since the scales of its batch normalisations are above 1.
fn checkpoint() -> Checkpoint {
    let architecture = Architecture::from_yaml(variant_yaml("yolov5n").unwrap(), Some(3)).unwrap();
    let mut checkpoint = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(4)).unwrap();
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        checkpoint.weights.get_mut(&conv.bn("weight")).unwrap().f32s_mut().unwrap().fill(2.5);
    }
    checkpoint
}

fn images(device: &Device) -> Tensor<4> {
    let value = |i: i64| 0.5 + 0.5 * (i as f32 * 0.37).sin() * (i as f32 * 0.011).cos();
    let values: Vec<f32> = (0..2 * 3 * 64 * 96).map(value).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, [2, 3, 64, 96]), device)
}

fn error(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let size = norm(&mut expected.iter().copied());
    assert!(size > 0.0);
    norm(&mut got.iter().zip(expected).map(|(g, e)| g - e)) / size
}

#[test]
fn a_network_in_half_computes_nearly_the_same() {
    let device = Device::flex();
    let single = Yolo::from_checkpoint(&checkpoint().fuse().unwrap(), &device).unwrap();
    let expected = single.forward(images(&device));
    for (format, dtype, limit) in
        [(HalfFormat::Fp16, DType::F16, FP16), (HalfFormat::Bf16, DType::BF16, BF16)]
    {
        let half = single.clone().in_half(format);
        let maps = half.forward_observed(images(&device).cast(format.dtype()), |layer, output| {
            assert_eq!(output.dtype(), dtype, "layer {layer}");
        });
        for (map, expected) in maps.into_iter().zip(&expected) {
            assert_eq!(map.dtype(), dtype);
            let error = error(&host_values(map).unwrap(), &host_values(expected.clone()).unwrap());
            // Equal values would mean that nothing was rounded.
            assert!(error > 0.0 && error < limit, "{format}: {error}");
        }
    }
    // The network that it was made from keeps its format.
    assert_eq!(single.forward(images(&device))[0].dtype(), DType::F32);
}

/// Deep networks with random weights multiply every rounding: a shallow one shows what the formats do.
const SHALLOW: &str = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [16, 16]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3, [16]]
  - [-1, 1, Conv, [24, 3, 2]]
head:
  - [-1, 1, C3, [24, False]]
  - [[4], 1, Detect, [nc, anchors]]
";

/// A factor that keeps gradients within the range of half precision, as loss scaling does.
const SCALE: f32 = 256.0;

/// Logits, gradients of their sum of squares times `SCALE`, and running statistics.
fn trained(model: &Yolo, device: &Device) -> (Vec<f32>, Vec<NamedValues>, Vec<NamedValues>) {
    let maps = model.forward(images(device));
    assert!(maps.iter().all(|map| map.dtype() == DType::F32), "logits are in single precision");
    let logits = maps.iter().flat_map(|map| host_values(map.clone()).unwrap()).collect();
    let loss = maps.into_iter().map(|map| map.square().mean()).reduce(|a, b| a + b).unwrap();
    let gradients = model.gradients(&loss.mul_scalar(SCALE).backward()).unwrap();
    (logits, gradients, model.running_statistics().unwrap())
}

#[test]
fn mixed_precision_trains_weights_in_single_precision() {
    let device = Device::flex().autodiff();
    let shallow = {
        let architecture = Architecture::from_yaml(SHALLOW, None).unwrap();
        Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(4)).unwrap()
    };
    let network = || Yolo::from_checkpoint(&shallow, &device).unwrap();
    let (logits, gradients, statistics) = trained(&network(), &device);
    for (format, limit) in [(HalfFormat::Fp16, 2.0 * FP16), (HalfFormat::Bf16, 2.0 * BF16)] {
        let mixed = network().in_mixed_precision(format);
        let (got, got_gradients, got_statistics) = trained(&mixed, &device);
        assert!(error(&got, &logits) < limit, "{format}: {}", error(&got, &logits));
        assert_eq!(got_gradients.len(), gradients.len());
        let all =
            |values: &[NamedValues]| -> Vec<f32> { values.iter().flat_map(|(_, v)| v.clone()).collect() };
        let gradient_error = error(&all(&got_gradients), &all(&gradients));
        assert!(gradient_error > 0.0 && gradient_error < 2.0 * limit, "{format}: {gradient_error}");
        let statistics_error = error(&all(&got_statistics), &all(&statistics));
        assert!(statistics_error < limit, "{format}: {statistics_error}");
    }
}

#[test]
fn formats_are_those_of_burn() {
    assert_eq!(HalfFormat::Fp16.dtype(), FloatDType::F16);
    assert_eq!(HalfFormat::Bf16.dtype(), FloatDType::BF16);
    assert_eq!(HalfFormat::Bf16.to_string(), "bf16");
}
