//! The first batches as the network saw them, once with their labels and once with what was found.

use yolo_data::dataset::Dataset;
use yolo_data::image::{Encoding, JPEG_QUALITY, RgbImage, encode};
use yolo_data::loader::Batch;
use yolo_data::train_loader::{Target, TrainBatch};
use yolo_draw::{BoxAnnotation, Mosaic, MosaicOptions};
use yolo_eval::Xyxy;
use yolo_report::format::class_name;
use yolo_train::ValidatedBatch;

use crate::Result;

/// Batches that are drawn.
pub const DRAWN: usize = 3;
/// Detections are drawn if they are surer than this.
const SURE: f32 = 0.25;

/// Grids of images, encoded, until the run is over.
pub struct BatchSheets<'a> {
    dataset: &'a Dataset,
    class_names: &'a [String],
    /// All classes count as one.
    single_class: bool,
    files: Vec<(String, Vec<u8>)>,
}

impl<'a> BatchSheets<'a> {
    /// Nothing drawn yet.
    pub fn new(dataset: &'a Dataset, class_names: &'a [String], single_class: bool) -> Self {
        Self { dataset, class_names, single_class, files: Vec::new() }
    }

    /// Draws one of the first batches; later ones are left out.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn add(&mut self, seen: &ValidatedBatch) -> Result<()> {
        if seen.index >= DRAWN || seen.batch.samples.is_empty() {
            return Ok(());
        }
        let (index, batch) = (seen.index, seen.batch);
        let labels = self.sheet(batch, &|sample| self.labels(batch, sample))?;
        self.files.push((format!("val_batch{index}_labels.jpg"), labels));
        let found = self.sheet(batch, &|sample| {
            let sure = seen.detections[sample].iter().filter(|found| found.score > SURE);
            let drawn = |found: &yolo_eval::metrics::ScoredBox| {
                let name = self.name(found.class as usize);
                let label = format!("{name} {:.1}", found.score);
                BoxAnnotation { bbox: found.bbox, class: found.class as usize, label }
            };
            // The surest on top.
            sure.rev().map(drawn).collect()
        })?;
        self.files.push((format!("val_batch{index}_pred.jpg"), found));
        Ok(())
    }

    /// Names of files and their content, JPEG, in the order in which they were drawn.
    pub fn files(&self) -> &[(String, Vec<u8>)] {
        &self.files
    }

    /// The images of a batch with the boxes of each, as JPEG.
    fn sheet(&self, batch: &Batch, boxes: &dyn Fn(usize) -> Vec<BoxAnnotation>) -> Result<Vec<u8>> {
        let size = (batch.width as u32, batch.height as u32);
        let mut mosaic = Mosaic::new(batch.samples.len(), size, &MosaicOptions::default());
        for (i, sample) in batch.samples.iter().enumerate() {
            if mosaic.is_full() {
                break;
            }
            let file = self.dataset.items[sample.item_idx].image.file_name().unwrap_or_default();
            mosaic.add(
                &image(&batch.pixels, (batch.width, batch.height), i),
                &boxes(i),
                &file.to_string_lossy(),
            );
        }
        Ok(encode(&mosaic.finish(), Encoding::Jpeg(JPEG_QUALITY))?)
    }

    fn labels(&self, batch: &Batch, sample: usize) -> Vec<BoxAnnotation> {
        let sample = &batch.samples[sample];
        let labels = &self.dataset.items[sample.item_idx].labels;
        let boxes = sample.geometry.labels_to_network(labels);
        let (width, height) = (batch.width as f32, batch.height as f32);
        let drawn = |(label, bbox): (&yolo_data::dataset::Label, yolo_eval::Cxcywh)| {
            let class = if self.single_class { 0 } else { label.class as usize };
            BoxAnnotation { bbox: Xyxy::from(bbox).scaled(width, height), class, label: self.name(class) }
        };
        labels.iter().zip(boxes).map(drawn).collect()
    }

    fn name(&self, class: usize) -> String {
        self.class_names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// A batch of training with its boxes, as JPEG; none if no image could be read.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn training_sheet(
    batch: &TrainBatch,
    dataset: &Dataset,
    class_names: &[String],
) -> Result<Option<Vec<u8>>> {
    let (size, count) = ((batch.width, batch.height), batch.item_indices.len());
    if count == 0 {
        return Ok(None);
    }
    let mut mosaic = Mosaic::new(count, (size.0 as u32, size.1 as u32), &MosaicOptions::default());
    for (i, item_idx) in batch.item_indices.iter().enumerate() {
        if mosaic.is_full() {
            break;
        }
        let drawn = |target: &Target| BoxAnnotation {
            bbox: Xyxy::from(target.bbox_norm).scaled(size.0 as f32, size.1 as f32),
            class: target.class as usize,
            label: class_name(class_names, target.class).to_owned(),
        };
        let boxes: Vec<BoxAnnotation> =
            batch.targets.iter().filter(|target| target.image == i).map(drawn).collect();
        let file = dataset.items[*item_idx].image.file_name().unwrap_or_default();
        mosaic.add(&image(&batch.pixels, size, i), &boxes, &file.to_string_lossy());
    }
    Ok(Some(encode(&mosaic.finish(), Encoding::Jpeg(JPEG_QUALITY))?))
}

/// One image of a batch of images of `(width, height)`, its planes as pixels.
fn image(pixels: &[u8], (width, height): (usize, usize), sample: usize) -> RgbImage {
    let area = width * height;
    let planes = &pixels[sample * 3 * area..(sample + 1) * 3 * area];
    let (red, rest) = planes.split_at(area);
    let (green, blue) = rest.split_at(area);
    let pixels = red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect();
    RgbImage { width: width as u32, height: height as u32, pixels }
}
