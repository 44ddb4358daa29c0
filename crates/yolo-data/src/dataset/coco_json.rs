//! Labels from a COCO instances file (`instances_*.json`).
//!
//! Only boxes and classes are read, which is what training needs. Crowd annotations and outlines are left out. The
//! evaluator has a stricter reader: [`yolo_eval::coco::GroundTruth::read`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use yolo_eval::{Cxcywh, Ltwh};

use super::Problem;
use crate::{DataError, Result};

/// A COCO instances file with class indices in place of category ids.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoLabels {
    /// Category names in order of their id: the class names.
    pub class_names: Vec<String>,
    /// Category id of each class, ascending.
    pub category_ids: Vec<i64>,
    /// Every image of the file, in its order, annotated or not.
    pub images: Vec<CocoImage>,
    /// What was left out of the file, counted by reason; warnings only.
    pub problems: Vec<Problem>,
}

/// One image of a COCO file.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoImage {
    /// The image's id.
    pub id: i64,
    /// The file, relative to a folder that the JSON does not name.
    pub file_name: String,
    /// Width and height in pixels; `None` if the file does not state them.
    pub size_px: Option<[f64; 2]>,
    /// Objects that are not crowds, as class index and box in the pixels of `size_px`.
    pub objects: Vec<(u32, Ltwh)>,
}

impl CocoLabels {
    /// The class index of a category id, the inverse of [`CocoLabels::category_ids`].
    pub fn class_of(&self, category_id: i64) -> Option<u32> {
        self.category_ids.binary_search(&category_id).ok().and_then(|class| u32::try_from(class).ok())
    }

    /// For each class of this file its index in `class_names`, matched by name; `None` for unused categories that are
    /// not in `class_names`, because exporters add unused parent categories.
    ///
    /// # Errors
    /// A category that annotations use is not in `class_names`.
    pub(super) fn classes_in(&self, class_names: &[String], path: &Path) -> Result<Vec<Option<u32>>> {
        let used: HashSet<u32> =
            self.images.iter().flat_map(|i| &i.objects).map(|(class, _)| *class).collect();
        let index_of =
            |name: &String| class_names.iter().position(|n| n == name).and_then(|i| u32::try_from(i).ok());
        let classes: Vec<Option<u32>> = self.class_names.iter().map(index_of).collect();
        for (class, (name, known)) in self.class_names.iter().zip(&classes).enumerate() {
            if known.is_none() && used.contains(&(class as u32)) {
                let reason = format!(
                    "category `{name}` (id {}) has annotations, but is not in `names` of the data set YAML: add it \
                     there, or spell both the same. The file's categories are: {}",
                    self.category_ids[class],
                    self.class_names.join(", ")
                );
                return Err(DataError::invalid(path, reason));
            }
        }
        Ok(classes)
    }
}

/// The part of `bbox_orig` inside an image of `width` × `height` pixels, as fractions of its size; `None` if no part
/// is inside.
pub fn normalise(bbox_orig: Ltwh, width: f64, height: f64) -> Option<Cxcywh> {
    let (left, right) = (bbox_orig.left.clamp(0.0, width), (bbox_orig.left + bbox_orig.w).clamp(0.0, width));
    let (top, bottom) = (bbox_orig.top.clamp(0.0, height), (bbox_orig.top + bbox_orig.h).clamp(0.0, height));
    let inside = right > left && bottom > top;
    inside.then(|| Cxcywh {
        cx: ((left + right) / 2.0 / width) as f32,
        cy: ((top + bottom) / 2.0 / height) as f32,
        w: ((right - left) / width) as f32,
        h: ((bottom - top) / height) as f32,
    })
}

/// Reads a COCO instances file. Ids may also be floats without a fraction, or strings of digits.
///
/// # Errors
/// The file cannot be read, is not such JSON (with the line), names an annotation or image id twice, or has an
/// annotation of an unknown category or without a box.
pub fn read(path: &Path) -> Result<CocoLabels> {
    let content = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    parse(path, &content)
}

/// As [`read`], from the file's content.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, content: &[u8]) -> Result<CocoLabels> {
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let raw: RawFile = serde_json::from_slice(content).map_err(|e| json_error(path, content, &e))?;
    let mut by_id = BTreeMap::new();
    for category in raw.categories {
        if by_id.insert(category.id.0, category.name).is_some() {
            return Err(DataError::invalid(
                path,
                format!("category id {} occurs twice: remove one", category.id.0),
            ));
        }
    }
    let (category_ids, class_names) = by_id.into_iter().unzip();
    let mut labels = CocoLabels { class_names, category_ids, images: vec![], problems: vec![] };
    let mut position_of = HashMap::new();
    for image in raw.images {
        if position_of.insert(image.id.0, labels.images.len()).is_some() {
            return Err(DataError::invalid(
                path,
                format!("image id {} occurs twice: remove one", image.id.0),
            ));
        }
        let size_px =
            image.width.zip(image.height).filter(|(w, h)| *w > 0.0 && *h > 0.0).map(|(w, h)| [w, h]);
        labels.images.push(CocoImage {
            id: image.id.0,
            file_name: image.file_name,
            size_px,
            objects: vec![],
        });
    }
    add_objects(path, raw.annotations, &position_of, &mut labels)?;
    Ok(labels)
}

