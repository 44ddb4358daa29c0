//! What `detect` finds: the object that `--json` prints, and lines of text about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yolo_eval::metrics::ScoredBox;
use yolo_eval::{Cxcywh, Xyxy};

use crate::format::{class_name, general, unit_count};
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

/// How boxes are written in text files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxFormat {
    /// Centre x, centre y, width, height: YOLO's labels.
    Cxcywh,
    /// Left, top, right, bottom.
    Xyxy,
}

/// A line per detection: class, the box as fractions of an image of `(width, height)`, and the score if asked for; six
/// significant digits each.
pub fn label_lines<'a>(
    found: impl Iterator<Item = &'a ScoredBox>,
    (width, height): (u32, u32),
    format: BoxFormat,
    with_score: bool,
) -> String {
    let (width, height) = (width as f32, height as f32);
    let line = |d: &ScoredBox| {
        let Xyxy { x1, y1, x2, y2 } = d.bbox;
        let mut numbers = vec![d.class as f32];
        match format {
            BoxFormat::Cxcywh => {
                let b = Cxcywh::from(d.bbox);
                numbers.extend([b.cx / width, b.cy / height, b.w / width, b.h / height]);
            }
            BoxFormat::Xyxy => numbers.extend([x1 / width, y1 / height, x2 / width, y2 / height]),
        }
        numbers.extend(with_score.then_some(d.score));
        let numbers: Vec<String> = numbers.iter().map(|number| general(f64::from(*number), 6)).collect();
        format!("{}\n", numbers.join(" "))
    };
    found.map(line).collect()
}

/// Titles of a table of detections.
pub const CSV_TITLES: &str = "Image Name,Prediction,Confidence\n";

/// A line of that table.
pub fn csv_line(file: &str, class_name: &str, score: f32) -> String {
    format!("{},{},{score:.2}\n", quoted(file), quoted(class_name))
}

/// A field of a table of comma-separated values.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
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

    #[test]
    fn labels_are_fractions_of_the_image_and_the_surest_comes_last() {
        let found = [
            ScoredBox { bbox: Xyxy::new(20.0, 10.0, 60.0, 30.0), score: 0.9, class: 2 },
            ScoredBox { bbox: Xyxy::new(0.0, 0.0, 200.0, 100.0), score: 0.5, class: 0 },
        ];
        let text = label_lines(found.iter().rev(), (200, 100), BoxFormat::Cxcywh, false);
        assert_eq!(text, "0 0.5 0.5 1 1\n2 0.2 0.2 0.2 0.2\n");
        let text = label_lines(found.iter().rev(), (200, 100), BoxFormat::Xyxy, true);
        assert_eq!(text, "0 0 0 1 1 0.5\n2 0.1 0.1 0.3 0.3 0.9\n");
    }

    #[test]
    fn fields_with_commas_are_quoted() {
        assert_eq!(quoted("a.jpg"), "a.jpg");
        assert_eq!(quoted("a, \"b\".jpg"), "\"a, \"\"b\"\".jpg\"");
    }
}
