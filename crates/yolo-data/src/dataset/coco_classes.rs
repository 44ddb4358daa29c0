//! COCO's 80 classes and the category ids that detections are written with.

use std::collections::{BTreeSet, HashMap};

use crate::{DataError, Result};

/// Category id in COCO's annotation files of each of the 80 classes: 1…90 with ten ids unused.
pub const COCO80_TO_91: [u8; 80] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 31, 32,
    33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
    60, 61, 62, 63, 64, 65, 67, 70, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 84, 85, 86, 87, 88, 89, 90,
];

/// The names of COCO's 80 classes, in order of their index.
#[rustfmt::skip]
pub const COCO80_NAMES: [&str; 80] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

/// The category id of each class, given the `(id, name)` categories of an annotation file.
///
/// Classes are matched by name if every class name is a category; otherwise by COCO's table if there are 80 classes and
/// the file has COCO's ids; otherwise by the class index, plus one if the file's ids are exactly `1..=num_classes`.
/// Without categories, the id is the class index.
///
/// # Errors
/// No rule applies; the message names the first class without a category.
pub fn category_ids(class_names: &[String], categories: &[(i64, String)]) -> Result<Vec<i64>> {
    let n = class_names.len() as i64;
    if let Some(ids) = ids_by_name(class_names, categories) {
        return Ok(ids);
    }
    let ids: BTreeSet<i64> = categories.iter().map(|(id, _)| *id).collect();
    if n == 80 && ids.iter().copied().eq(COCO80_TO_91.iter().map(|&id| i64::from(id))) {
        return Ok(COCO80_TO_91.iter().map(|&id| i64::from(id)).collect());
    }
    if n > 0 && ids.iter().copied().eq(1..=n) {
        return Ok((1..=n).collect());
    }
    if ids.iter().all(|id| (0..n).contains(id)) {
        return Ok((0..n).collect());
    }
    Err(no_mapping(class_names, categories))
}

/// The image id of a file stem: its number if it consists of digits only.
pub fn image_id(stem: &str) -> Option<i64> {
    let is_number = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
    if is_number { stem.parse().ok() } else { None }
}

/// `None` unless every name is a category and all ids differ.
fn ids_by_name(class_names: &[String], categories: &[(i64, String)]) -> Option<Vec<i64>> {
    // Of categories with equal names the last is used: exporters put an unused parent category first.
    let id_of: HashMap<&str, i64> = categories.iter().map(|(id, name)| (name.as_str(), *id)).collect();
    let ids: Vec<i64> =
        class_names.iter().map(|name| id_of.get(name.as_str()).copied()).collect::<Option<_>>()?;
    let distinct: BTreeSet<i64> = ids.iter().copied().collect();
    (!ids.is_empty() && distinct.len() == ids.len()).then_some(ids)
}

fn no_mapping(class_names: &[String], categories: &[(i64, String)]) -> DataError {
    let unknown: Vec<&str> = class_names
        .iter()
        .map(String::as_str)
        .filter(|name| categories.iter().all(|(_, category)| category != name))
        .take(3)
        .collect();
    let some: Vec<String> = categories.iter().take(3).map(|(id, name)| format!("{id}: {name}")).collect();
    DataError::mismatch(format!(
        "the annotation file's categories do not match the {} classes of the data set: no category is called {} \
         (the file has {} categories: {} …). Use the same names in both, or check that the annotations belong to \
         this data set",
        class_names.len(),
        unknown.join(", "),
        categories.len(),
        some.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    fn categories(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
        pairs.iter().map(|&(id, name)| (id, name.to_owned())).collect()
    }

    #[test]
    fn the_table_is_one_to_ninety_without_the_ten_unused_ids() {
        let unused = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
        assert!((1..=90).filter(|id| !unused.contains(id)).eq(COCO80_TO_91));
    }

    #[test]
    fn names_take_precedence_over_numbers() {
        let ids = category_ids(&names(&["pear", "apple"]), &categories(&[(1, "apple"), (7, "pear")]));
        assert_eq!(ids.unwrap(), [7, 1]);
        let ids = category_ids(&names(&["fish"]), &categories(&[(0, "fish"), (1, "fish")]));
        assert_eq!(ids.unwrap(), [1]);
    }

    #[test]
    fn numbers_are_used_if_names_differ() {
        let ids = |cats: &[(i64, &str)]| category_ids(&names(&["a", "b"]), &categories(cats));
        assert_eq!(ids(&[(2, "y"), (1, "x")]).unwrap(), [1, 2]);
        assert_eq!(ids(&[(0, "x"), (1, "y")]).unwrap(), [0, 1]);
        assert_eq!(ids(&[]).unwrap(), [0, 1]);
        let coco: Vec<(i64, String)> = COCO80_TO_91.iter().map(|&id| (id.into(), format!("c{id}"))).collect();
        let ids = category_ids(&names(&COCO80_NAMES), &coco).unwrap();
        assert_eq!((ids[0], ids[11], ids[79]), (1, 13, 90));
    }

    #[test]
    fn without_a_match_a_class_without_category_is_named() {
        let error =
            category_ids(&names(&["a", "b"]), &categories(&[(1, "a"), (5, "c")])).unwrap_err().to_string();
        assert!(error.contains("called b") && error.contains("5: c"), "{error}");
    }

    #[test]
    fn image_ids_are_numeric_stems() {
        assert_eq!(image_id("000000000139"), Some(139));
        for stem in ["", "a1", "-1", "1.5", "+1", "99999999999999999999"] {
            assert_eq!(image_id(stem), None);
        }
    }
}
