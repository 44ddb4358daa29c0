//! Really trained networks of the Ultralytics family on Burn, against the reference's forward pass.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::weights::{FloatFormat, StateDict, read_safetensors};
use yolo_model::{Checkpoint, NmsOptions, Predictions, RawMap, Selection, select};
use yolo_nn::{Yolo, host_values};

use super::onnxruntime::{Array, python, run};
use crate::{json, shared};

/// Logits may differ by this.
const LOGITS: f32 = 1e-4;
/// Sides of boxes may differ by this, in pixels.
const PIXELS: f32 = 1e-3;
/// Scores may differ by this.
const SCORES: f32 = 1e-5;

struct Fixture {
    checkpoint: Checkpoint,
    layers: serde_json::Value,
    tensors: StateDict,
}

fn fixture(name: &str) -> Option<Fixture> {
    let path = |what: &str| shared(&format!("reference/ultralytics/{what}"));
    Some(Fixture {
        checkpoint: Checkpoint::load(&path(&format!("{name}-demo.pt"))?).unwrap(),
        layers: json(&format!("reference/ultralytics/forward-{name}.json"))?["layers"].take(),
        tensors: read_safetensors(path(&format!("forward-{name}.safetensors"))?).unwrap().0,
    })
}

impl Fixture {
    /// `[2, 3, 256, 256]` in `[0, 1]`.
    fn images(&self, device: &Device) -> Tensor<4> {
        let input = self.tensors.require("input_u8").unwrap();
        let pixels = input.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(pixels, input.shape.clone()), device)
    }

    /// Compares the raw maps of the branches whose tensors start with `prefix`.
    fn check_logits(&self, prefix: &str, maps: &[([usize; 4], Vec<f32>)], name: &str) {
        let bins = 4 * self.bins();
        for (what, channels) in [("boxes_raw", 0..bins), ("scores_raw", bins..bins + 5)] {
            let expected = self.tensors.require(&format!("{prefix}{what}")).unwrap();
            let [images, count, cells] = expected.shape[..] else { panic!("{:?}", expected.shape) };
            assert_eq!(count, channels.len());
            let expected = expected.f32s().unwrap();
            let mut first_cell = 0;
            for ([_, width, rows, columns], values) in maps {
                for image in 0..images {
                    for channel in 0..count {
                        for cell in 0..rows * columns {
                            let at = (image * width + channels.start + channel) * rows * columns + cell;
                            let golden = expected[(image * count + channel) * cells + first_cell + cell];
                            let error = (values[at] - golden).abs();
                            assert!(error <= LOGITS, "{name} {what} {channel}: {} {golden}", values[at]);
                        }
                    }
                }
                first_cell += rows * columns;
            }
            assert_eq!(first_cell, cells);
        }
    }

    fn bins(&self) -> usize {
        self.checkpoint.architecture.head().level(0).groups[0].len().saturating_sub(5) / 4
    }
}

fn values(maps: Vec<Tensor<4>>) -> Vec<([usize; 4], Vec<f32>)> {
    maps.into_iter().map(|map| (map.dims(), host_values(map).unwrap())).collect()
}

/// Decoded rows of every image.
fn decoded(checkpoint: &Checkpoint, maps: &[([usize; 4], Vec<f32>)]) -> Vec<Predictions> {
    let image = |image: usize| {
        let raw = maps.iter().map(|([_, channels, height, width], logits)| {
            let length = channels * height * width;
            let logits = &logits[image * length..(image + 1) * length];
            RawMap { logits, height: *height, width: *width }
        });
        checkpoint.architecture.head().decode(&raw.collect::<Vec<_>>(), -1.0)
    };
    (0..maps[0].0[0]).map(image).collect()
}

#[test]
fn layers_logits_and_rows_are_the_references() {
    let device = Device::flex();
    for name in ["yolov5n", "yolov8n", "yolo11n", "yolo26n"] {
        let Some(fixture) = fixture(name) else { return };
        let prefix = if name == "yolo26n" { "one2many_" } else { "" };
        let unfused = Yolo::from_checkpoint(&fixture.checkpoint, &device).unwrap();
        let mut seen = 0;
        let maps = unfused.forward_observed(fixture.images(&device), |layer, output| {
            let expected = &fixture.layers[layer.to_string()];
            if expected.is_null() {
                return;
            }
            seen += 1;
            let found = host_values(output.clone()).unwrap();
            assert_eq!(serde_json::json!(output.dims()), expected["shape"], "{name} layer {layer}");
            check_map(&found, expected, &format!("{name} layer {layer}"));
        });
        assert_eq!(seen, fixture.layers.as_object().unwrap().len());
        let maps = values(maps);
        fixture.check_logits(prefix, &maps[..3], name);
        if name == "yolo26n" {
            fixture.check_logits("one2one_", &maps[3..], name);
        }
        let fused = fixture.checkpoint.fuse().unwrap();
        let maps = values(Yolo::from_checkpoint(&fused, &device).unwrap().forward(fixture.images(&device)));
        let expected = fixture.tensors.require(&format!("{prefix}decoded")).unwrap();
        check_rows(&decoded(&fused, &maps), expected.f32s().unwrap(), name);
    }
}

