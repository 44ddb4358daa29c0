//! Forward pass, decoding and suppression against the reference on the same input.

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use yolo_model::weights::read_safetensors;
use yolo_model::{Architecture, Checkpoint, NmsOptions, Predictions, RawMap, Xyxy, nms};
use yolo_nn::Yolo;

use crate::{json, shared};

/// Box coordinates may differ by this from the reference, in pixels.
const BOX_TOLERANCE: f32 = 2e-3;
/// Scores may differ by this.
const SCORE_TOLERANCE: f32 = 1e-4;

/// Decoded rows per image.
fn predict(model: &Yolo, images: Tensor<4>, score_threshold: f32) -> Vec<Predictions> {
    let maps: Vec<([usize; 4], Vec<f32>)> = model
        .forward(images)
        .into_iter()
        .map(|map| (map.dims(), map.into_data().try_into_vec_as::<f32>().unwrap()))
        .collect();
    let image = |image: usize| {
        let raw: Vec<RawMap> = maps
            .iter()
            .map(|([_, channels, height, width], logits)| {
                let length = channels * height * width;
                RawMap {
                    logits: &logits[image * length..(image + 1) * length],
                    height: *height,
                    width: *width,
                }
            })
            .collect();
        model.architecture().head().decode(&raw, score_threshold)
    };
    (0..maps[0].0[0]).map(image).collect()
}

#[test]
fn rows_layers_and_detections_equal_the_reference() {
    let (Some(weights), Some(file)) =
        (shared("weights/yolov5n.pt"), shared("reference/yolov5n/forward.safetensors"))
    else {
        return;
    };
    let reference = json("reference/yolov5n/forward.json").unwrap();
    let (tensors, _) = read_safetensors(&file).unwrap();
    let device = Device::flex();
    let model = Yolo::from_checkpoint(&Checkpoint::load(&weights).unwrap().fuse().unwrap(), &device).unwrap();

    let input = tensors.require("input_u8").unwrap();
    let pixels = input.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect::<Vec<f32>>();
    let data = TensorData::new(pixels, input.shape.clone());
    let images = Tensor::<4>::from_data(data, &device);
    let layers = reference["layers"].as_array().unwrap();
    model.forward_observed(images.clone(), |index, output| {
        let expected = &layers[index];
        let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
        assert_eq!(output.dims().to_vec(), shape, "layer {index}");
        let mean = output.clone().mean().into_scalar::<f32>();
        let golden = expected["mean"].as_f64().unwrap() as f32;
        assert!((mean - golden).abs() <= 1e-4 * golden.abs().max(0.1), "layer {index}: {mean} {golden}");
    });

    let predictions = predict(&model, images, -1.0);
    compare_rows(&predictions, &tensors);
    let suppressed = json("reference/yolov5n/nms.json").unwrap();
    compare_detections(&predictions, &suppressed["conf_0_25_iou_0_45"], &NmsOptions::detection());
    let validation = NmsOptions { iou_threshold: 0.65, ..NmsOptions::validation() };
    compare_detections(&predictions, &suppressed["conf_0_001_iou_0_65_multilabel"], &validation);
}

/// The file holds, per image, the rows with the highest objectness and their indices.
fn compare_rows(predictions: &[Predictions], tensors: &yolo_model::weights::StateDict) {
    let names: Vec<&str> = tensors.names().collect();
    let (rows, indices) = (tensors.require("top_rows").unwrap(), tensors.require("top_index").unwrap());
    let [images, count, length] = rows.shape[..] else { panic!("{names:?} {:?}", rows.shape) };
    assert_eq!(images, predictions.len());
    let (values, indices) = (rows.f32s().unwrap(), indices.i64s().unwrap());
    for (k, expected) in values.chunks_exact(length).enumerate() {
        let (bbox, scores) = predictions[k / count].rows().nth(indices[k] as usize).unwrap();
        for (value, golden) in [bbox.cx, bbox.cy, bbox.w, bbox.h].iter().zip(expected) {
            assert!((value - golden).abs() <= BOX_TOLERANCE, "row {k}: {value} {golden}");
        }
        let (objectness, classes) = (expected[4], &expected[5..]);
        assert_eq!(scores.len(), classes.len());
        for (value, golden) in scores.iter().zip(classes.iter().map(|score| score * objectness)) {
            assert!((value - golden).abs() <= SCORE_TOLERANCE, "row {k}: {value} {golden}");
        }
    }
}

