//! What pycocotools accepts in annotation files although it is not as it should be.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::instances::{AnnotationEntry, Instances};
use super::{list_ids, list_names};
use crate::coco::image_id::{ImageId, ImageIds};

/// Something that pycocotools accepts.
pub(super) struct Oddity {
    /// What is found where, with the count.
    what: String,
    /// What became of it.
    done: &'static str,
    /// What to do about it.
    fix: &'static str,
}

impl Oddity {
    /// A line that says what was done.
    pub(super) fn as_remark(&self) -> String {
        format!("{}; {}; {}", self.what, self.done, self.fix)
    }

    /// A line that refuses it.
    pub(super) fn as_error(&self) -> String {
        format!("{}; {}", self.what, self.fix)
    }
}

/// The file without what pycocotools ignores. One id for two different images or categories is left as it is:
/// pycocotools takes the last, so that the annotations of one count for the other.
pub(super) fn tolerated(mut file: Instances) -> (Instances, Vec<Oddity>) {
    let mut found = Vec::new();
    let once = "counts once";
    let repeated = drop_repeated(&mut file.images, |image| (image.id.clone(), image.file_name.clone()));
    if !repeated.is_empty() {
        let ids = list_names(repeated.iter().map(|(id, _)| id).collect());
        let what = format!("image id {ids} is listed more than once");
        found.push(Oddity { what, done: once, fix: "remove the repeated entries of `images`" });
    }
    let repeated = drop_repeated(&mut file.categories, |category| (category.id, category.name.clone()));
    if !repeated.is_empty() {
        let ids: Vec<i64> = repeated.into_iter().map(|(id, _)| id).collect();
        let what = format!("category id {} is listed more than once", list_ids(&ids));
        found.push(Oddity { what, done: once, fix: "remove the repeated entries of `categories`" });
    }
    found.extend(drop_unlisted(&mut file));
    let mut texts = file.annotations.iter().enumerate().filter(|(_, entry)| entry.has_text_numbers());
    if let Some((position, first)) = texts.next() {
        let count = annotations(1 + texts.count());
        let what = format!("numbers of {count} are written as text (the first is {})", first.name(position));
        found.push(Oddity { what, done: "read as numbers", fix: "remove the quotation marks" });
    }
    (file, found)
}

/// Leaves out annotations on images and of categories that are not listed.
fn drop_unlisted(file: &mut Instances) -> impl Iterator<Item = Oddity> {
    let images = ImageIds::new(file.images.iter().map(|image| &image.id));
    let on_images = leave_out(&mut file.annotations, |entry| images.number(&entry.image_id).is_none()).map(
        |(lost, first)| {
            let ids: Vec<&ImageId> = lost.iter().map(|entry| &entry.image_id).collect();
            let (count, ids) = (annotations(lost.len()), list_names(ids));
            let what =
                format!("{count} with an image_id that is not in images ({ids}; the first is {first})");
            let fix = "remove these annotations, or add the images";
            Oddity { what, done: "left out, as in pycocotools", fix }
        },
    );
    let categories: HashSet<i64> = file.categories.iter().map(|category| category.id).collect();
    let of_categories = leave_out(&mut file.annotations, |entry| !categories.contains(&entry.category_id))
        .map(|(lost, first)| {
            let mut ids: Vec<i64> = lost.iter().map(|entry| entry.category_id).collect();
            ids.sort_unstable();
            ids.dedup();
            let (count, ids) = (annotations(lost.len()), list_ids(&ids));
            let what =
                format!("{count} with a category_id that is not in categories ({ids}; the first is {first})");
            let fix = "remove these annotations, or add the categories";
            Oddity { what, done: "left out, as in pycocotools", fix }
        });
    on_images.into_iter().chain(of_categories)
}

fn annotations(count: usize) -> String {
    if count == 1 { "1 annotation".to_owned() } else { format!("{count} annotations") }
}

/// Removes entries with the key of an earlier one and returns the keys.
fn drop_repeated<T, K: Clone + Eq + Hash>(list: &mut Vec<T>, key: impl Fn(&T) -> K) -> Vec<K> {
    let mut is_repeated: HashMap<K, bool> = HashMap::new();
    let mut repeated = Vec::new();
    list.retain(|entry| {
        let key = key(entry);
        let Some(known) = is_repeated.get_mut(&key) else {
            is_repeated.insert(key, false);
            return true;
        };
        if !std::mem::replace(known, true) {
            repeated.push(key);
        }
        false
    });
    repeated
}

/// Removes the entries that `is_lost`; if there are any, returns them and what the first is called.
fn leave_out(
    list: &mut Vec<AnnotationEntry>,
    is_lost: impl Fn(&AnnotationEntry) -> bool,
) -> Option<(Vec<AnnotationEntry>, String)> {
    let first = list.iter().position(&is_lost)?;
    let name = list[first].name(first);
    Some((list.extract_if(.., |entry| is_lost(entry)).collect(), name))
}
