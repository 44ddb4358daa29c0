//! Which image of an annotation file is which image file: matched by path, then by name, then by number.
//!
//! Every step compares what the steps before left over, and pairs only what is unique on both sides, so that a wrong
//! pair is never made out of two possible ones. Back-slashes are slashes, and the same spelling comes before another case.

use std::collections::HashMap;
use std::path::Path;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

/// What became of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMatch {
    /// It is the image with this index.
    One(usize),
    /// No image of the annotations is this file.
    Absent,
    /// Several images of the annotations could be this file; two of their indices.
    Several(usize, usize),
}

/// An image of an annotation file, as it is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its file, possibly with folders; may be empty.
    pub file_name: &'a str,
    /// Its id, if that is a number.
    pub number: Option<i64>,
}

/// For every path of `files` the image of `images` that it is.
///
/// In this order: the whole `file_name` is the end of the path; the longest ends of both that include a folder are equal,
/// with or without extension; the names without folders are equal; without folders and extension; the same of a
/// `file_name` with percent codes (`%20`); the file is called by a number that is that of the image: the number that its
/// `file_name` is, or its id if that has no `file_name` or one that ends with this number. A path that occurs twice is one
/// file.
pub fn match_files(files: &[&Path], images: &[Listed]) -> Vec<FileMatch> {
    let mut unique: HashMap<&Path, usize> = HashMap::new();
    let mut paths: Vec<Parts> = Vec::new();
    let index_of: Vec<usize> = files
        .iter()
        .map(|&file| {
            *unique.entry(file).or_insert_with(|| {
                paths.push(Parts::new(&file.to_string_lossy()));
                paths.len() - 1
            })
        })
        .collect();
    let names: Vec<Parts> = images.iter().map(|image| Parts::new(image.file_name)).collect();
    let mut matching = Matching::new(paths.len(), images.len());
    for fold in [false, true] {
        matching.by_path(&paths, &names, fold);
    }
    matching.by_ends(&paths, &names);
    matching.by_name(&paths, &names);
    let decoded: Vec<Parts> = images.iter().map(|image| Parts::new(&decoded(image.file_name))).collect();
    if decoded.iter().any(|parts| !parts.parts.is_empty()) {
        matching.by_name(&paths, &decoded);
    }
    let of_file = |parts: &Parts| image_id(parts.stem());
    let of_image = |(parts, image): (&Parts, &Listed)| number_of(parts.stem(), image.number);
    matching.step(paths.iter().map(of_file), names.iter().zip(images).map(of_image));
    index_of.into_iter().map(|index| matching.found[index]).collect()
}

/// The name that `file_name` is in a URL; empty where it has no percent codes.
fn decoded(file_name: &str) -> String {
    let decoded = percent_decode_str(file_name).decode_utf8_lossy();
    if decoded == file_name { String::new() } else { decoded.into_owned() }
}

fn cased(text: &str, fold: bool) -> String {
    if fold { text.to_lowercase() } else { text.to_owned() }
}

/// The image id of a file stem: its number if it consists of digits only.
pub fn image_id(stem: &str) -> Option<i64> {
    let is_number = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
    if is_number { stem.parse().ok() } else { None }
}

/// The number of an image that is called `stem` and has this id.
fn number_of(stem: &str, id: Option<i64>) -> Option<i64> {
    if let Some(number) = image_id(stem) {
        return Some(number);
    }
    let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let ends_with = stem[stem.len() - digits..].parse().ok();
    id.filter(|id| stem.is_empty() || ends_with == Some(*id))
}

/// A path, part by part.
struct Parts {
    parts: Vec<String>,
}