fn add_objects(
    path: &Path,
    annotations: Vec<RawAnnotation>,
    position_of: &HashMap<i64, usize>,
    labels: &mut CocoLabels,
) -> Result<()> {
    let mut ids = HashSet::new();
    let mut without_area = Skipped::default();
    let mut without_image = Skipped::default();
    for (position, annotation) in annotations.into_iter().enumerate() {
        let name = match annotation.id {
            Some(Integer(id)) => format!("annotation {id}"),
            None => format!("annotation number {} of the file", position + 1),
        };
        if let Some(Integer(id)) = annotation.id
            && !ids.insert(id)
        {
            let reason = format!("annotation id {id} occurs twice: give every annotation its own id");
            return Err(DataError::invalid(path, reason));
        }
        if annotation.iscrowd.is_some_and(|flag| flag.0 != 0) {
            continue;
        }
        let Some(class) = labels.class_of(annotation.category_id.0) else {
            let reason =
                format!("{name} has category {}, which is not in `categories`", annotation.category_id.0);
            return Err(DataError::invalid(path, reason));
        };
        let Some([left, top, w, h]) = annotation.bbox.as_deref().and_then(|b| <[f64; 4]>::try_from(b).ok())
        else {
            let reason = format!("{name} has no `bbox` of four numbers [left, top, width, height]: add it");
            return Err(DataError::invalid(path, reason));
        };
        match position_of.get(&annotation.image_id.0) {
            None => without_image.add(&name),
            Some(_) if w <= 0.0 || h <= 0.0 => without_area.add(&name),
            Some(&image) => labels.images[image].objects.push((class, Ltwh { left, top, w, h })),
        }
    }
    without_area.report(path, "whose box has no width or height", &mut labels.problems);
    without_image.report(path, "of images that are not in `images`", &mut labels.problems);
    Ok(())
}

/// Annotations left out for one reason.
#[derive(Default)]
pub(super) struct Skipped {
    count: usize,
    first: String,
}

impl Skipped {
    pub(super) fn add(&mut self, name: &str) {
        self.count += 1;
        if self.count == 1 {
            self.first = name.to_owned();
        }
    }

    pub(super) fn report(self, path: &Path, which: &str, problems: &mut Vec<Problem>) {
        if self.count > 0 {
            let reason =
                format!("{} annotation(s) {which} left out; the first is {}", self.count, self.first);
            problems.push(Problem::warning(path, None, reason));
        }
    }
}

/// The folders that a COCO file's images may be in, in the order they are tried.
pub(super) fn image_dirs(json: &Path, root: &Path, image_dir: Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(dir) = image_dir {
        return vec![dir];
    }
    let stem = json.file_stem().unwrap_or_default().to_string_lossy();
    let split = stem.strip_prefix("instances_").unwrap_or(&stem);
    let mut dirs = vec![root.join("images").join(split), root.join(split), root.join("images")];
    dirs.extend(json.parent().map(Path::to_owned));
    dirs
}

/// The existing file in one of `dirs`; the error is a message about where it was searched.
pub(super) fn find_image(file_name: &str, dirs: &[PathBuf]) -> std::result::Result<PathBuf, String> {
    let slashed = file_name.replace('\\', "/");
    let candidates = || dirs.iter().flat_map(|dir| [dir.join(file_name), dir.join(&slashed)]);
    candidates().find(|path| path.is_file()).ok_or_else(|| {
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        format!(
            "image `{file_name}` is not in {}. Put it there, or name its folder as `image_dir` in the YAML",
            dirs.join(", ")
        )
    })
}

