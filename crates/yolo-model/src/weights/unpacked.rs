//! A `.pt` file after `unzip`: a folder with `data.pkl`, `data/0` … `data/N` and `version`.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::error::{WeightsError, WeightsErrorKind};

/// The entry that makes a folder an unpacked archive.
const PICKLE: &str = "data.pkl";

/// The folder of an unpacked archive.
#[derive(Debug)]
pub(super) struct UnpackedArchive {
    folder: PathBuf,
    /// The size of `data.pkl` and the storages.
    pub(super) bytes: u64,
}

/// Bytes of the checkpoint that lies unpacked in the folder `path`; `None` if none does.
pub fn unpacked_bytes(path: &Path) -> Option<u64> {
    UnpackedArchive::open(path).ok().map(|archive| archive.bytes)
}

impl UnpackedArchive {
    /// Finds the pickle in `path`, or in its only sub-folder that has one.
    pub(super) fn open(path: &Path) -> Result<Self, WeightsError> {
        let has_pickle = |folder: &PathBuf| folder.join(PICKLE).is_file();
        let mut found: Vec<PathBuf> = vec![path.to_path_buf()];
        found.retain(has_pickle);
        if found.is_empty() {
            found = entries(path).into_iter().map(|(path, _)| path).filter(has_pickle).collect();
        }
        let [folder] = &found[..] else {
            let reason = match found.len() {
                0 => "is a folder without a data.pkl, so no checkpoint is unpacked in it".to_owned(),
                several => format!("is a folder with {several} unpacked checkpoints"),
            };
            return Err(WeightsError::new(WeightsErrorKind::Io, reason, "name the weights inside it"));
        };
        if folder.join("code").is_dir() {
            let reason = "is an unpacked TorchScript archive, which holds compiled code";
            let fix = "give the .pt file it was exported from";
            return Err(WeightsError::new(WeightsErrorKind::Format, reason, fix));
        }
        let storages = entries(&folder.join("data")).into_iter().map(|(_, bytes)| bytes);
        let pickle = std::fs::metadata(folder.join(PICKLE)).map_or(0, |metadata| metadata.len());
        Ok(Self { folder: folder.clone(), bytes: storages.fold(pickle, u64::saturating_add) })
    }

    /// Whether there is such an entry.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    /// The bytes of an entry, at most `limit` of them.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, WeightsError> {
        // Names of storages come from the pickle; none of them may lead out of the folder.
        let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return Err(WeightsError::hostile("the pickle names a file outside its folder"));
        }
        let path = self.folder.join(name);
        if !path.is_file() {
            return Err(WeightsError::damaged("the unpacked archive has no such file"));
        }
        let unreadable = |error: std::io::Error| {
            WeightsError::new(
                WeightsErrorKind::Io,
                format!("cannot be read: {error}"),
                "check the disk and the path",
            )
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > limit {
            return Err(WeightsError::hostile(format!("the file has more than {limit} bytes")));
        }
        Ok(bytes)
    }
}

/// What is in a folder, with sizes, in the order of the names; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<(PathBuf, u64)> {
    let found = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> =
        found.map(|entry| (entry.path(), entry.metadata().map_or(0, |metadata| metadata.len()))).collect();
    found.sort();
    found
}
