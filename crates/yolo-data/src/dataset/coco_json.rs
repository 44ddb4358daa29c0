//! Labels from a COCO instances file (`instances_*.json`).
//!
//! Only boxes and classes are kept, which is what training needs. Crowd annotations and outlines are left out. The
//! evaluator checks more: [`yolo_eval::coco::GroundTruth::read`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use yolo_eval::coco::classes::{CategoryMap, match_classes};
use yolo_eval::coco::image_id::ImageIds;
use yolo_eval::coco::{AnnotationEntry, Category, ImageEntry, ImageId, Instances};
use yolo_eval::{Cxcywh, Ltwh};

use super::Problem;
use crate::{DataError, Result};

/// A COCO instances file with boxes by image.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoLabels {
    /// The categories in order of their id.
    pub categories: Vec<Category>,
    /// Every image of the file, in its order, annotated or not.
    pub images: Vec<CocoImage>,
    /// Number of crowd annotations, which are left out.
    pub crowds: usize,
    /// What was left out of the file, counted by reason; warnings only.
    pub problems: Vec<Problem>,
}

/// One image of a COCO file.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoImage {
    /// The image's id.
    pub id: ImageId,
    /// The file, relative to a folder that the JSON does not name.
    pub file_name: String,
    /// Width and height in pixels; `None` if the file does not state them.
    pub size_px: Option<[f64; 2]>,
    /// Objects that are not crowds, as category id and box in the pixels of `size_px`.
    pub objects: Vec<(i64, Ltwh)>,
}

impl CocoLabels {
    /// The names of the categories, in order of their id.
    pub fn category_names(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(|category| category.name.as_str())
    }