fn compare_detections(predictions: &[Predictions], reference: &serde_json::Value, options: &NmsOptions) {
    let reference: Vec<Vec<[f32; 6]>> = serde_json::from_value(reference.clone()).unwrap();
    for (image, expected) in predictions.iter().zip(reference) {
        let detections = nms(image, options);
        assert_eq!(detections.len(), expected.len());
        for golden in expected {
            // Almost equal scores may change places, so look the box up instead of comparing in order.
            let close = |d: &&yolo_model::Detection| {
                let Xyxy { x1, y1, x2, y2 } = d.bbox;
                let edges = [x1, y1, x2, y2];
                let boxes = edges.iter().zip(golden).all(|(v, g)| (v - g).abs() <= BOX_TOLERANCE);
                boxes && (d.score - golden[4]).abs() <= SCORE_TOLERANCE && d.class == golden[5] as usize
            };
            assert!(detections.iter().any(|d| close(&d)), "{golden:?}");
        }
    }
}

/// Fusing changes the weights and not the function, on a network whose batch norm is not the identity.
#[test]
fn fusing_keeps_the_function() {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(3);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    let names: Vec<String> =
        checkpoint.weights.names().filter(|n| n.contains(".bn.")).map(str::to_owned).collect();
    for name in names {
        for value in checkpoint.weights.get_mut(&name).unwrap().f32s_mut().into_iter().flatten() {
            *value += rand::Rng::random_range(&mut rng, 0.0..0.5);
        }
    }
    let device = Device::flex();
    let (height, width) = (64, 96);
    let images =
        Tensor::<4>::random([2, 3, height, width], burn::tensor::Distribution::Uniform(0.0, 1.0), &device);
    let logits = |checkpoint: &Checkpoint| -> Vec<f32> {
        let maps = Yolo::from_checkpoint(checkpoint, &device).unwrap().forward(images.clone());
        assert_eq!(maps[0].dims(), [2, 24, 8, 12]);
        maps.into_iter().flat_map(|map| map.into_data().try_into_vec_as::<f32>().unwrap()).collect()
    };
    let (dense, fused) = (logits(&checkpoint), logits(&checkpoint.fuse().unwrap()));
    let scale = dense.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (a, b) in dense.iter().zip(&fused) {
        assert!((a - b).abs() < 1e-4 * scale, "{a} {b}");
    }
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    let checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    let mut missing = checkpoint.clone();
    missing.weights.remove("model.2.cv1.bn.bias");
    let error = Yolo::from_checkpoint(&missing, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("model.2.cv1.bn.bias"), "{error}");
    let mut misshapen = checkpoint;
    misshapen.weights.get_mut("model.0.conv.weight").unwrap().shape = vec![16, 3, 36, 1];
    let error = Yolo::from_checkpoint(&misshapen, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("model.0.conv.weight") && error.contains("[16, 3, 36, 1]"), "{error}");
}

/// Weights times their masks, not the copies of an earlier forward pass that lie in the pickle as well.
#[test]
fn a_network_with_masks_computes_what_the_reference_does() {
    let (Some(weights), Some(input)) = (
        shared("reference/yolov5-modules/prune-masks.pt"),
        shared("reference/yolov5-modules/input-96x64.safetensors"),
    ) else {
        return;
    };
    let reference = json("reference/yolov5-modules/prune-masks.json").unwrap();
    let (tensors, _) = read_safetensors(&input).unwrap();
    let images = tensors.require("x").unwrap();
    let device = Device::flex();
    let model = Yolo::from_checkpoint(&Checkpoint::load(&weights).unwrap().fuse().unwrap(), &device).unwrap();
    let data = TensorData::new(images.f32s().unwrap().to_vec(), images.shape.clone());
    let maps = model.forward(Tensor::<4>::from_data(data, &device));
    for (map, expected) in maps.into_iter().zip(reference["heads"].as_array().unwrap()) {
        let [_, channels, rows, columns] = map.dims();
        let (anchors, outputs) = (3, channels / 3);
        let map = map.reshape([1, anchors, outputs, rows, columns]).permute([0, 1, 3, 4, 2]);
        assert_eq!(serde_json::json!(map.dims()), expected["shape"]);
        let values = map.into_data().try_into_vec_as::<f32>().unwrap();
        let first: Vec<f32> = serde_json::from_value(expected["first32"].clone()).unwrap();
        for (found, expected) in values.iter().zip(&first) {
            assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found} {expected}");
        }
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
        assert!((mean - expected["mean"].as_f64().unwrap()).abs() < 1e-5, "{mean}");
    }
}
