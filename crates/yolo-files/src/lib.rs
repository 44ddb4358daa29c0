//! Output files that appear whole or not at all: every crate that writes a file writes it through this one.
//!
//! The content goes to a hidden file beside the final place, reaches the disk, and is then moved there. A full disk, an
//! error or an interruption leaves what was there before.
//!
//! ```
//! use std::io::Write;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("results/table.csv");
//! yolo_files::write(&path, "epoch,loss\n")?; // makes the folder
//!
//! let mut file = yolo_files::AtomicFile::create(&path)?;
//! for epoch in 0..3 {
//!     writeln!(file, "{epoch},0.5")?;
//! }
//! file.commit()?; // without this, the old content stays
//! # assert_eq!(std::fs::read_to_string(&path)?, "0,0.5\n1,0.5\n2,0.5\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It has no dependencies, so that crates at the bottom of the workspace can use it.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 16;

/// Writes `content` to the file `path`. Missing folders are made.
///
/// # Errors
/// `path` is a folder, or the file system reports an error.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let mut file = AtomicFile::create(path)?;
    file.write_all(content.as_ref())?;
    file.commit()
}

/// A file that takes its place when it is [committed](AtomicFile::commit); dropped before, it leaves nothing behind.
/// Writing is buffered.
#[derive(Debug)]
pub struct AtomicFile {
    /// Absent once the file is closed.
    out: Option<BufWriter<File>>,
    /// Where it is written.
    partial: PathBuf,
    /// Where it belongs.
    path: PathBuf,
}

impl AtomicFile {
    /// Begins the file `path`, whose folder must exist. A file that is there stays until the new one is committed.
    ///
    /// # Errors
    /// `path` is a folder, or no file can be made beside it.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let (file, partial) = create_beside(&path)?;
        Ok(Self { out: Some(BufWriter::with_capacity(BUFFER, file)), partial, path })
    }

    /// Completes the file and moves it into place.
    ///
    /// # Errors
    /// Something could not be written or moved; nothing is left behind then.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(out) = self.out.take() {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
        }
        std::fs::rename(&self.partial, &self.path)?;
        // There is nothing to remove any more.
        self.partial.clear();
        Ok(())
    }

    fn out(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.out.as_mut().ok_or_else(|| ErrorKind::BrokenPipe.into())
    }
}

/// Makes a new hidden file in the folder of `path`.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_file_name(format!(".partial-{}-{number}", std::process::id()));
        match File::create_new(&partial) {
            Ok(file) => return Ok((file, partial)),
            // Left by a process that was killed and had the same id, or made by one on another machine.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.out()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // What is still buffered is not wanted.
            drop(out.into_parts());
        }
        if !self.partial.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The names in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.txt");
        write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(&[b'x'; 3 * BUFFER + 1]).unwrap();
        assert_eq!(names(path.parent().unwrap()).len(), 2);
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(path.parent().unwrap()), ["file.txt"]);
    }

    #[test]
    fn a_committed_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        write(&path, "old, and longer").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old, and longer");
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["file.txt"]);
    }

    #[test]
    fn files_that_are_written_at_the_same_time_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..4).map(|number| folder.path().join(format!("{number}.txt"))).collect();
        let mut files: Vec<_> = paths.iter().map(|path| AtomicFile::create(path).unwrap()).collect();
        for (number, file) in files.iter_mut().enumerate() {
            write!(file, "{number}").unwrap();
        }
        files.into_iter().for_each(|file| file.commit().unwrap());
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(std::fs::read_to_string(path).unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("new/.."), PathBuf::from(".")] {
            assert_eq!(write(&path, "text").unwrap_err().kind(), ErrorKind::IsADirectory, "{path:?}");
        }
    }

    #[test]
    fn a_missing_folder_is_an_error_unless_it_is_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let error = AtomicFile::create(folder.path().join("none/file.txt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(names(folder.path()).is_empty());
    }
}
