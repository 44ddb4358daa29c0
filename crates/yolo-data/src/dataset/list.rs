//! The images of a split, in order, and the path of the label file of each.

use std::path::{Path, PathBuf};

use super::Problem;
use super::config::Entry;
use super::labels::numbered_lines;
use crate::{DataError, Result};

/// Extensions of image files in lower case; the case in a file name does not matter.
pub const IMAGE_EXTENSIONS: [&str; 10] =
    ["bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp", "pfm"];

/// The images of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageList {
    /// Every image, ordered by its full path as a string. An image that is listed twice occurs twice.
    pub images: Vec<PathBuf>,
    /// Lines of list files that name no existing image (rejected) or no image at all (warning).
    pub problems: Vec<Problem>,
}

/// Lists the images of folders (recursively) and list files.
///
/// Hidden files and folders are skipped. In a list file, `./x` is relative to the list's folder; any other
/// relative path is searched in the list's folder, then the data set's root, then `current_dir`.
///
/// # Errors
/// An entry cannot be read, is neither a folder nor a text file, or all entries together hold no image.
pub fn list_images(entries: &[Entry], current_dir: Option<&Path>) -> Result<ImageList> {
    let mut list = ImageList::default();
    for Entry { root, path } in entries {
        let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if metadata.is_dir() {
            walk(path, &mut vec![], &mut list.images)?;
        } else if is_image(path) {
            let reason = "an entry must be a folder of images, a list file (.txt) or a COCO JSON (.json); this is an \
                          image: name its folder";
            return Err(DataError::invalid(path, reason));
        } else {
            let content = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
            let places = list_places(path, root, current_dir);
            read_list(path, &content, &places, &mut list)?;
        }
    }
    if list.images.is_empty() {
        return Err(nothing_found(entries, &list.problems));
    }
    list.images.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(list)
}

/// The label file of an image: the last folder `images` in its path becomes `labels` and the extension
/// becomes `txt`; without such a folder, the label file is beside the image. Symlinks are not resolved.
pub fn label_path(image: &Path) -> PathBuf {
    let Some(text) = image.to_str() else {
        return image.with_extension("txt");
    };
    let is_separator = |i: usize| matches!(text.as_bytes().get(i), Some(b'/' | b'\\'));
    let folder = text
        .rmatch_indices("images")
        .map(|(start, found)| (start, start + found.len()))
        .find(|&(start, end)| is_separator(end) && (start == 0 || is_separator(start - 1)));
    match folder {
        Some((start, end)) => {
            PathBuf::from(format!("{}labels{}", &text[..start], &text[end..])).with_extension("txt")
        }
        None => image.with_extension("txt"),
    }
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    extension.is_some_and(|e| IMAGE_EXTENSIONS.contains(&e.as_str()))
}

/// The images below a folder in the order of their paths; none if it cannot be read.
pub(super) fn images_below(dir: &Path) -> Vec<PathBuf> {
    let mut images = vec![];
    if walk(dir, &mut vec![], &mut images).is_err() {
        images.clear();
    }
    images.sort();
    images
}

/// Collects the images below `dir`. `above` holds the real paths of the folders on the way, since a symlink
/// may lead back to one of them.
fn walk(dir: &Path, above: &mut Vec<PathBuf>, images: &mut Vec<PathBuf>) -> Result<()> {
    let real = dir.canonicalize().map_err(|e| DataError::io(dir, e))?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for entry in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))? {
        let entry = entry.map_err(|e| DataError::io(dir, e))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| DataError::io(&path, e))?;
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            walk(&path, above, images)?;
        } else if is_image(&path) {
            images.push(path);
        }
    }
    above.pop();
    Ok(())
}

fn list_places(list: &Path, root: &Path, current_dir: Option<&Path>) -> Vec<PathBuf> {
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut places = vec![folder.to_owned(), root.to_owned()];
    places.extend(current_dir.map(Path::to_owned));
    places
}