/// Mean, deviation and sums within 1e-4 of the deviation.
fn check_map(found: &[f32], expected: &serde_json::Value, what: &str) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let count = found.len() as f64;
    let mean = found.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let deviation = (found.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let absolute = found.iter().map(|&x| f64::from(x.abs())).sum::<f64>() / count;
    let limit = 1e-4 * number("std");
    for (found, golden) in
        [(mean, number("mean")), (deviation, number("std")), (absolute, number("abssum") / count)]
    {
        assert!((found - golden).abs() <= limit, "{what}: {found} {golden}");
    }
}

/// `expected` is `[images, 4 + classes, cells]`.
fn check_rows(found: &[Predictions], expected: &[f32], name: &str) {
    let per_image = expected.len() / found.len();
    for (predictions, expected) in found.iter().zip(expected.chunks_exact(per_image)) {
        let cells = predictions.len();
        assert_eq!(9 * cells, per_image, "{name}");
        for (cell, (bbox, scores)) in predictions.rows().enumerate() {
            let at = |channel: usize| expected[channel * cells + cell];
            for (side, found) in [bbox.cx, bbox.cy, bbox.w, bbox.h].into_iter().enumerate() {
                assert!((found - at(side)).abs() <= PIXELS, "{name} {cell}: {found} {}", at(side));
            }
            for (class, found) in scores.iter().enumerate() {
                assert!((found - at(4 + class)).abs() <= SCORES, "{name} {cell}: {found}");
            }
        }
    }
}

/// The end-to-end answer: the best of the one-to-one branches, without suppression.
#[test]
fn the_best_rows_are_the_references() {
    let device = Device::flex();
    let Some(fixture) = fixture("yolo26n") else { return };
    let architecture = fixture.checkpoint.architecture.clone().with_end_to_end(true);
    let checkpoint = Checkpoint { architecture, ..fixture.checkpoint.clone() };
    let fused = checkpoint.fuse().unwrap();
    assert_eq!(fused.architecture.head().selection(), Selection::Best);
    let maps = values(Yolo::from_checkpoint(&fused, &device).unwrap().forward(fixture.images(&device)));
    let options = NmsOptions { score_threshold: -1.0, ..NmsOptions::validation() };
    let expected = fixture.tensors.require("one2one_topk").unwrap().f32s().unwrap();
    for (rows, expected) in decoded(&fused, &maps).iter().zip(expected.chunks_exact(300 * 6)) {
        let found = select(rows, Selection::Best, &options);
        assert_eq!(found.len(), 300);
        for (found, golden) in found.iter().zip(expected.chunks_exact(6)) {
            assert!((found.score - golden[4]).abs() <= SCORES, "{found:?} {golden:?}");
            // Rows of nearly equal scores may change places; those above are told apart.
            if golden[4] > 1e-3 {
                let sides = [found.bbox.x1, found.bbox.y1, found.bbox.x2, found.bbox.y2];
                let worst = sides.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst <= PIXELS && found.class as f32 == golden[5], "{found:?} {golden:?}");
            }
        }
    }
}

/// onnxruntime computes the reference's rows, at a fixed size, at any, and by the one-to-one branches.
#[test]
fn exported_networks_answer_as_the_reference() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for name in ["yolov5n", "yolov8n", "yolo11n", "yolo26n"] {
        let Some(fixture) = fixture(name) else { return };
        let input = fixture.tensors.require("input_u8").unwrap();
        let values = input.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect();
        let images = Array { shape: input.shape.clone(), values };
        let answers = |checkpoint: &Checkpoint, axes: Axes| {
            let options =
                OnnxOptions { axes, outputs: Outputs::Decoded, opset: 17, precision: FloatFormat::F32 };
            checkpoint.export_onnx(&path, &options).unwrap();
            run(python, &path, &images).outputs.remove(0).1
        };
        let fixed = Axes::Fixed { batch: 2, size: [256; 2] };
        let prefix = if name == "yolo26n" { "one2many_" } else { "" };
        let expected = fixture.tensors.require(&format!("{prefix}decoded")).unwrap();
        for axes in [fixed, Axes::Dynamic] {
            let found = answers(&fixture.checkpoint, axes);
            assert_eq!(found.shape, expected.shape, "{name}");
            let numbers = found.values.iter().zip(expected.f32s().unwrap());
            let worst = numbers.map(|(found, golden)| (found - golden).abs()).fold(0.0, f32::max);
            assert!(worst <= PIXELS, "{name} {axes:?}: {worst}");
        }
        if name == "yolo26n" {
            let architecture = fixture.checkpoint.architecture.clone().with_end_to_end(true);
            let found = answers(&Checkpoint { architecture, ..fixture.checkpoint.clone() }, fixed);
            let expected = fixture.tensors.require("one2one_topk").unwrap();
            assert_eq!(found.shape, expected.shape);
            let rows = found.values.chunks_exact(6).zip(expected.f32s().unwrap().chunks_exact(6));
            for (found, golden) in rows {
                assert!((found[4] - golden[4]).abs() <= SCORES, "{found:?} {golden:?}");
                // Rows of nearly equal scores may change places; those above are told apart.
                let worst = found.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(golden[4] <= 1e-3 || worst <= PIXELS, "{found:?} {golden:?}");
            }
        }
    }
}
