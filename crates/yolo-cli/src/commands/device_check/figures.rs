//! The figures of a network that is validated on the device, beside those on the processor.

use anyhow::Result;
use yolo_data::dataset::Split;
use yolo_detect::convention_of;
use yolo_device::{Backend, loader_threads};
use yolo_measure::figures::Measurement;
use yolo_train::ValidationOptions;
use yolo_train::device_check::Row;

use crate::args::DeviceCheckArgs;
use crate::image_size::fitting;
use crate::measure::{CocoOptions, EvaluationSet, check_classes, open_split};
use crate::presets::usual_image_size;
use crate::resolve::{Weights, data_config};

/// Difference of mAP in single precision.
const SINGLE: f64 = 0.002;
/// In half.
const HALF: f64 = 0.005;

/// On the device called `name`, in single precision and, if it `has_half`, in half.
pub(super) fn check(
    args: &DeviceCheckArgs,
    weights: &Weights,
    name: &str,
    has_half: bool,
) -> Result<Vec<Row>> {
    let dataset = open_split(&data_config(&args.data)?, Split::Val, false, None)?;
    check_classes(&weights.checkpoint, &weights.path, &dataset, &args.data, false)?;
    let images = dataset.items.len();
    let evaluation_set = EvaluationSet::new(dataset, &CocoOptions::default())?;
    let network = weights.checkpoint.fuse()?;
    let size = fitting(usual_image_size(&args.data), network.architecture.max_stride());
    let usual = ValidationOptions::by(convention_of(&network.architecture), size);
    let options = ValidationOptions { batch_size: 16, workers: loader_threads(None), ..usual };
    let measure = |device: &str, half: bool| -> Result<[f64; 3]> {
        let backend = Backend::open(device, true)?.with_half(half)?;
        let detector = backend.detector(network.borrowed())?;
        Ok(figures(&evaluation_set.measure_quietly(&detector, &backend, &options, |_| {}, |_| {})?))
    };
    let expected = measure("cpu", false)?;
    let mut rows = vec![row(args.weights.display(), images, "f32", measure(name, false)?, expected, SINGLE)];
    // A processor takes fifteen times as long in half precision.
    if has_half && !args.quick {
        rows.push(row(args.weights.display(), images, "half", measure(name, true)?, expected, HALF));
    }
    Ok(rows)
}

/// mAP50, mAP50-95 and COCO's AP; mAP50-95 again if there are no annotations.
fn figures(measurement: &Measurement) -> [f64; 3] {
    let native = &measurement.validation.native;
    let ap = measurement.coco.as_ref().map_or(native.map, |coco| coco.ap);
    [native.map50, native.map, ap]
}

fn row(
    weights: std::path::Display,
    images: usize,
    format: &str,
    got: [f64; 3],
    expected: [f64; 3],
    limit: f64,
) -> Row {
    let difference =
        got.iter().zip(expected).map(|(got, expected)| (got - expected).abs()).fold(0.0, f64::max);
    let [map50, map, ap] = got;
    let detail = format!("mAP50 {map50:.4}, mAP {map:.4}, AP {ap:.4}");
    Row::at_most(format!("figures of {weights} on {images} images, {format}"), difference, limit, &detail)
}