/// Reads one list file; `places[0]` is its folder.
fn read_list(list: &Path, content: &[u8], places: &[PathBuf], into: &mut ImageList) -> Result<()> {
    let text = std::str::from_utf8(content).map_err(|e| {
        let line = content[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        DataError::at_line(
            list,
            line,
            "not UTF-8 text: a list file holds one image path per line; save it as UTF-8",
        )
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in numbered_lines(text) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !is_image(Path::new(line)) {
            let reason = format!(
                "`{line}` is skipped: it does not have the extension of an image ({})",
                IMAGE_EXTENSIONS.join(", ")
            );
            into.problems.push(Problem::warning(list, Some(number), reason));
            continue;
        }
        match find_listed(line, places) {
            Ok(image) => into.images.push(image),
            Err(tried) => {
                let tried: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
                let reason = format!(
                    "`{line}` does not exist; tried {}. Correct the line, or remove it",
                    tried.join(", ")
                );
                into.problems.push(Problem::rejected(list, Some(number), reason));
            }
        }
    }
    Ok(())
}

/// The existing file that `line` names, or the places tried.
fn find_listed(line: &str, places: &[PathBuf]) -> std::result::Result<PathBuf, Vec<PathBuf>> {
    let mut tried: Vec<PathBuf> = vec![];
    // Backslashes are tried as written first: except on Windows they may be part of a name.
    let slashed = line.replace('\\', "/");
    for spelling in [line, &slashed] {
        let (spelling, places) = match spelling.strip_prefix("./") {
            Some(rest) => (rest, &places[..places.len().min(1)]),
            None => (spelling, places),
        };
        for place in places {
            // `join` of an absolute path is that path.
            let path = place.join(spelling);
            if path.is_file() {
                return Ok(path);
            }
            if !tried.contains(&path) {
                tried.push(path);
            }
        }
    }
    Err(tried)
}

fn nothing_found(entries: &[Entry], problems: &[Problem]) -> DataError {
    let looked_in: Vec<String> = entries.iter().map(|e| e.path.display().to_string()).collect();
    let first: String = problems.iter().take(3).map(|problem| format!("; {problem}")).collect();
    let reason = format!(
        "no image in {}: looked for files ending in {} (any case, hidden ones skipped). Correct the entry or put \
         the images there{first}",
        looked_in.join(", "),
        IMAGE_EXTENSIONS.join(", ")
    );
    DataError::invalid(entries.first().map(|e| e.path.clone()).unwrap_or_default(), reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn touch(path: PathBuf) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"x").unwrap();
        path
    }

    fn list(root: &Path, entry: &Path) -> Result<ImageList> {
        list_images(&[Entry { root: root.to_owned(), path: entry.to_owned() }], None)
    }

    #[test]
    fn the_last_folder_images_becomes_labels() {
        let cases = [
            ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
            ("/images/x/images/a.b.JPG", "/images/x/labels/a.b.txt"),
            ("/d/images/images.jpg", "/d/labels/images.txt"),
            ("/d/my_images/a.png", "/d/my_images/a.txt"),
            ("/d/images2/a.png", "/d/images2/a.txt"),
            ("images/a.png", "labels/a.txt"),
            ("C:\\d\\images\\t\\a.jpg", "C:\\d\\labels\\t\\a.txt"),
        ];
        for (image, label) in cases {
            assert_eq!(label_path(Path::new(image)), Path::new(label));
        }
    }

    #[test]
    fn folders_are_walked_without_hidden_files_and_sorted_by_path_text() {
        let temp = tempfile::tempdir().unwrap();
        let at = |p: &str| temp.path().join(p);
        let expected = ["a-b/x.jpg", "a/Z.PNG", "a/b/c.TiFF", "a/b.webp"].map(|p| touch(at(p)));
        for skipped in [".git/x.jpg", "a/.hidden.jpg", "a/notes.txt", "a/x.gif"] {
            touch(at(skipped));
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(temp.path(), at("a/loop")).unwrap();
        let mut expected = expected.to_vec();
        expected.sort_by_key(|p| p.to_str().unwrap().to_owned());
        assert_eq!(list(temp.path(), temp.path()).unwrap().images, expected);
    }

    #[test]
    fn lists_find_their_images_beside_them_or_in_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let at = |p: &str| temp.path().join(p);
        let images = ["lists/i/a.jpg", "lists/i/w.jpg", "root/i/b.jpg", "root/i/c.jpg"].map(|p| touch(at(p)));
        let text = format!(
            "\u{feff}./i/a.jpg\r\n\r\n.\\i\\w.jpg\r\n i/b.jpg \r\n{}\r\ni/none.jpg\r\n./i/c.jpg\r\nreadme.md\r\n",
            images[3].display()
        );
        let file = at("lists/train.txt");
        std::fs::write(&file, text).unwrap();
        let list = list(&at("root"), &file).unwrap();
        assert_eq!(list.images, images);
        let lines: Vec<_> = list.problems.iter().map(|p| (p.line, p.severity)).collect();
        use super::super::Severity::{Rejected, Warning};
        assert_eq!(lines, [(Some(6), Rejected), (Some(7), Rejected), (Some(8), Warning)]);
        assert!(list.problems[0].reason.contains("root/i/none.jpg"), "{}", list.problems[0]);
        assert!(!list.problems[1].reason.contains("root"), "{}", list.problems[1]);
    }

    #[test]
    fn without_images_the_error_names_what_was_searched() {
        let temp = tempfile::tempdir().unwrap();
        let text = list(temp.path(), temp.path()).unwrap_err().to_string();
        assert!(text.contains("no image in") && text.contains("jpeg, jpg"), "{text}");
        let file = temp.path().join("l.txt");
        std::fs::write(&file, "gone.jpg\n").unwrap();
        let text = list(temp.path(), &file).unwrap_err().to_string();
        assert!(text.contains("l.txt:1") && text.contains("gone.jpg"), "{text}");
        std::fs::write(&file, b"a.jpg\n\xFF\xFE\n").unwrap();
        let text = list(temp.path(), &file).unwrap_err().to_string();
        assert!(text.contains("l.txt:2") && text.contains("UTF-8"), "{text}");
        let image = touch(temp.path().join("a.jpg"));
        assert!(list(temp.path(), &image).unwrap_err().to_string().contains("its folder"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_list_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let places = [PathBuf::from("/nowhere")];
            let _ = read_list(Path::new("/l.txt"), &content, &places, &mut ImageList::default());
        }

        #[test]
        fn no_path_makes_the_label_rule_panic(path in "(images|/|\\\\|[a-zé.]){0,12}") {
            let _ = label_path(Path::new(&path));
        }
    }
}