fn json_error(path: &Path, content: &[u8], error: &serde_json::Error) -> DataError {
    let line = content.split(|&b| b == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let around =
        &line[error.column().saturating_sub(10).min(line.len())..(error.column() + 10).min(line.len())];
    let around = String::from_utf8_lossy(around);
    let hint = if around.contains("NaN") || around.contains("Inf") {
        ". NaN and Infinity are not JSON (Python writes them for missing numbers): replace them by a number"
    } else {
        ""
    };
    let reason = format!("not a COCO instances file: {error}, near `{around}`{hint}");
    DataError::at_line(path, error.line().max(1), reason)
}

#[derive(serde::Deserialize)]
struct RawFile {
    images: Vec<RawImage>,
    annotations: Vec<RawAnnotation>,
    categories: Vec<RawCategory>,
}

#[derive(serde::Deserialize)]
struct RawImage {
    id: Integer,
    file_name: String,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(serde::Deserialize)]
struct RawAnnotation {
    id: Option<Integer>,
    image_id: Integer,
    category_id: Integer,
    bbox: Option<Vec<f64>>,
    iscrowd: Option<Integer>,
}

#[derive(serde::Deserialize)]
struct RawCategory {
    id: Integer,
    name: String,
}

/// A whole number, which may be written as `1`, `1.0`, `"1"`, `"1.0"` or `true`.
#[derive(Clone, Copy)]
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Integer, E> {
                Ok(Integer(value.into()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Integer, E> {
                Ok(Integer(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Integer, E> {
                let out_of_range = |_| E::invalid_value(de::Unexpected::Unsigned(value), &self);
                i64::try_from(value).map(Integer).map_err(out_of_range)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Integer, E> {
                // Above 2^53, neighbouring ids have the same float.
                let whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
                whole
                    .then_some(Integer(value as i64))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Integer, E> {
                if let Ok(value) = text.trim().parse() {
                    return Ok(Integer(value));
                }
                let value: f64 =
                    text.trim().parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                self.visit_f64(value)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn file(annotations: &str) -> String {
        format!(
            r#"{{"images": [{{"id": 7, "file_name": "a.jpg", "width": 40, "height": 20}}, {{"id": "8.0", "file_name": "b/c.jpg"}}],
"categories": [{{"id": 18, "name": "dog"}}, {{"id": 3.0, "name": "car"}}],
"annotations": [{annotations}]}}"#
        )
    }

    fn read_text(annotations: &str) -> Result<CocoLabels> {
        parse(Path::new("i.json"), file(annotations).as_bytes())
    }

    fn message(annotations: &str) -> String {
        read_text(annotations).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_categories_in_order_of_their_id() {
        let labels = read_text(
            r#"{"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 2, 8, 10], "iscrowd": 0, "segmentation": [[1, 2]]},
            {"id": "2", "image_id": "7", "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"id": 3.0, "image_id": 7.0, "category_id": "3", "bbox": [0, 0, 0, 9]}"#,
        )
        .unwrap();
        assert_eq!((labels.class_names[0].as_str(), &labels.category_ids[..]), ("car", &[3, 18][..]));
        assert_eq!((labels.class_of(18), labels.class_of(4)), (Some(1), None));
        let expected = (1, Ltwh { left: 4.0, top: 2.0, w: 8.0, h: 10.0 });
        assert_eq!(labels.images[0].objects, [expected]);
        assert_eq!((labels.images[1].id, labels.images[1].size_px), (8, None));
        assert!(labels.problems[0].reason.starts_with("1 annotation(s) whose box"), "{}", labels.problems[0]);
    }

    #[test]
    fn boxes_are_clipped_to_the_image() {
        let bbox = |left, top, w, h| normalise(Ltwh { left, top, w, h }, 40.0, 20.0);
        assert_eq!(bbox(4.0, 2.0, 8.0, 10.0), Some(Cxcywh { cx: 0.2, cy: 0.35, w: 0.2, h: 0.5 }));
        assert_eq!(bbox(-10.0, 10.0, 20.0, 30.0), Some(Cxcywh { cx: 0.125, cy: 0.75, w: 0.25, h: 0.5 }));
        assert_eq!(bbox(40.0, 0.0, 5.0, 5.0), None);
    }

    #[test]
    fn bad_files_give_line_or_id() {
        let text = message("\n{\"id\": 1, \"image_id\": 7, \"category_id\": 3, \"bbox\": [NaN, 1, 2, 3]}");
        assert!(text.starts_with("i.json:4: ") && text.contains("NaN and Infinity"), "{text}");
        assert!(message("{").starts_with("i.json:3: "));
        let one =
            |id: &str| format!(r#"{{"id": {id}, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2, 2]}}"#);
        let text = message(&format!("{}, {}", one("5"), one("5.0")));
        assert!(text.contains("annotation id 5 occurs twice"), "{text}");
        assert!(message(&one("1.5")).contains("whole number"));
        assert!(message(&one("\"x\"")).contains("whole number"));
        let text = message(r#"{"id": 5, "image_id": 7, "category_id": 4, "bbox": [1, 1, 2, 2]}"#);
        assert!(text.contains("annotation 5 has category 4"), "{text}");
        let text = message(r#"{"image_id": 7, "category_id": 3, "bbox": [1, 1]}"#);
        assert!(text.contains("annotation number 1") && text.contains("bbox"), "{text}");
        let error = parse(Path::new("i.json"), b"[]").unwrap_err().to_string();
        assert!(error.starts_with("i.json:1: not a COCO instances file"), "{error}");
    }

    #[test]
    fn classes_are_matched_to_the_yaml_by_name() {
        let labels = read_text(r#"{"image_id": 7, "category_id": 18, "bbox": [1, 1, 2, 2]}"#).unwrap();
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let path = Path::new("i.json");
        assert_eq!(labels.classes_in(&names(&["dog", "cat"]), path).unwrap(), [None, Some(0)]);
        let text = labels.classes_in(&names(&["car"]), path).unwrap_err().to_string();
        assert!(text.contains("`dog` (id 18)") && text.contains("`names`"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(Path::new("i.json"), &content);
        }
    }
}
