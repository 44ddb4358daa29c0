//! The unfinished download beside its destination: `NAME.part`, and `NAME.part.json` that says what it is of.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, write_small};
use crate::verify::{Digests, Hasher};
use crate::{Artefact, FetchError, Progress, Result};

/// Where the bytes of a part come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// The URL asked (not where it redirected to: signed targets expire).
    pub(crate) url: String,
    /// What the server names this version of the file: its strong `ETag`, else its `Last-Modified`.
    pub(crate) etag: Option<String>,
    /// Bytes of the whole file, where the server says.
    pub(crate) total: Option<u64>,
}

/// An open part. Its hash always covers exactly what was written.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    fresh_hasher: Hasher,
    hasher: Hasher,
    /// Bytes written.
    pub(crate) len: u64,
    /// Where they come from; absent for an empty part.
    pub(crate) origin: Option<Origin>,
    /// Whether they may be of different files: from an earlier run, another URL, or versions without a name.
    pub(crate) is_spliced: bool,
}

impl Part {
    /// Opens the part of `dest`, or makes an empty one. Bytes that were there are hashed.
    pub(crate) fn open(artefact: &Artefact, dest: &Path, progress: Progress<'_>) -> Result<Self> {
        let path = with_suffix(dest, ".part");
        let io = |error| FetchError::io(&path, error);
        let options = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = options.map_err(io)?;
        let fresh_hasher = Hasher::new(artefact.checksum.as_ref());
        let mut hasher = fresh_hasher.clone();
        let origin = std::fs::read(with_suffix(dest, ".part.json"))
            .ok()
            .and_then(|json| serde_json::from_slice::<Origin>(&json).ok());
        let mut len = file.metadata().map_err(io)?.len();
        let is_usable = origin.is_some() && len <= artefact.size.limit();
        if is_usable {
            len = hasher.update_from(&mut file, (&artefact.name, len), progress).map_err(io)?;
        }
        let mut part = Self { path, file, fresh_hasher, hasher, len, origin, is_spliced: len > 0 };
        if !is_usable {
            part.clear()?;
        }
        Ok(part)
    }

    /// Throws away every byte.
    pub(crate) fn clear(&mut self) -> Result<()> {
        // The note first: bytes without one are never continued.
        let _ = std::fs::remove_file(self.sidecar());
        let io = |error| FetchError::io(&self.path, error);
        self.file.set_len(0).map_err(io)?;
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.hasher = self.fresh_hasher.clone();
        (self.len, self.origin, self.is_spliced) = (0, None, false);
        Ok(())
    }

    /// Notes where the bytes to come are from, before the first of them.
    pub(crate) fn set_origin(&mut self, origin: Origin) -> Result<()> {
        let continues = self.origin.as_ref().is_some_and(|old| old.url == origin.url && old.etag.is_some());
        self.is_spliced |= self.len > 0 && !continues;
        let json = serde_json::to_vec_pretty(&origin)
            .map_err(|error| FetchError::io(&self.path, std::io::Error::other(error)))?;
        write_small(&self.sidecar(), &json)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Appends `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // A write that failed half-way leaves bytes that were not hashed.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(FetchError::io(&self.path, error));
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// What the bytes written so far hash to.
    pub(crate) fn digests(&self) -> Digests {
        self.hasher.clone().finish()
    }

    /// Moves the part to `dest`, for good.
    pub(crate) fn finish(self, dest: &Path) -> Result<()> {
        self.file.sync_all().map_err(|error| FetchError::io(&self.path, error))?;
        let sidecar = self.sidecar();
        // An open file cannot be moved everywhere.
        drop(self.file);
        std::fs::rename(&self.path, dest).map_err(|error| FetchError::io(dest, error))?;
        let _ = std::fs::remove_file(sidecar);
        if let Some(folder) = dest.parent() {
            disk::sync_folder(folder);
        }
        Ok(())
    }

    /// Leaves the part for the next run if it holds anything; removes it if not.
    pub(crate) fn leave(self) {
        if self.len == 0 {
            let sidecar = self.sidecar();
            drop(self.file);
            let _ = std::fs::remove_file(self.path);
            let _ = std::fs::remove_file(sidecar);
        }
    }

    fn sidecar(&self) -> PathBuf {
        with_suffix(&self.path, ".json")
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
