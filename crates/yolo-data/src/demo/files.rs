//! The files of the data set.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::scene::Object;
use super::{DemoOptions, Record, class_names};
use crate::dataset::Split;
use crate::dataset::coco_file::{Annotation, Category, CocoFile, Image, Info};
use crate::image::{RgbImage, encode_jpeg};
use crate::{DataError, Result};

/// The data set's YAML, below its folder.
pub(super) const YAML: &str = "demo.yaml";
/// The record of how it was made, below its folder.
pub(super) const RECORD: &str = "demo-options.json";
const JPEG_QUALITY: u8 = 90;

fn image_path(options: &DemoOptions, split: Split, index: u32) -> String {
    format!("images/{split}/{}", image_name(options, split, index))
}

fn image_name(options: &DemoOptions, split: Split, index: u32) -> String {
    format!("{:06}.jpg", options.number(split, index))
}

fn label_path(options: &DemoOptions, split: Split, index: u32) -> String {
    format!("labels/{split}/{:06}.txt", options.number(split, index))
}

fn annotation_path(split: Split) -> String {
    format!("annotations/instances_{split}.json")
}

/// The first file of the data set that is missing.
pub(super) fn first_missing(folder: &Path, options: &DemoOptions) -> Option<String> {
    let of_images = options
        .images()
        .flat_map(|(split, index)| [image_path(options, split, index), label_path(options, split, index)]);
    let others = [YAML.to_owned(), annotation_path(Split::Train), annotation_path(Split::Val)];
    others.into_iter().chain(of_images).find(|file| !folder.join(file).is_file())
}

pub(super) fn make_folders(folder: &Path) -> Result<()> {
    for name in ["images/train", "images/val", "labels/train", "labels/val", "annotations"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(|e| DataError::io(path, e))?;
    }
    Ok(())
}

pub(super) fn write_image(
    folder: &Path,
    options: &DemoOptions,
    split: Split,
    index: u32,
    image: &RgbImage,
) -> Result<()> {
    let path = folder.join(image_path(options, split, index));
    write(path, encode_jpeg(image, JPEG_QUALITY)?)
}

pub(super) fn write_labels(
    folder: &Path,
    options: &DemoOptions,
    split: Split,
    index: u32,
    objects: &[Object],
) -> Result<()> {
    write(folder.join(label_path(options, split, index)), label_text(objects, options.image_size))
}

/// One `class cx cy w h` per line, as fractions of the image.
pub(super) fn label_text(objects: &[Object], image_size: u32) -> String {
    let size = f64::from(image_size);
    let mut text = String::new();
    for object in objects {
        let [left, top, right, bottom] = object.edges.map(|edge| f64::from(edge) / size);
        let (cx, cy, w, h) = ((left + right) / 2.0, (top + bottom) / 2.0, right - left, bottom - top);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {cx:.8} {cy:.8} {w:.8} {h:.8}", object.class);
    }
    text
}

/// Writes the COCO file of a split; `scenes` are the objects of its images. Category ids are the class plus one,
/// as in COCO, and areas are the visible pixels.
pub(super) fn write_annotations(
    folder: &Path,
    options: &DemoOptions,
    split: Split,
    scenes: &[Vec<Object>],
) -> Result<()> {
    let size = options.image_size;
    let image = |index| Image {
        id: options.number(split, index).into(),
        file_name: image_name(options, split, index),
        width: size,
        height: size,
    };
    let annotation = |(id, (index, object)): (usize, (u32, &Object))| Annotation {
        id,
        image_id: options.number(split, index).into(),
        category_id: object.class as usize + 1,
        bbox: {
            let [left, top, right, bottom] = object.edges;
            [left, top, right - left, bottom - top]
        },
        area: object.area,
        iscrowd: 0,
        segmentation: None,
    };
    let category = |(id, name)| Category { id, name, supercategory: None };
    let objects = (0u32..).zip(scenes).flat_map(|(index, objects)| objects.iter().map(move |o| (index, o)));
    let file = CocoFile {
        info: Info { description: "Shapes drawn by yolo_data::demo".to_owned() },
        images: (0..options.count(split)).map(image).collect(),
        annotations: (1..).zip(objects).map(annotation).collect(),
        categories: (1..).zip(class_names()).map(category).collect(),
    };
    write_json(folder.join(annotation_path(split)), &file)
}

/// Paths are relative to the YAML's folder, so that the data set can be moved.
pub(super) fn write_yaml(folder: &Path) -> Result<()> {
    let mut text = "# Shapes drawn by yolo_data::demo; annotations/ has the same labels in COCO's format.\n\
                    path: .\ntrain: images/train\nval: images/val\nnames:\n"
        .to_owned();
    for (class, name) in class_names().iter().enumerate() {
        let _ = writeln!(text, "  {class}: {name}");
    }
    write(folder.join(YAML), text)
}

pub(super) fn write_record(folder: &Path, record: &Record) -> Result<()> {
    write_json(folder.join(RECORD), record)
}

fn write_json(path: PathBuf, content: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(content).map_err(|e| DataError::io(&path, e.into()))?;
    write(path, text)
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(&path, content).map_err(|e| DataError::io(path, e))
}
