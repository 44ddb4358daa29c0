//! What `detect` says: a line per image, and all of it as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use yolo_data::image::RgbImage;
use yolo_detect::{Detected, SpeedMs};
use yolo_eval::metrics::ScoredBox;

use crate::format::class_name;
use crate::results::{SCHEMA, Times};

/// The JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    schema: u32,
    weights: String,
    source: String,
    /// Height and width.
    imgsz: [u32; 2],
    pub(crate) results: Vec<Picture>,
    pub(crate) skipped: Vec<Skipped>,
    /// Means over all images.
    pub(crate) speed_ms: Times,
    /// Null where nothing was written.
    pub(crate) save_dir: Option<String>,
}

/// An image or a frame of a video.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    source: String,
    /// Number in its video, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    width: u32,
    height: u32,
    /// Height and width of the network's input.
    network: [usize; 2],
    /// Best first.
    detections: Vec<Object>,
    speed_ms: Times,
}

#[derive(Debug, Serialize)]
struct Object {
    class: u32,
    name: String,
    confidence: f32,
    /// Left, top, right, bottom in pixels.
    xyxy: [i64; 4],
}

/// Something that could not be looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) source: String,
    pub(crate) error: String,
}

impl Account {
    pub(crate) fn new(weights: String, source: String, (height, width): (u32, u32)) -> Self {
        Self {
            schema: SCHEMA,
            weights,
            source,
            imgsz: [height, width],
            results: Vec::new(),
            skipped: Vec::new(),
            speed_ms: Times::default(),
            save_dir: None,
        }
    }
}

impl Picture {
    pub(crate) fn new(
        source: &str,
        frame: Option<u64>,
        image: &RgbImage,
        found: &Detected,
        names: &[String],
    ) -> Self {
        let object = |d: &ScoredBox| Object {
            class: d.class,
            name: class_name(names, d.class).to_owned(),
            confidence: d.score,
            xyxy: [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(|edge| edge as i64),
        };
        let [_, _, height, width] = found.speed.shape;
        Self {
            source: source.to_owned(),
            frame,
            width: image.width,
            height: image.height,
            network: [height, width],
            detections: found.boxes.iter().map(object).collect(),
            speed_ms: Times::from(&found.speed),
        }
    }
}

/// Times of many images.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) images: u64,
    sum: Times,
}

impl Totals {
    pub(crate) fn add(&mut self, speed: &SpeedMs) {
        self.images += 1;
        self.sum.preprocess += speed.preprocess;
        self.sum.inference += speed.inference;
        self.sum.nms += speed.nms;
    }

    /// Milliseconds per image.
    pub(crate) fn mean(&self) -> Times {
        let per_image = |total: f64| total / self.images.max(1) as f64;
        Times {
            preprocess: per_image(self.sum.preprocess),
            inference: per_image(self.sum.inference),
            nms: per_image(self.sum.nms),
        }
    }

    /// The closing line.
    pub(crate) fn line(&self, (height, width): (u32, u32)) -> String {
        let Times { preprocess, inference, nms } = self.mean();
        let shape = [1, 3, height as usize, width as usize];
        crate::table::speed_line(&SpeedMs { preprocess, inference, nms, shape })
    }
}

/// How many of each class, by number of class: `4 persons, 1 bus`, or `(no detections)`.
pub(crate) fn counts(classes: &BTreeMap<u32, u64>, names: &[String]) -> String {
    if classes.is_empty() {
        return "(no detections)".to_owned();
    }
    let count = |(class, count): (&u32, &u64)| {
        format!("{count} {}{}", class_name(names, *class), if *count > 1 { "s" } else { "" })
    };
    classes.iter().map(count).collect::<Vec<_>>().join(", ")
}

/// How many boxes there are of each class.
pub(crate) fn tally(found: &[ScoredBox], into: &mut BTreeMap<u32, u64>) {
    for detection in found {
        *into.entry(detection.class).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_in_their_order() {
        let names = ["person", "bus"].map(str::to_owned);
        let found = [1, 0, 0, 7].map(|class| ScoredBox { bbox: Default::default(), score: 0.5, class });
        let mut classes = BTreeMap::new();
        assert_eq!(counts(&classes, &names), "(no detections)");
        tally(&found, &mut classes);
        assert_eq!(counts(&classes, &names), "2 persons, 1 bus, 1 ?");
    }
}
