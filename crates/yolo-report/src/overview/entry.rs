//! One measured network, as one of our files describes it.

use serde::Serialize;

use crate::comparison::DENSE;
use crate::published::Stock;
use crate::results::{ClassFigures, Results};
use crate::sweep::{Point, SweepResults};

/// What is known of a network. What is `None` was not measured, or was not written by an older version.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// The file that was read.
    pub source: String,
    /// The file of the network.
    pub weights: Option<String>,
    /// mAP50-95, 0 to 1.
    pub map: f64,
    /// mAP50, 0 to 1.
    pub map50: f64,
    /// 0 to 1.
    pub precision: f64,
    /// 0 to 1.
    pub recall: f64,
    /// COCO's AP, if there were annotations.
    pub coco_ap: Option<f64>,
    /// Images that it was measured on.
    pub images: Option<usize>,
    /// Their long side in pixels.
    pub imgsz: Option<usize>,
    /// Parameters, fused.
    pub parameters: Option<usize>,
    /// Zeros over weights of convolutions.
    pub conv_sparsity: Option<f64>,
    /// At 640 px.
    pub gflops: Option<f64>,
    /// Without multiplications by zero.
    pub gflops_nonzero: Option<f64>,
    /// Size of the file.
    pub file_bytes: Option<u64>,
    /// Milliseconds of inference per image.
    pub ms: Option<f64>,
    /// Precision at recall 0, 0.01, … 1, at IoU 0.5, averaged over classes; empty if it was not written.
    #[serde(skip)]
    pub precision_at_recall: Vec<f64>,
    /// The classes that had objects; none if they were not written.
    #[serde(skip)]
    pub classes: Vec<ClassMap>,
}

/// How well a class is found.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap {
    /// Its name.
    pub name: String,
    /// Labelled objects.
    pub instances: usize,
    /// mAP50-95, 0 to 1.
    pub map: f64,
}

impl Entry {
    /// The network of `results`, which were read from `source`.
    pub fn of_results(results: &Results, name: String, source: &str) -> Self {
        let Results { model, data, native, coco, speed_ms, .. } = results;
        let class = |class: &ClassFigures| ClassMap {
            name: class.name.clone(),
            instances: class.instances,
            map: class.map,
        };
        Self {
            name,
            source: source.to_owned(),
            weights: Some(model.weights.clone()),
            map: native.map,
            map50: native.map50,
            precision: native.precision,
            recall: native.recall,
            // −1 means that there is nothing of that kind.
            coco_ap: coco.map(|coco| coco.ap).filter(|ap| *ap >= 0.0),
            images: Some(data.images),
            imgsz: Some(data.imgsz),
            parameters: Some(model.parameters),
            conv_sparsity: Some(model.conv_sparsity),
            gflops: Some(model.gflops),
            gflops_nonzero: model.gflops_nonzero,
            file_bytes: model.file_bytes,
            ms: Some(speed_ms.inference),
            precision_at_recall: native.precision_at_recall.clone(),
            classes: native.per_class.iter().map(class).collect(),
        }
    }

    /// The network of a point of `sweep`, which was read from `source`.
    pub fn of_point(point: &Point, sweep: &SweepResults, name: String, source: &str) -> Self {
        Self {
            name,
            source: source.to_owned(),
            weights: Some(sweep.weights.clone()),
            map: point.map,
            map50: point.map50,
            precision: point.precision,
            recall: point.recall,
            coco_ap: point.coco_ap,
            images: Some(sweep.images),
            imgsz: Some(sweep.imgsz),
            conv_sparsity: Some(point.sparsity),
            gflops_nonzero: Some(point.gflops_nonzero),
            ..Self::default()
        }
    }

    /// The released size that this network is without having been pruned, by its parameters and FLOPs.
    pub fn stock(&self) -> Option<&'static Stock> {
        if self.conv_sparsity? >= DENSE {
            return None;
        }
        Stock::of_figures(self.parameters?, self.gflops?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pruned_network_is_no_released_size() {
        let of = |sparsity| {
            let (parameters, gflops) = (Some(1_867_405), Some(4.47));
            let entry = Entry { parameters, gflops, conv_sparsity: Some(sparsity), ..Entry::default() };
            entry.stock().map(|stock| stock.name)
        };
        assert_eq!((of(0.0), of(0.5)), (Some("yolov5n"), None));
    }
}