    /// The class of each category that objects use, matched by name or by `map`.
    ///
    /// # Errors
    /// See [`match_classes`].
    pub(super) fn classes_in(
        &self,
        class_names: &[String],
        map: Option<&CategoryMap>,
        path: &Path,
    ) -> Result<HashMap<i64, u32>> {
        let objects = self.images.iter().flat_map(|image| &image.objects);
        let used: HashSet<i64> = objects.map(|(category, _)| *category).collect();
        let matched = match_classes(class_names, &self.categories, &used, map)
            .map_err(|reason| DataError::Classes { path: path.to_owned(), reason })?;
        let class = |(category, class)| Some((category, u32::try_from(class).ok()?));
        Ok(matched.class_of.into_iter().filter_map(class).collect())
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

/// Reads a COCO instances file. Ids may also be floats without a fraction, or texts.
///
/// # Errors
/// The file cannot be read, is not such JSON (with the line), names an annotation id twice, has one id for two images or
/// categories, or an annotation without a box.
pub fn read(path: &Path) -> Result<CocoLabels> {
    let content = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    parse(path, &content)
}

/// As [`read`], from the file's content.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, content: &[u8]) -> Result<CocoLabels> {
    let file = Instances::parse(path, content)?;
    let categories = listed_categories(path, file.categories)?;
    let mut labels = CocoLabels { categories, images: vec![], crowds: 0, problems: vec![] };
    let ids = ImageIds::new(file.images.iter().map(|image| &image.id));
    let position_of = add_images(path, file.images, &ids, &mut labels)?;
    let position = |id: &ImageId| position_of.get(&ids.number(id)?).copied();
    add_objects(path, &file.annotations, position, &mut labels)?;
    Ok(labels)
}

/// Every category once, in order of their ids.
fn listed_categories(path: &Path, listed: Vec<Category>) -> Result<Vec<Category>> {
    let mut by_id: BTreeMap<i64, Category> = BTreeMap::new();
    for category in listed {
        let known = by_id.entry(category.id).or_insert_with(|| category.clone());
        if *known != category {
            let (id, a, b) = (category.id, &known.name, &category.name);
            let reason = format!("category id {id} occurs twice (`{a}` and `{b}`): remove or renumber one");
            return Err(DataError::invalid(path, reason));
        }
    }
    Ok(by_id.into_values().collect())
}

/// Adds every image once, and returns the position of each by the number of its id.
fn add_images(
    path: &Path,
    listed: Vec<ImageEntry>,
    ids: &ImageIds,
    labels: &mut CocoLabels,
) -> Result<HashMap<i64, usize>> {
    let mut position_of = HashMap::new();
    let mut repeated = Skipped::default();
    for image in listed {
        if image.file_name.is_empty() {
            let reason = format!("image id {} has no `file_name`: add it", image.id);
            return Err(DataError::invalid(path, reason));
        }
        let position =
            *position_of.entry(ids.number(&image.id).unwrap_or_default()).or_insert(labels.images.len());
        let Some(known) = labels.images.get(position) else {
            let size_px = image.size_px();
            labels.images.push(CocoImage {
                id: image.id,
                file_name: image.file_name,
                size_px,
                objects: vec![],
            });
            continue;
        };
        if known.file_name != image.file_name {
            let (id, a, b) = (&image.id, &known.file_name, &image.file_name);
            let reason = format!("image id {id} occurs twice (`{a}` and `{b}`): renumber one");
            return Err(DataError::invalid(path, reason));
        }
        repeated.add(&format!("image id {}", image.id));
    }
    repeated.report(path, "entries of `images` are there before and are", &mut labels.problems);
    Ok(position_of)
}

fn add_objects(
    path: &Path,
    annotations: &[AnnotationEntry],
    image_position: impl Fn(&ImageId) -> Option<usize>,
    labels: &mut CocoLabels,
) -> Result<()> {
    let known: HashSet<i64> = labels.categories.iter().map(|category| category.id).collect();
    let mut ids = HashSet::new();
    let [mut crowds, mut without_area, mut without_image, mut without_category] =
        [(); 4].map(|()| Skipped::default());
    for (position, annotation) in annotations.iter().enumerate() {
        let name = annotation.name(position);
        if let Some(id) = &annotation.id
            && !ids.insert(id)
        {
            let reason = format!("{name} occurs twice: give every annotation its own id");
            return Err(DataError::invalid(path, reason));
        }
        if annotation.iscrowd {
            crowds.add(&name);
            continue;
        }
        if !known.contains(&annotation.category_id) {
            without_category.add(&format!("{name} with category {}", annotation.category_id));
            continue;
        }
        let bbox = annotation
            .bbox()
            .map_err(|reason| DataError::invalid(path, format!("{name}: {reason}: correct or remove it")))?;
        match image_position(&annotation.image_id) {
            None => without_image.add(&name),
            Some(_) if bbox.w <= 0.0 || bbox.h <= 0.0 => without_area.add(&name),
            Some(image) => labels.images[image].objects.push((annotation.category_id, bbox)),
        }
    }
    labels.crowds = crowds.count;
    let problems = &mut labels.problems;
    if crowds.count > 0 {
        let reason = format!(
            "{} annotation(s) are crowds (`iscrowd` 1), which YOLO labels do not have, and are left out; the first is \
             {}. CVAT writes masks of single objects as crowds: export these as polygons or boxes, or set `iscrowd` to 0",
            crowds.count, crowds.first
        );
        problems.push(Problem::warning(path, None, reason));
    }
    without_area.report(path, "annotation(s) have a box without width or height and are", problems);
    without_image.report(path, "annotation(s) are of images that are not in `images` and are", problems);
    without_category.report(
        path,
        "annotation(s) are of categories that are not in `categories` and are",
        problems,
    );
    Ok(())
}

/// Entries left out for one reason.
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

