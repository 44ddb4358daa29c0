//! Folders that appear whole or not at all.

use std::path::Path;

use crate::{DataError, Result};

/// Makes the folder `path`: `fill` gets a folder beside it, which is moved there once it is complete. Missing folders
/// above it are made.
///
/// # Errors
/// `path` exists, `fill` fails, or the file system reports an error; nothing is left behind then.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let exists = || DataError::invalid(path, "it exists already; choose another folder, or remove this one");
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let above = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(above).map_err(|e| DataError::io(above, e))?;
    let partial = temporary_folder(above, ".partial-").map_err(|e| DataError::io(above, e))?;
    fill(partial.path())?;
    std::fs::rename(partial.path(), path).map_err(|error| match path.exists() {
        true => exists(),
        false => DataError::io(path, error),
    })?;
    // It is in its final place, so it must not be removed.
    let _ = partial.keep();
    Ok(())
}

/// Makes a folder in `above` whose name begins with `prefix`. It is removed when dropped, unless it is kept.
pub(crate) fn temporary_folder(above: &Path, prefix: &str) -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        // The permissions of any new folder (the umask applies); by default only the owner has access.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(above)
}
