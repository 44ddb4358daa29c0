//! One measured network, as one of our files tells of it.

use serde::Serialize;
use serde_json::Value;
use yolo_model::Architecture;

use crate::verdict::{LINE, Stock};

/// Released networks have a few zeros: weights that half precision rounded.
const DENSE: f64 = 0.01;
/// Most classes that a network is thought to have.
const MAX_CLASSES: usize = 10_000;
/// Largest relative difference of the FLOPs of one and the same architecture.
const SAME_GFLOPS: f64 = 0.02;

/// What is known of a network. Everything but the first figures may be missing in files of older versions, or of
/// commands that do not measure it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The file.
    pub(crate) source: String,
    pub(crate) weights: Option<String>,
    /// mAP50-95, 0 to 1.
    pub(crate) map: f64,
    pub(crate) map50: f64,
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    /// COCO's AP, where there were annotations.
    pub(crate) coco_ap: Option<f64>,
    pub(crate) images: Option<usize>,
    pub(crate) imgsz: Option<usize>,
    pub(crate) parameters: Option<usize>,
    /// Zeros over weights of convolutions.
    pub(crate) conv_sparsity: Option<f64>,
    /// At 640 px.
    pub(crate) gflops: Option<f64>,
    /// Without multiplications by zero.
    pub(crate) gflops_nonzero: Option<f64>,
    pub(crate) file_bytes: Option<u64>,
    /// Inference per image.
    pub(crate) ms: Option<f64>,
    /// Precision at recall 0, 0.01, … 1, at IoU 0.5, averaged over classes; empty where it was not written.
    #[serde(skip)]
    pub(crate) precision_at_recall: Vec<f64>,
    /// The classes that had objects; none where they were not written.
    #[serde(skip)]
    pub(crate) classes: Vec<ClassMap>,
}

/// How well a class is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassMap {
    pub(crate) name: String,
    /// Labels of it.
    pub(crate) instances: u64,
    /// mAP50-95, 0 to 1.
    pub(crate) map: f64,
}

impl ClassMap {
    fn read(class: &Value) -> Option<Self> {
        let name = class.get("name")?.as_str()?.to_owned();
        Some(Self { name, instances: class.get("instances")?.as_u64()?, map: class.get("map")?.as_f64()? })
    }
}

impl Entry {
    /// The network of an object with the keys of `results.json`. The error is what is missing.
    pub(crate) fn of_results(results: &Value, name: String, source: &str) -> Result<Self, String> {
        let required = |key: &str| {
            let value = results.pointer(&format!("/native/{key}")).and_then(Value::as_f64);
            value.ok_or_else(|| format!("`native.{key}` is missing"))
        };
        let number = |pointer: &str| results.pointer(pointer).and_then(Value::as_f64);
        let count = |pointer: &str| results.pointer(pointer).and_then(Value::as_u64);
        let size = |pointer: &str| count(pointer).and_then(|count| usize::try_from(count).ok());
        let list = |pointer: &str| results.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            name,
            source: source.to_owned(),
            weights: results.pointer("/model/weights").and_then(Value::as_str).map(str::to_owned),
            map: required("map")?,
            map50: required("map50")?,
            precision: required("precision")?,
            recall: required("recall")?,
            // −1 says that there is nothing of that kind.
            coco_ap: number("/coco/ap").filter(|ap| *ap >= 0.0),
            images: size("/data/images"),
            imgsz: size("/data/imgsz"),
            parameters: size("/model/parameters"),
            conv_sparsity: number("/model/conv_sparsity"),
            gflops: number("/model/gflops"),
            gflops_nonzero: number("/model/gflops_nonzero"),
            file_bytes: count("/model/file_bytes"),
            ms: number("/speed_ms/inference"),
            precision_at_recall: list("/native/precision_at_recall").filter_map(Value::as_f64).collect(),
            classes: list("/native/per_class").filter_map(ClassMap::read).collect(),
        })
    }

    /// The network of a point of a sweep.
    pub(crate) fn of_point(point: &Value, sweep: &Value, name: String, source: &str) -> Result<Self, String> {
        let required =
            |key: &str| point.get(key).and_then(Value::as_f64).ok_or_else(|| format!("`{key}` is missing"));
        let size = |key: &str| sweep.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        Ok(Self {
            name,
            source: source.to_owned(),
            weights: sweep.get("weights").and_then(Value::as_str).map(str::to_owned),
            map: required("map")?,
            map50: required("map50")?,
            precision: required("precision")?,
            recall: required("recall")?,
            coco_ap: point.get("coco_ap").and_then(Value::as_f64),
            images: size("images"),
            imgsz: size("imgsz"),
            conv_sparsity: Some(required("sparsity")?),
            gflops_nonzero: Some(required("gflops_nonzero")?),
            ..Self::default()
        })
    }

    /// The released size that this network is without having been pruned, by its parameters and FLOPs.
    pub(crate) fn stock(&self) -> Option<&'static Stock> {
        let (parameters, gflops) = (self.parameters?, self.gflops?);
        if self.conv_sparsity? >= DENSE {
            return None;
        }
        LINE.iter().find(|stock| is_size(stock.name, parameters, gflops).unwrap_or(false))
    }
}

/// Whether a fused network of the size `name` has so many parameters and GFLOPs with some number of classes.
fn is_size(name: &str, parameters: usize, gflops: f64) -> Option<bool> {
    let figures = |classes| {
        let mut architecture = Architecture::variant(name, Some(classes)).ok()?;
        architecture.fused = true;
        let summary = architecture.summary();
        Some((summary.parameters, summary.gflops))
    };
    // Every class adds as many parameters as the one before.
    let (one, two) = (figures(1)?.0, figures(2)?.0);
    let (more, step) = (parameters.checked_sub(one)?, two.checked_sub(one)?);
    if step == 0 || more % step != 0 || more / step >= MAX_CLASSES {
        return Some(false);
    }
    let (same, expected) = figures(1 + more / step)?;
    Some(same == parameters && (gflops / expected - 1.0).abs() < SAME_GFLOPS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_recognised_with_any_number_of_classes() {
        let of = |parameters, gflops, sparsity| {
            let (parameters, gflops) = (Some(parameters), Some(gflops));
            let entry = Entry { parameters, gflops, conv_sparsity: Some(sparsity), ..Entry::default() };
            entry.stock().map(|stock| stock.name)
        };
        // What `info --fuse` says of the released networks and of one with three classes.
        assert_eq!(of(1_867_405, 4.47, 0.0), Some("yolov5n"));
        assert_eq!(of(7_225_885, 16.4, 0.0), Some("yolov5s"));
        assert_eq!(of(1_867_405 - 77 * 1_353, 4.15, 0.0), Some("yolov5n"));
        assert_eq!(of(1_867_405, 4.47, 0.5), None);
        assert_eq!(of(1_867_406, 4.47, 0.0), None);
        assert_eq!(of(1_867_405, 3.0, 0.0), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let native = json!({"native": {"map": 0.3, "map50": 0.5, "precision": 0.6}});
        let error = Entry::of_results(&native, String::new(), "").unwrap_err();
        assert_eq!(error, "`native.recall` is missing");
        let full = json!({"native": {"map": 0.3, "map50": 0.5, "precision": 0.6, "recall": 0.4}, "coco": {"ap": -1.0}});
        let entry = Entry::of_results(&full, "a".to_owned(), "f").unwrap();
        assert_eq!((entry.map, entry.coco_ap, entry.ms), (0.3, None, None));
    }
}
