//! Images for `report.html`, with the boxes of every stage.

use yolo_data::dataset::{Dataset, Item};
use yolo_data::image::{decode_file, encode_jpeg};
use yolo_data::resize::{Interpolation, resize};
use yolo_eval::metrics::ScoredBox;
use yolo_eval::{Cxcywh, Xyxy};
use yolo_report::comparison::{DrawnBox, SampleImage};
use yolo_train::Validation;

/// Images that are shown.
const SAMPLES: usize = 6;
/// Longer side of a shown image in pixels.
const LONGEST_SIDE: u32 = 640;
/// Detections with a lower score are not drawn.
const MIN_SCORE: f32 = 0.25;
const JPEG_QUALITY: u8 = 80;

/// Images from all over the data set, those with a handful of objects first; without those that cannot be
/// read.
pub fn samples(dataset: &Dataset, stages: &[Validation]) -> Vec<SampleImage> {
    let few: Vec<usize> =
        (0..dataset.items.len()).filter(|&i| (1..=8).contains(&dataset.items[i].labels.len())).collect();
    let all: Vec<usize> = (0..dataset.items.len()).collect();
    let from = if few.len() >= SAMPLES { few } else { all };
    let step = (from.len() / SAMPLES).max(1);
    let chosen = from.iter().copied().step_by(step).take(SAMPLES);
    chosen.filter_map(|item_idx| sample(dataset, item_idx, stages)).collect()
}

fn sample(dataset: &Dataset, item_idx: usize, stages: &[Validation]) -> Option<SampleImage> {
    let names = &dataset.class_names;
    let item = &dataset.items[item_idx];
    let image = decode_file(&item.image).ok()?.image;
    let (width, height) = (image.width, image.height);
    let factor = f64::from(LONGEST_SIDE) / f64::from(width.max(height));
    let shown = if factor < 1.0 {
        let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
        resize(&image, side(width), side(height), Interpolation::Area)
    } else {
        image
    };
    let bytes = encode_jpeg(&shown, JPEG_QUALITY).ok()?;
    let drawn = |class: u32, bbox: Xyxy, score: Option<f32>| DrawnBox {
        xyxy: [bbox.x1, bbox.y1, bbox.x2, bbox.y2],
        class: class as usize,
        class_name: names.get(class as usize).cloned().unwrap_or_default(),
        score,
    };
    let found = |stage: &Validation| {
        let image = stage.detections.iter().find(|image| image.item_idx == item_idx);
        let boxes = image.map(|image| image.detections.as_slice()).unwrap_or_default();
        let shown = boxes.iter().filter(|d: &&ScoredBox| d.score >= MIN_SCORE);
        shown.map(|d| drawn(d.class, d.bbox, Some(d.score))).collect()
    };
    Some(SampleImage {
        file_name: item.image.file_name()?.to_string_lossy().into_owned(),
        mime: "image/jpeg",
        bytes,
        width,
        height,
        truth: item
            .labels
            .iter()
            .map(|label| drawn(label.class, pixels(item, label.bbox_norm), None))
            .collect(),
        per_stage: stages.iter().map(found).collect(),
    })
}

/// A normalised box in pixels of its image.
fn pixels(item: &Item, bbox_norm: Cxcywh) -> Xyxy {
    let (width, height) = (item.width as f32, item.height as f32);
    let Cxcywh { cx, cy, w, h } = bbox_norm;
    Xyxy::from(Cxcywh { cx: cx * width, cy: cy * height, w: w * width, h: h * height })
}
