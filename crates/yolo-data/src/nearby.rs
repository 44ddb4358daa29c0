//! "Did you mean": the file that a misspelt path may stand for.

use std::path::{Path, PathBuf};

use strsim::osa_distance;

/// The end of a message about a path that is not there: the nearest name in its folder, where there is one.
pub fn suggestion(path: &Path) -> String {
    nearest(path).map_or_else(String::new, |near| format!("; did you mean {}?", near.display()))
}

/// The file or folder beside `path` whose name is nearest: a few letters away, or the same with another extension.
fn nearest(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_str()?.to_lowercase();
    let stem = Path::new(&wanted).file_stem()?.to_str()?.to_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.flatten();
    // A short name has short neighbours.
    let most = (stem.chars().count() / 3).clamp(1, 3);
    let candidates = entries.filter_map(|entry| {
        let name = entry.file_name().to_str()?.to_owned();
        let lower = name.to_lowercase();
        let same_stem = Path::new(&lower).file_stem().and_then(|s| s.to_str()) == Some(&stem);
        let distance = if same_stem { 1 } else { osa_distance(&lower, &wanted) };
        (distance <= most && !name.starts_with('.')).then_some((distance, name))
    });
    let (_, name) = candidates.min()?;
    Some(folder.map_or_else(|| PathBuf::from(&name), |folder| folder.join(&name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_nearest_name_in_the_folder_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["yolov5n.pt", "data.yaml", ".best.pt", "a.pt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let near = |name: &str| {
            let found = nearest(&folder.path().join(name))?;
            Some(found.file_name().unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(near("yolov5n.pth").as_deref(), Some("yolov5n.pt"));
        assert_eq!(near("YOLO5n.pt").as_deref(), Some("yolov5n.pt"));
        assert_eq!(near("data.yml").as_deref(), Some("data.yaml"));
        for unlike in ["best.pt", "coco.yaml", "zz.pt"] {
            assert_eq!(near(unlike), None, "{unlike}");
        }
        assert_eq!(nearest(&folder.path().join("no/such/folder.pt")), None);
    }
}
