//! The released yolov5n.pt, as PyTorch reads it.

use std::path::PathBuf;

use yolo_model::weights::{PlainValue, TorchCheckpoint, Values, read_torch};

/// Sums in another order and precision differ by rounding only.
const RELATIVE: f64 = 1e-4;
/// For sums that cancel to almost nothing.
const ABSOLUTE: f64 = 1e-6;

fn shared(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path)
}

fn released() -> Option<(TorchCheckpoint, serde_json::Value)> {
    let path = shared("weights/yolov5n.pt");
    let Ok(reference) = std::fs::read(shared("reference/yolov5n/weights.json")) else {
        eprintln!("skipped: no reference beside {}", path.display());
        return None;
    };
    Some((read_torch(path).unwrap(), serde_json::from_slice(&reference).unwrap()))
}

#[test]
fn every_tensor_has_the_name_place_shape_and_sums_that_pytorch_gives() {
    let Some((checkpoint, reference)) = released() else { return };
    let expected = reference["state_dict"].as_array().unwrap();
    assert_eq!(expected.len(), 349);
    let names: Vec<_> = checkpoint.state.names().collect();
    let expected_names: Vec<_> = expected.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!(names, expected_names);
    for (entry, (name, tensor)) in expected.iter().zip(checkpoint.state.iter()) {
        assert_eq!(serde_json::json!(tensor.shape), entry["shape"], "{name}");
        let values: Vec<f64> = match &tensor.values {
            Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Values::I64(values) => values.iter().map(|value| *value as f64).collect(),
        };
        assert_eq!(matches!(tensor.values, Values::I64(_)), name.ends_with("num_batches_tracked"), "{name}");
        let abs_sum: f64 = values.iter().map(|value| value.abs()).sum();
        let tolerance = RELATIVE * abs_sum + ABSOLUTE;
        let close = |found: f64, key: &str| (found - entry[key].as_f64().unwrap()).abs() <= tolerance;
        assert!(close(values.iter().sum(), "sum") && close(abs_sum, "abs_sum"), "{name}");
    }
}

#[test]
fn the_file_says_what_the_network_is() {
    let Some((checkpoint, reference)) = released() else { return };
    let names = checkpoint.class_names.unwrap();
    assert_eq!(serde_json::json!(names), reference["names"]);
    assert_eq!(names.len(), 80);
    assert_eq!(checkpoint.strides.unwrap(), [8.0, 16.0, 32.0]);
    assert_eq!(checkpoint.num_classes, Some(80));
    assert_eq!((checkpoint.epoch, checkpoint.used_ema), (Some(-1), false));
    assert_eq!(checkpoint.date.as_deref(), Some("2022-02-08T18:24:20.515893"));
    let config = checkpoint.config.unwrap();
    assert_eq!(config.get("width_multiple").and_then(PlainValue::as_float), Some(0.25));
    assert_eq!(config.to_json()["backbone"].as_array().unwrap().len(), 10);
    assert_eq!(checkpoint.hyp.unwrap().get("momentum").and_then(PlainValue::as_float), Some(0.937));
}

#[test]
fn modules_keep_their_class_and_hyper_parameters() {
    let Some((checkpoint, _)) = released() else { return };
    let module = checkpoint.module.unwrap();
    assert_eq!(module.class, "models.yolo.Model");
    assert_eq!(module.child("model").unwrap().children.len(), 25);
    let conv = module.descendant("model.0.conv").unwrap();
    assert_eq!(conv.class, "torch.nn.modules.conv.Conv2d");
    let pair = |value| PlainValue::Tuple(vec![PlainValue::Int(value), PlainValue::Int(value)]);
    assert_eq!(conv.attribute("kernel_size"), Some(&pair(6)));
    assert_eq!(conv.attribute("stride"), Some(&pair(2)));
    let bn = module.descendant("model.0.bn").unwrap();
    assert_eq!(bn.attribute("eps").and_then(PlainValue::as_float), Some(0.001));
    assert_eq!(module.descendant("model.24").unwrap().class_name(), "Detect");
}
