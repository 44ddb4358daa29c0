//! Files and folders that appear whole or not at all.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use atomicwrites::{AllowOverwrite, AtomicFile};

use crate::{DataError, Result};

/// Writes a file beside its final place and moves it there, so that neither a full disk nor an interruption
/// leaves half a file. Missing folders are made. A file that exists stays until the new one is complete.
///
/// # Errors
/// `path` is a folder, or what `write` or the file system says; nothing is left behind then.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    AtomicFile::new(path, AllowOverwrite).write(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    })?;
    Ok(())
}

/// Makes the folder `path`: `fill` gets a folder beside it, which is moved there once it is complete. Missing folders
/// above it are made.
///
/// # Errors
/// `path` exists, or what `fill` or the file system says; nothing is left behind then.
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
    // It is where it belongs, so there is nothing to remove.
    let _ = partial.keep();
    Ok(())
}

/// A folder in `above` whose name begins with `prefix`, removed unless it is kept.
pub(crate) fn temporary_folder(above: &Path, prefix: &str) -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        // As an ordinary new folder (the umask still applies), not only for its owner.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(above)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.txt");
        write(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("new/..")] {
            let error = write(&path, |out| out.write_all(b"text")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IsADirectory, "{}", path.display());
        }
    }
}
