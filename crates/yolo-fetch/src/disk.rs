//! Free space, and making things on disk last.

use std::path::Path;

use crate::{FetchError, Options, Result};

/// Room left over, so that a download does not fill a disk to the last byte.
const RESERVE: u64 = 16 << 20;

/// Free bytes on the disk of the existing `folder`; absent where unknown.
#[cfg(unix)]
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Free bytes on the disk of `folder`: not known on this system.
#[cfg(not(unix))]
pub(crate) fn free_space(_folder: &Path) -> Option<u64> {
    None
}

/// Fails unless `needed` bytes fit on the disk of `folder`.
pub(crate) fn require_space(folder: &Path, needed: u64, options: &Options) -> Result<()> {
    let needed = needed.saturating_add(RESERVE);
    match (options.free_space)(folder) {
        Some(free) if free < needed => Err(FetchError::DiskSpace { path: folder.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

/// Makes a rename in `folder` last through a power cut, where the system can.
pub(crate) fn sync_folder(folder: &Path) {
    // A folder cannot be opened as a file everywhere; the rename itself has happened.
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Makes everything written to the disk of `folder` last.
pub(crate) fn sync_disk(folder: &Path) {
    #[cfg(target_os = "linux")]
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = rustix::fs::syncfs(folder);
    }
    #[cfg(not(target_os = "linux"))]
    sync_folder(folder);
}

/// The folder of `path`, made if it is missing.
pub(crate) fn make_parent(path: &Path) -> Result<&Path> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| FetchError::io(folder, error))?;
    Ok(folder)
}

/// Writes a small file, whole or not at all.
pub(crate) fn write_small(path: &Path, content: &[u8]) -> Result<()> {
    yolo_files::write(path, content).map_err(|error| FetchError::io(path, error))
}
