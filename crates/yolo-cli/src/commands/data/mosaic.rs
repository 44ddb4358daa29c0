//! The picture of `data check`: some images with their boxes, to look at.

use std::path::Path;

use anyhow::{Context, Result, bail};
use yolo_data::dataset::{Dataset, Item, Label};
use yolo_data::image::{Encoding, RgbImage, decode_file, encode};
use yolo_draw::{BoxAnnotation, Mosaic, MosaicOptions};
use yolo_eval::Xyxy;

/// What the extension of `file` says that it is.
pub(super) fn encoding(file: &Path) -> Result<Encoding> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match Encoding::of_extension(extension) {
        Some(encoding) => Ok(encoding),
        None => bail!("{}: not the name of a picture; call it something.jpg or .png", file.display()),
    }
}

/// Writes a picture of images that are spread over `dataset`, those with objects first.
pub(super) fn write(dataset: &Dataset, file: &Path) -> Result<()> {
    let encoding = encoding(file)?;
    let options = MosaicOptions::default();
    let chosen = spread_out(dataset, options.max_images);
    let largest = |side: fn(&Item) -> u32| chosen.iter().map(|item| side(item)).max().unwrap_or(1);
    let mut mosaic =
        Mosaic::new(chosen.len(), (largest(|item| item.width), largest(|item| item.height)), &options);
    for item in chosen {
        let image = decode_file(&item.image)?.image;
        let name = item.image.file_name().unwrap_or_default().to_string_lossy();
        mosaic.add(&image, &boxes(item, &image, &dataset.class_names), &name);
    }
    let bytes = encode(&mosaic.finish(), encoding)?;
    yolo_files::write(file, bytes)
        .with_context(|| format!("{}: cannot be written; choose another place with --mosaic", file.display()))
}

/// At most `count` images at equal distances in the list, so that the picture is the same every time.
fn spread_out(dataset: &Dataset, count: usize) -> Vec<&Item> {
    let mut items: Vec<&Item> = dataset.items.iter().filter(|item| !item.labels.is_empty()).collect();
    if items.is_empty() {
        items = dataset.items.iter().collect();
    }
    let count = count.min(items.len());
    (0..count).map(|i| items[i * items.len() / count]).collect()
}

fn boxes(item: &Item, image: &RgbImage, names: &[String]) -> Vec<BoxAnnotation> {
    let (width, height) = (image.width as f32, image.height as f32);
    let annotation = |label: &Label| BoxAnnotation {
        bbox: Xyxy::from(label.bbox_norm).scaled(width, height),
        class: label.class as usize,
        label: names[label.class as usize].clone(),
    };
    item.labels.iter().map(annotation).collect()
}
