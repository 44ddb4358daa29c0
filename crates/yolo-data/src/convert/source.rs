//! COCO files as the source of a data set that has no YAML.

use std::path::{Path, PathBuf};

use yolo_eval::coco::classes::folded;

use crate::dataset::{DatasetConfig, Split, coco_json};
use crate::{DataError, Result};

/// Whether the entries of `config` are COCO files.
pub fn is_coco(config: &DatasetConfig) -> bool {
    let entries = [Split::Train, Split::Val, Split::Test].into_iter().flat_map(|split| config.entries(split));
    let is_json =
        |entry: &String| Path::new(entry).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    entries.into_iter().any(is_json)
}

/// The data set of the COCO files `files`. The name of a file (`instances_train2017.json`) or its folder
/// (`valid/_annotations.coco.json`) decides its split; a single file may have any name and is then the train split.
/// Classes are the categories of all files, in the order of their ids in the first file that has them. `image_dir` is
/// the folder of the images, if it is not one of the usual ones.
///
/// # Errors
/// There is no file, a file is not a COCO file, the split of one of several files is unknown, or there is no category.
pub fn config_of_json(files: &[PathBuf], image_dir: Option<&Path>) -> Result<DatasetConfig> {
    let Some(first) = files.first() else {
        return Err(DataError::mismatch("there is no COCO file to read"));
    };
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| DataError::io(path, e));
    let image_dir = image_dir.map(absolute).transpose()?;
    let file = absolute(first)?;
    let mut config = DatasetConfig {
        path: root_of(&file).display().to_string(),
        file,
        train: vec![],
        val: vec![],
        test: vec![],
        class_names: vec![],
        download: None,
        image_dir: image_dir.map(|dir| dir.display().to_string()),
    };
    for path in files {
        let path = absolute(path)?;
        let split = match split_of(&path) {
            Some(split) => split,
            None if files.len() == 1 => Split::Train,
            None => {
                let reason = "neither its name nor its folder says which split it is; rename it to \
                              instances_train.json, instances_val.json or instances_test.json";
                return Err(DataError::invalid(path, reason));
            }
        };
        add_names(&mut config.class_names, coco_json::read(&path)?.category_names());
        let entries = match split {
            Split::Train => &mut config.train,
            Split::Val => &mut config.val,
            Split::Test => &mut config.test,
        };
        entries.push(path.display().to_string());
    }
    if config.class_names.is_empty() {
        return Err(DataError::invalid(
            &config.file,
            "`categories` is empty: a data set needs at least one class",
        ));
    }
    Ok(config)
}

/// Adds the categories of a file to the classes of the files before. Names that differ only by case or surrounding space
/// are one class, unless the file itself tells them apart.
fn add_names<'a>(classes: &mut Vec<String>, categories: impl Iterator<Item = &'a str>) {
    let known: Vec<String> = classes.iter().map(|class| folded(class)).collect();
    for name in categories {
        if !classes.iter().any(|class| class == name) && !known.contains(&folded(name)) {
            classes.push(name.to_owned());
        }
    }
}

/// The folder above `annotations/`, or the folder of the file.
fn root_of(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(file);
    match folder.parent() {
        Some(above) if folder.ends_with("annotations") => above,
        _ => folder,
    }
}

/// The split that the name of the file, or otherwise of its folder, contains.
fn split_of(file: &Path) -> Option<Split> {
    let by_name = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy().to_lowercase();
        let known = [("train", Split::Train), ("val", Split::Val), ("test", Split::Test)];
        known.into_iter().find(|(word, _)| name.contains(word)).map(|(_, split)| split)
    };
    file.file_stem().and_then(by_name).or_else(|| file.parent()?.file_name().and_then(by_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_the_folder_of_a_file_decides_its_split() {
        let cases = [
            ("/d/annotations/instances_train2017.json", Some(Split::Train)),
            ("/d/annotations/instances_val2017.json", Some(Split::Val)),
            ("/d/valid/_annotations.coco.json", Some(Split::Val)),
            ("/d/test/_annotations.coco.json", Some(Split::Test)),
            ("/d/all.json", None),
        ];
        for (file, split) in cases {
            assert_eq!(split_of(Path::new(file)), split, "{file}");
        }
    }

    #[test]
    fn names_of_several_files_are_one_class_if_only_case_differs() {
        let mut classes = vec![];
        add_names(&mut classes, ["Cat", "cat", "dog"].into_iter());
        add_names(&mut classes, ["DOG ", "eel"].into_iter());
        assert_eq!(classes, ["Cat", "cat", "dog", "eel"]);
    }

    #[test]
    fn images_are_looked_for_from_the_folder_above_the_annotations() {
        assert_eq!(root_of(Path::new("/d/annotations/instances_val.json")), Path::new("/d"));
        assert_eq!(root_of(Path::new("/d/valid/_annotations.coco.json")), Path::new("/d/valid"));
    }
}
