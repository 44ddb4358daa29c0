//! What `detect` finds: the object that `--json` prints, and lines of text about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yolo_eval::metrics::ScoredBox;

use crate::format::{class_name, unit_count};
use crate::results::{SCHEMA, SpeedFigures, Times};
use crate::table::speed_line;

/// What `detect --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detections {
    /// Version of the layout: [`SCHEMA`].
    pub schema: u32,
    /// The files of the networks.
    pub weights: String,
    /// What was looked at, as it was named.
    pub source: String,
    /// Height and width.
    pub imgsz: [u32; 2],
    /// Images and frames in their order.
    pub results: Vec<DetectedImage>,
    /// What could not be read.
    pub skipped: Vec<Skipped>,
    /// Means over all images.
    pub speed_ms: Times,
    /// The folder of the files; null if none were written.
    pub save_dir: Option<String>,
}

/// An image or a frame of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectedImage {
    /// File or stream.
    pub source: String,
    /// Number in its video, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
    /// Height and width of the network's input.
    pub network: [usize; 2],
    /// Best first.
    pub detections: Vec<Object>,
    /// Milliseconds of this image.
    pub speed_ms: Times,
}

/// One detection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Class index.
    pub class: u32,
    /// Name of the class.
    pub name: String,
    /// Score in `[0, 1]`.
    pub confidence: f32,
    /// Left, top, right, bottom in pixels of the image.
    pub xyxy: [i64; 4],
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// File or stream.
    pub source: String,
    /// Why.
    pub error: String,
}

impl Detections {
    /// Nothing found yet.
    pub fn new(weights: String, source: String, (height, width): (u32, u32)) -> Self {
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

impl DetectedImage {
    /// The boxes `found` in an image of `(width, height)`, in the time `speed`.
    pub fn new(
        source: &str,
        frame: Option<u64>,
        (width, height): (u32, u32),
        found: &[ScoredBox],
        speed: &SpeedFigures,
        names: &[String],
    ) -> Self {
        let object = |d: &ScoredBox| Object {
            class: d.class,
            name: class_name(names, d.class).to_owned(),
            confidence: d.score,
            xyxy: [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(|edge| edge as i64),
        };
        let [_, _, input_height, input_width] = speed.shape;
        Self {
            source: source.to_owned(),
            frame,
            width,
            height,
            network: [input_height, input_width],
            detections: found.iter().map(object).collect(),
            speed_ms: speed.times(),
        }
    }
}

/// Times of many images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Images that were added.
    pub images: u64,
    sum: Times,
}

impl Totals {
    /// Adds the times of an image.
    pub fn add(&mut self, speed: &SpeedFigures) {
        self.images += 1;
        self.sum.preprocess += speed.preprocess;
        self.sum.inference += speed.inference;
        self.sum.nms += speed.nms;
    }

    /// Milliseconds per image.
    pub fn mean(&self) -> Times {
        let per_image = |total: f64| total / self.images.max(1) as f64;
        Times {
            preprocess: per_image(self.sum.preprocess),
            inference: per_image(self.sum.inference),
            nms: per_image(self.sum.nms),
        }
    }

    /// The closing line, for a network of this input height and width.
    pub fn line(&self, (height, width): (u32, u32)) -> String {
        let Times { preprocess, inference, nms } = self.mean();
        let shape = [1, 3, height as usize, width as usize];
        speed_line(&SpeedFigures { preprocess, inference, nms, shape })
    }
}

/// How many objects of each class were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts(BTreeMap<u32, u64>);

impl ClassCounts {
    /// Adds the boxes of an image.
    pub fn add(&mut self, found: &[ScoredBox]) {
        for detection in found {
            *self.0.entry(detection.class).or_default() += 1;
        }
    }

    /// By number of class: `4 persons, 1 bus`, or `(no detections)`.
    pub fn line(&self, names: &[String]) -> String {
        if self.0.is_empty() {
            return "(no detections)".to_owned();
        }
        let count = |(class, count): (&u32, &u64)| unit_count(*count as usize, class_name(names, *class));
        self.0.iter().map(count).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_in_their_order() {
        let names = ["person", "bus"].map(str::to_owned);
        let found = [1, 0, 0, 7].map(|class| ScoredBox { bbox: Default::default(), score: 0.5, class });
        let mut classes = ClassCounts::default();
        assert_eq!(classes.line(&names), "(no detections)");
        classes.add(&found);
        assert_eq!(classes.line(&names), "2 persons, 1 bus, 1 ?");
    }
}