impl Parts {
    /// One letter has several forms in Unicode, and file systems choose: macOS takes accents apart.
    fn new(path: &str) -> Self {
        let path: String = path.nfc().collect();
        let parts = path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".");
        Self { parts: parts.map(str::to_owned).collect() }
    }

    fn name(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    fn stem(&self) -> &str {
        let name = self.name();
        name.rfind('.').filter(|&dot| dot > 0).map_or(name, |dot| &name[..dot])
    }

    /// The last `count` parts as one text.
    fn end(&self, count: usize, fold: bool) -> String {
        cased(&self.parts[self.parts.len() - count..].join("/"), fold)
    }

    /// The same without case, and without extension if `bare`; nothing of a path that has fewer parts.
    fn folded_end(&self, count: usize, bare: bool) -> Option<String> {
        let folders = self.parts.get(self.parts.len().checked_sub(count)?..self.parts.len() - 1)?;
        let name = if bare { self.stem() } else { self.name() };
        Some(cased(&format!("{}/{name}", folders.join("/")), true))
    }
}

/// Pairs so far.
struct Matching {
    found: Vec<FileMatch>,
    is_taken: Vec<bool>,
}

impl Matching {
    fn new(files: usize, images: usize) -> Self {
        Self { found: vec![FileMatch::Absent; files], is_taken: vec![false; images] }
    }

    /// Pairs files with the image whose whole name is the longest end of their path.
    fn by_path(&mut self, paths: &[Parts], names: &[Parts], fold: bool) {
        let whole = |name: &Parts| name.end(name.parts.len(), fold);
        let names: Vec<Option<String>> =
            names.iter().map(|name| (!name.parts.is_empty()).then(|| whole(name))).collect();
        let known: std::collections::HashSet<&str> = names.iter().flatten().map(String::as_str).collect();
        let longest = |path: &Parts| {
            (1..=path.parts.len())
                .rev()
                .map(|count| path.end(count, fold))
                .find(|end| known.contains(end.as_str()))
        };
        let keys: Vec<Option<String>> = paths.iter().map(longest).collect();
        self.step(keys.into_iter(), names.clone().into_iter());
    }

    /// Pairs files and images by the longest ends of their paths that are equal, where these have a folder.
    fn by_ends(&mut self, paths: &[Parts], names: &[Parts]) {
        let depth = |parts: &[Parts]| parts.iter().map(|parts| parts.parts.len()).max().unwrap_or(0);
        for count in (2..=depth(paths).min(depth(names))).rev() {
            for bare in [false, true] {
                let end = |parts: &Parts| parts.folded_end(count, bare);
                self.step(paths.iter().map(end), names.iter().map(end));
            }
        }
    }

    /// Pairs files and images whose names without folders are equal, then those without extension.
    fn by_name(&mut self, paths: &[Parts], names: &[Parts]) {
        let steps: [fn(&Parts) -> &str; 2] = [Parts::name, Parts::stem];
        for key in steps {
            for fold in [false, true] {
                let key = |parts: &Parts| {
                    Some(key(parts)).filter(|key| !key.is_empty()).map(|key| cased(key, fold))
                };
                self.step(paths.iter().map(key), names.iter().map(key));
            }
        }
    }

