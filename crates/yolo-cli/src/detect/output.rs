//! The files of a run of `detect`: images with boxes, labels, crops, a table.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use yolo_data::image::{Encoding, JPEG_QUALITY, RgbImage, encode};
use yolo_draw::{BoxAnnotation, Style, annotate};
use yolo_eval::metrics::ScoredBox;
use yolo_eval::{Cxcywh, Xyxy};

use crate::args::{DetectArgs, SaveFormatArg};
use crate::format::{class_name, general};
use crate::run_dir::RunDir;

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
        let table = "Image Name,Prediction,Confidence\n".to_owned();
        let (taken, crops) = (Stems::default(), Stems::default());
        Self { args, run, names, taken, crops, table, labels: 0, any: false }
    }

    /// What the files of an image or video are called, without extension: its own name, with a number where an
    /// earlier one had the same.
    pub(crate) fn stem(&mut self, of: &str) -> String {
        let stem = self.taken.take(of, "_2");
        if stem != of {
            tracing::warn!("there is another {of} already: what belongs to this one is called {stem}");
        }
        stem
    }

    /// Labels, crops and lines of the table. `stem` names the label file, `file` the image in the table.
    pub(crate) fn detections(
        &mut self,
        stem: &str,
        file: &str,
        image: &RgbImage,
        found: &[ScoredBox],
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        if self.args.save_txt {
            let text = label_lines(found, image, self.args.save_format, self.args.save_conf);
            self.write(&format!("labels/{stem}.txt"), text.as_bytes())?;
            self.labels += 1;
        }
        for detection in found.iter().rev() {
            let name = class_name(self.names, detection.class);
            if self.args.save_csv {
                let confidence = detection.score;
                self.table += &format!("{},{},{confidence:.2}\n", quoted(file), quoted(name));
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

/// A line per detection, the surest last: class, the box as fractions of the image, and the score where asked.
fn label_lines(found: &[ScoredBox], image: &RgbImage, format: SaveFormatArg, with_score: bool) -> String {
    let (width, height) = (image.width as f32, image.height as f32);
    let line = |d: &ScoredBox| {
        let Xyxy { x1, y1, x2, y2 } = d.bbox;
        let mut numbers = vec![d.class as f32];
        match format {
            SaveFormatArg::Xywh => {
                let b = Cxcywh::from(d.bbox);
                numbers.extend([b.cx / width, b.cy / height, b.w / width, b.h / height]);
            }
            SaveFormatArg::Xyxy => numbers.extend([x1 / width, y1 / height, x2 / width, y2 / height]),
        }
        numbers.extend(with_score.then_some(d.score));
        let numbers: Vec<String> = numbers.iter().map(|number| general(f64::from(*number), 6)).collect();
        format!("{}\n", numbers.join(" "))
    };
    found.iter().rev().map(line).collect()
}

/// The box with a margin of 1 % and 5 pixels on each side; none if it is empty.
fn cut_out(image: &RgbImage, bbox: Xyxy) -> Option<RgbImage> {
    let b = Cxcywh::from(bbox);
    let wider = Cxcywh { w: b.w * 1.02 + 10.0, h: b.h * 1.02 + 10.0, ..b };
    let Xyxy { x1, y1, x2, y2 } = Xyxy::from(wider).clip(image.width as f32, image.height as f32);
    let [left, top, right, bottom] = [x1, y1, x2, y2].map(|edge| edge as usize);
    if right <= left || bottom <= top {
        return None;
    }
    let rows = image.pixels.chunks_exact(image.width as usize * 3).take(bottom).skip(top);
    let pixels = rows.flat_map(|row| &row[left * 3..right * 3]).copied().collect();
    Some(RgbImage { width: (right - left) as u32, height: (bottom - top) as u32, pixels })
}

/// The name of a class as that of a folder: nothing in it leads elsewhere.
fn folder_name(name: &str) -> String {
    let letter = |c: char| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c };
    let name: String = name.chars().map(letter).collect();
    if name.trim_matches(['.', ' ']).is_empty() { "_".to_owned() } else { name }
}

/// A field of a table of comma-separated values.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_fractions_of_the_image_and_the_surest_comes_last() {
        let image = RgbImage::filled(200, 100, [0; 3]);
        let found = [
            ScoredBox { bbox: Xyxy::new(20.0, 10.0, 60.0, 30.0), score: 0.9, class: 2 },
            ScoredBox { bbox: Xyxy::new(0.0, 0.0, 200.0, 100.0), score: 0.5, class: 0 },
        ];
        let text = label_lines(&found, &image, SaveFormatArg::Xywh, false);
        assert_eq!(text, "0 0.5 0.5 1 1\n2 0.2 0.2 0.2 0.2\n");
        let text = label_lines(&found, &image, SaveFormatArg::Xyxy, true);
        assert_eq!(text, "0 0 0 1 1 0.5\n2 0.1 0.1 0.3 0.3 0.9\n");
    }

    #[test]
    fn crops_have_a_margin_and_end_at_the_image() {
        let mut image = RgbImage::filled(200, 100, [0; 3]);
        // One white pixel, in the corner of the box.
        let at = (20 * 200 + 100) * 3;
        image.pixels[at..at + 3].fill(255);
        let cut = cut_out(&image, Xyxy::new(100.0, 20.0, 200.0, 70.0));
        // 50 high: 51 + 10 around 45; 100 wide: 102 + 10 around 150, of which the image has 56 + 50.
        let size = cut.as_ref().map(|cut| (cut.width, cut.height));
        assert_eq!(size, Some((106, 61)));
        let white = cut.and_then(|cut| cut.pixels.chunks_exact(3).position(|pixel| pixel == [255; 3]));
        assert_eq!(white, Some(6 * 106 + 6));
        assert_eq!(cut_out(&image, Xyxy::new(400.0, 0.0, 500.0, 50.0)), None);
    }

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

    #[test]
    fn fields_with_commas_are_quoted() {
        assert_eq!(quoted("a.jpg"), "a.jpg");
        assert_eq!(quoted("a, \"b\".jpg"), "\"a, \"\"b\"\".jpg\"");
    }
}
