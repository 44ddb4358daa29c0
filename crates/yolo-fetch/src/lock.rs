//! One download at a time in a folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{Event, FetchError, Progress, Result};

/// Waits for the lock `file`, which is made and stays; it is free again when the result is dropped or the
/// process ends, however it ends. On disks that know no locks this does nothing.
pub(crate) fn acquire(file: &Path, progress: Progress<'_>) -> Result<File> {
    // The file is never removed: a waiting process would hold the lock of a file that is gone.
    let opened = File::options().create(true).truncate(false).write(true).open(file);
    let lock = opened.map_err(|error| FetchError::io(file, error))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        progress(Event::Waiting { lock: file });
        lock.lock().map_err(|error| FetchError::io(file, error))?;
    }
    Ok(lock)
}
