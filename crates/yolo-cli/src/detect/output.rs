//! The files of a run of `detect`: images with boxes, labels, crops, a table.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use yolo_data::image::{Encoding, JPEG_QUALITY, RgbImage, encode};
use yolo_detect::feature_maps::FeatureMap;
use yolo_draw::{BoxAnnotation, Style, annotate, cut_out};
use yolo_eval::Xyxy;
use yolo_eval::metrics::ScoredBox;
use yolo_report::detections::{CSV_TITLES, csv_line, label_lines};
use yolo_report::format::class_name;

use crate::args::DetectArgs;
use crate::run_dir::{RunDir, remove};

/// Lines of boxes are at least this many pixels wide.
const MIN_LINE: u32 = 3;

/// Writes what was asked for.
pub(crate) struct Files<'a> {
    args: &'a DetectArgs,
    run: &'a RunDir,
    names: &'a [String],
    taken: Stems,
    crops: Stems,
    table: String,
    /// Label files written.
    pub(crate) labels: u64,
    /// Whether anything was written.
    pub(crate) any: bool,
}

impl<'a> Files<'a> {
    pub(crate) fn new(args: &'a DetectArgs, run: &'a RunDir, names: &'a [String]) -> Self {
        let table = CSV_TITLES.to_owned();
        let (taken, crops) = (Stems::default(), Stems::default());
        Self { args, run, names, taken, crops, table, labels: 0, any: false }
    }

    /// What the files of an image or video are called, without extension: its own name, with a number where an
    /// earlier one had the same. `source` is what messages call it.
    pub(crate) fn stem(&mut self, of: &str, source: &str) -> String {
        let stem = self.taken.take(of, "_2");
        if stem != of {
            tracing::warn!(
                "{source}: another source is called {of}, so the files of this one are called {stem}"
            );
        }
        stem
    }

    /// Labels, crops and lines of the table. `stem` names the label file, `file` the image in the table. A label file of an
    /// earlier run in the same folder goes if there is nothing to write.
    pub(crate) fn detections(
        &mut self,
        stem: &str,
        file: &str,
        image: &RgbImage,
        found: &[ScoredBox],
    ) -> Result<()> {
        if found.is_empty() {
            return match self.args.save_txt && self.args.run.exist_ok {
                true => remove(&self.run.path().join(format!("labels/{stem}.txt"))),
                false => Ok(()),
            };
        }
        if self.args.save_txt {
            let size = (image.width, image.height);
            let text = label_lines(found.iter().rev(), size, self.args.save_format, self.args.save_conf);
            self.write(&format!("labels/{stem}.txt"), text.as_bytes())?;
            self.labels += 1;
        }
        for detection in found.iter().rev() {
            let name = class_name(self.names, detection.class);
            if self.args.save_csv {
                self.table += &csv_line(file, name, detection.score);
            }
            if self.args.save_crop {
                self.crop(stem, name, image, detection.bbox)?;
            }
        }
        Ok(())
    }

    fn crop(&mut self, stem: &str, name: &str, image: &RgbImage, bbox: Xyxy) -> Result<()> {
        let Some(cut) = cut_out(image, bbox) else { return Ok(()) };
        let path = self.crops.take(&format!("crops/{}/{stem}", folder_name(name)), "2");
        let bytes = encode(&cut, Encoding::JpegFullColor(JPEG_QUALITY))?;
        self.write(&format!("{path}.jpg"), &bytes)
    }

    /// An image with boxes, in the format that it came in.
    pub(crate) fn image(&mut self, stem: &str, from: &Path, image: &RgbImage) -> Result<()> {
        let extension = from.extension().and_then(|extension| extension.to_str()).unwrap_or("jpg");
        let encoding = Encoding::of_extension(extension);
        let extension = if encoding.is_some() { extension } else { "jpg" };
        let bytes = encode(image, encoding.unwrap_or(Encoding::Jpeg(JPEG_QUALITY)))
            .with_context(|| from.display().to_string())?;
        self.write(&format!("{stem}.{extension}"), &bytes)
    }

    /// A picture and an array of a layer.
    pub(crate) fn feature_map(&mut self, stem: &str, map: &FeatureMap) -> Result<()> {
        let file = format!("features/{stem}/stage{}_{}_features", map.layer, map.kind);
        self.write(&format!("{file}.png"), &encode(&map.picture(), Encoding::Png)?)?;
        self.write(&format!("{file}.npy"), &map.npy())
    }

    /// The table, where it was asked for.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if !self.args.save_csv {
            return Ok(());
        }
        let table = std::mem::take(&mut self.table);
        self.write("predictions.csv", table.as_bytes())
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.run.write(name, content)?;
        self.any = true;
        Ok(())
    }
}

/// Draws what was found over `image`, the surest on top.
pub(crate) fn draw(image: &mut RgbImage, found: &[ScoredBox], names: &[String], args: &DetectArgs) {
    let (width, height) = (image.width, image.height);
    let line = args.line_thickness.unwrap_or(Style::for_size(width, height).line_width.max(MIN_LINE));
    let label = |d: &ScoredBox| match (args.hide_labels, args.hide_conf) {
        (true, _) => String::new(),
        (false, true) => class_name(names, d.class).to_owned(),
        (false, false) => format!("{} {:.2}", class_name(names, d.class), d.score),
    };
    let annotation = |d: &ScoredBox| BoxAnnotation { bbox: d.bbox, class: d.class as usize, label: label(d) };
    let boxes: Vec<BoxAnnotation> = found.iter().rev().map(annotation).collect();
    annotate(image, &boxes, &Style::with_line_width(width, height, line));
}

/// Names that are in use.
#[derive(Debug, Default)]
struct Stems(HashSet<String>);

impl Stems {
    /// `wanted`, or with a number behind it: `first` for the second of a name, then the numbers that follow.
    fn take(&mut self, wanted: &str, first: &str) -> String {
        let separator = first.trim_end_matches('2');
        let numbered = |number: u32| match number {
            1 => wanted.to_owned(),
            _ => format!("{wanted}{separator}{number}"),
        };
        let free = (1..).map(numbered).find(|name| !self.0.contains(name)).unwrap_or_default();
        self.0.insert(free.clone());
        free
    }
}

/// The name of a class as that of a folder: nothing in it leads elsewhere.
fn folder_name(name: &str) -> String {
    let letter = |c: char| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c };
    let name: String = name.chars().map(letter).collect();
    if name.trim_matches(['.', ' ']).is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once() {
        let mut stems = Stems::default();
        let taken = ["a", "a", "a_2", "a"].map(|name| stems.take(name, "_2"));
        assert_eq!(taken, ["a", "a_2", "a_2_2", "a_3"]);
        assert_eq!(stems.take("a", "2"), "a2");
    }

    #[test]
    fn names_of_classes_stay_in_their_folder() {
        assert_eq!(folder_name("traffic light"), "traffic light");
        assert_eq!(folder_name("../up"), ".._up");
        assert_eq!(folder_name(".."), "_");
    }
}