    /// Adds a warning `COUNT which left out …` if there are any.
    pub(super) fn report(self, path: &Path, which: &str, problems: &mut Vec<Problem>) {
        if self.count > 0 {
            let reason = format!("{} {which} left out; the first is {}", self.count, self.first);
            problems.push(Problem::warning(path, None, reason));
        }
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
    fn categories_are_in_order_of_their_id() {
        let labels = read_text(
            r#"{"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, "2", 8, 10], "iscrowd": 0, "segmentation": [[1, 2]]},
            {"id": "2", "image_id": "7", "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"id": 3.0, "image_id": 7.0, "category_id": "3", "bbox": [0, 0, 0, 9]}"#,
        )
        .unwrap();
        assert_eq!(labels.category_names().collect::<Vec<_>>(), ["car", "dog"]);
        let expected = (18, Ltwh { left: 4.0, top: 2.0, w: 8.0, h: 10.0 });
        assert_eq!(labels.images[0].objects, [expected]);
        assert_eq!((labels.images[1].id.number(), labels.images[1].size_px), (Some(8), None));
        assert_eq!(labels.crowds, 1);
        let reasons: Vec<&str> = labels.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert!(
            reasons[0].starts_with("1 annotation(s) are crowds") && reasons[0].contains("CVAT"),
            "{reasons:?}"
        );
        assert!(reasons[1].starts_with("1 annotation(s) have a box without width"), "{reasons:?}");
    }

    #[test]
    fn ids_of_images_may_be_texts() {
        let text = r#"{"images": [{"id": "cam 1", "file_name": "a.jpg"}, {"id": "cam 2", "file_name": "b.jpg"}],
            "categories": [{"id": 1, "name": "x"}],
            "annotations": [{"id": "p", "image_id": "cam 2", "category_id": 1, "bbox": [1, 2, 3, 4]}]}"#;
        let labels = parse(Path::new("i.json"), text.as_bytes()).unwrap();
        assert_eq!((labels.images[0].objects.len(), labels.images[1].objects.len()), (0, 1));
    }

    #[test]
    fn what_is_not_listed_is_left_out_and_what_is_listed_twice_counts_once() {
        let text = file(
            r#"{"id": 1, "image_id": 99, "category_id": 18, "bbox": [1, 1, 2, 2]},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [1, 1, 2, 2]},
            {"id": 3, "image_id": 7, "category_id": 18, "bbox": [1, 1, 2, 2]}"#,
        );
        let twice = r#"{"id": 7, "file_name": "a.jpg"}, {"id": "8.0""#;
        let text = text.replace(r#"{"id": "8.0""#, twice);
        let labels = parse(Path::new("i.json"), text.as_bytes()).unwrap();
        assert_eq!((labels.images.len(), labels.images[0].objects.len()), (2, 1));
        let reasons: Vec<&str> = labels.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert!(reasons[0].contains("are there before"), "{reasons:?}");
        assert!(
            reasons[1].contains("not in `images`") && reasons[1].contains("annotation id 1"),
            "{reasons:?}"
        );
        assert!(reasons[2].contains("annotation id 2 with category 4"), "{reasons:?}");
        let other = text.replacen(r#""file_name": "a.jpg"}"#, r#""file_name": "z.jpg"}"#, 1);
        let text = parse(Path::new("i.json"), other.as_bytes()).unwrap_err().to_string();
        assert!(text.contains("image id 7 occurs twice (`a.jpg` and `z.jpg`)"), "{text}");
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
        let text = message(r#"{"image_id": 7, "category_id": 3, "bbox": [1, 1]}"#);
        assert!(text.contains("annotations entry 0: a bbox of 2 numbers"), "{text}");
        let error = parse(Path::new("i.json"), b"[]").unwrap_err().to_string();
        assert!(error.starts_with("i.json:1: ") && error.contains("results file?"), "{error}");
    }

    #[test]
    fn classes_are_matched_to_the_yaml_by_name() {
        let labels = read_text(r#"{"image_id": 7, "category_id": 18, "bbox": [1, 1, 2, 2]}"#).unwrap();
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let path = Path::new("i.json");
        let classes = labels.classes_in(&names(&["cat", "Dog "]), None, path).unwrap();
        assert_eq!(classes, HashMap::from([(18, 1)]));
        let text = labels.classes_in(&names(&["car"]), None, path).unwrap_err().to_string();
        assert!(text.contains("`dog` (id 18)") && text.starts_with("i.json: "), "{text}");
        let map = CategoryMap::from([("dog".to_owned(), Some("car".to_owned()))]);
        assert_eq!(
            labels.classes_in(&names(&["car"]), Some(&map), path).unwrap(),
            HashMap::from([(3, 0), (18, 0)])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(Path::new("i.json"), &content);
        }
    }
}
