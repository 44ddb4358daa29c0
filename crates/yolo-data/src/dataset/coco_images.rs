//! Finds the image files of a COCO file on disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use yolo_eval::coco::files::{FileMatch, Listed, match_files};

use super::{Problem, list};

/// Where a COCO file's images may be.
pub(super) struct ImageDirs {
    /// Folders that are searched with all that is below them, in the order they are tried.
    dirs: Vec<PathBuf>,
    /// The root of the data set, which names may start from; it may hold anything else besides.
    root: Option<PathBuf>,
}

impl ImageDirs {
    /// `image_dir` alone if it is named; otherwise the usual folders, and that of `json`.
    pub(super) fn new(json: &Path, root: &Path, image_dir: Option<PathBuf>) -> Self {
        if let Some(dir) = image_dir {
            return Self { dirs: vec![dir], root: None };
        }
        let stem = json.file_stem().unwrap_or_default().to_string_lossy();
        let split = stem.strip_prefix("instances_").unwrap_or(&stem);
        let mut dirs = vec![root.join("images").join(split), root.join(split), root.join("images")];
        dirs.extend(json.parent().map(Path::to_owned));
        Self { dirs, root: Some(root.to_owned()) }
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.iter().chain(&self.root)
    }
}

/// The file of each of `images` below `dirs`, or why there is none. A name may be below a folder as it is written;
/// what is not is matched with the files of the folders by [`match_files`]. `problems` gets a warning if files are
/// called otherwise than the JSON says.
pub(super) fn find_images(
    json: &Path,
    images: &[Listed],
    dirs: &ImageDirs,
    problems: &mut Vec<Problem>,
) -> Vec<Result<PathBuf, String>> {
    let mut found: Vec<Option<PathBuf>> =
        images.iter().map(|image| find_as_written(image.file_name, dirs)).collect();
    for dir in dirs.dirs.iter().filter(|dir| dir.is_dir()) {
        let missing: Vec<usize> = (0..images.len()).filter(|&index| found[index].is_none()).collect();
        if missing.is_empty() {
            break;
        }
        let taken: HashSet<&PathBuf> = found.iter().flatten().collect();
        let files = list::images_below(dir).into_iter().filter(|file| !taken.contains(file));
        let files: Vec<PathBuf> = files.collect();
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let names: Vec<Listed> = missing.iter().map(|&index| images[index]).collect();
        for (file, matched) in files.iter().zip(match_files(&paths, &names)) {
            if let FileMatch::One(index) = matched {
                found[missing[index]] = Some(file.clone());
            }
        }
    }
    problems.extend(renamed(json, images, &found));
    images
        .iter()
        .zip(found)
        .map(|(image, found)| found.ok_or_else(|| not_found(image.file_name, dirs)))
        .collect()
}

fn find_as_written(file_name: &str, dirs: &ImageDirs) -> Option<PathBuf> {
    let slashed = file_name.replace('\\', "/");
    dirs.all().flat_map(|dir| [dir.join(file_name), dir.join(&slashed)]).find(|path| path.is_file())
}

fn not_found(file_name: &str, dirs: &ImageDirs) -> String {
    let dirs: Vec<String> = dirs.all().map(|dir| dir.display().to_string()).collect();
    format!(
        "image `{file_name}` is not in {}. Put it there, or name its folder as `image_dir` in the YAML",
        dirs.join(", ")
    )
}

/// A warning about files that are not called as the JSON calls them.
fn renamed(json: &Path, images: &[Listed], found: &[Option<PathBuf>]) -> Option<Problem> {
    let base = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
    let pairs =
        images.iter().zip(found).filter_map(|(image, found)| Some((image.file_name, found.as_ref()?)));
    let mut others = pairs.filter(|(name, found)| base(name) != base(&found.to_string_lossy()));
    let (name, file) = others.next()?;
    let count = 1 + others.count();
    let reason = format!(
        "{count} image(s) have another name on disk, and are matched without the extension or by number; the first \
         is `{name}`, taken from {}",
        file.display()
    );
    Some(Problem::warning(json, None, reason))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn images_are_found_by_path_name_and_stem() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        let files = ["images/train/a.jpg", "images/train/sub/b.JPG", "images/train/3.jpg", "other/c.jpg"];
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let json = root.join("annotations/instances_train.json");
        let dirs = ImageDirs::new(&json, root, None);
        let names = ["images\\train\\a.jpg", "D:\\old\\b.jpg", "0003.png", "other/c.jpg", "none.jpg"];
        let listed = names.map(|file_name| Listed { file_name, number: None });
        let mut problems = vec![];
        let found = find_images(&json, &listed, &dirs, &mut problems);
        for (found, file) in found.iter().zip(files) {
            assert_eq!(found.as_ref().unwrap(), &root.join(file));
        }
        assert!(found[4].as_ref().unwrap_err().contains("`none.jpg` is not in"), "{found:?}");
        assert!(problems.len() == 1 && problems[0].reason.contains("`0003.png`"), "{problems:?}");
    }
}