    /// Pairs files and images that are left and have the same key, which no other of either has.
    fn step<K: std::hash::Hash + Eq>(
        &mut self,
        of_files: impl Iterator<Item = Option<K>>,
        of_images: impl Iterator<Item = Option<K>>,
    ) {
        let mut by_key: HashMap<K, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for (index, key) in of_images.enumerate() {
            if let Some(key) = key.filter(|_| !self.is_taken[index]) {
                by_key.entry(key).or_default().1.push(index);
            }
        }
        for (index, key) in of_files.enumerate() {
            let is_left = !matches!(self.found[index], FileMatch::One(_));
            if let Some(of_key) = key.filter(|_| is_left).and_then(|key| by_key.get_mut(&key)) {
                of_key.0.push(index);
            }
        }
        for (files, images) in by_key.into_values() {
            match (&files[..], &images[..]) {
                (&[file], &[image]) => {
                    self.found[file] = FileMatch::One(image);
                    self.is_taken[image] = true;
                }
                (_, &[first, second, ..]) => {
                    for file in files {
                        self.found[file] = FileMatch::Several(first, second);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(files: &[&str], images: &[(&str, i64)]) -> Vec<FileMatch> {
        let files: Vec<&Path> = files.iter().map(Path::new).collect();
        let images: Vec<Listed> =
            images.iter().map(|&(file_name, id)| Listed { file_name, number: Some(id) }).collect();
        match_files(&files, &images)
    }

    use FileMatch::{Absent, One, Several};

    #[test]
    fn paths_come_before_names() {
        let files = ["/d/images/a/1.jpg", "/d/images/b/1.jpg"];
        assert_eq!(matched(&files, &[("b/1.jpg", 7), ("images/a/1.jpg", 8)]), [One(1), One(0)]);
        assert_eq!(matched(&files, &[("images\\b\\1.jpg", 7), (".\\A\\1.JPG", 8)]), [One(1), One(0)]);
    }

    #[test]
    fn names_come_before_numbers() {
        // Ids that count from 0 would pair each file with its neighbour.
        let files = ["/d/000001.jpg", "/d/000002.jpg"];
        for (a, b) in [("x/000001.jpg", "x/000002.jpg"), ("000001.png", "000002.PNG"), ("1.jpg", "C:\\2.jpg")]
        {
            assert_eq!(matched(&files, &[(a, 0), (b, 1)]), [One(0), One(1)], "{a}");
        }
    }

    #[test]
    fn numbers_pair_what_is_called_by_them() {
        let files = ["/d/000000000139.jpg"];
        assert_eq!(matched(&files, &[("COCO_val2014_000000000139.jpg", 139)]), [One(0)]);
        assert_eq!(matched(&files, &[("", 139)]), [One(0)]);
        // The name says another number than the id: which one is right is not known.
        assert_eq!(matched(&files, &[("frame_140.jpg", 139), ("cat.jpg", 139)]), [Absent]);
    }

    #[test]
    fn the_longest_equal_ends_of_paths_decide() {
        let files = ["/d/images/val/a/0.jpg", "/d/images/val/b/0.jpg"];
        for (a, b) in [("D:\\x\\a\\0.jpg", "D:\\x\\b\\0.jpg"), ("train/A/0.png", "train/b/0.png")] {
            assert_eq!(matched(&files, &[(b, 320), (a, 321)]), [One(1), One(0)], "{a}");
        }
        assert_eq!(matched(&files, &[("c/0.jpg", 1), ("e/0.jpg", 2)]), [Several(0, 1), Several(0, 1)]);
    }

    #[test]
    fn other_forms_of_letters_and_percent_codes_are_the_same_name() {
        let accent = ["/d/images/cafe\u{301} 1.jpg"];
        assert_eq!(matched(&accent, &[("caf\u{e9} 1.jpg", 5)]), [One(0)]);
        assert_eq!(matched(&accent, &[("images/caf%C3%A9%201.jpg", 5)]), [One(0)]);
        // A name with such codes in it is its own first.
        assert_eq!(matched(&["/d/a%20b.jpg"], &[("a b.jpg", 1), ("a%20b.jpg", 2)]), [One(1)]);
    }

    #[test]
    fn what_is_not_unique_is_not_paired() {
        assert_eq!(matched(&["/d/1.jpg"], &[("a/1.jpg", 1), ("b/1.jpg", 2)]), [Several(0, 1)]);
        assert_eq!(matched(&["/a/1.jpg", "/b/1.jpg"], &[("1.jpg", 1)]), [Absent, Absent]);
        assert_eq!(matched(&["/a/1.jpg", "/a/1.jpg"], &[("1.jpg", 1)]), [One(0), One(0)]);
        assert_eq!(matched(&["/d/1.jpg"], &[("1.jpg", 1), ("1.jpg", 2)]), [Several(0, 1)]);
        assert_eq!(matched(&["/d/a.jpg", "/d/a.png"], &[("a.bmp", 1)]), [Absent, Absent]);
        assert_eq!(matched(&["/d/a.jpg", "/d/a.png"], &[("a.png", 1)]), [Absent, One(0)]);
    }
}
