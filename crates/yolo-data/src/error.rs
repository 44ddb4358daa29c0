//! What can go wrong with data on disk. Every message names the file, the place in it, and the fix.

use std::path::PathBuf;

use yolo_eval::EvalError;
use yolo_eval::error::io_fix;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, DataError>;

/// An error in a data set, an image or an annotation file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be opened, read or written.
    #[error("{}: {source}{}", path.display(), io_fix(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// The content of a file is not valid.
    #[error("{}{}: {reason}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line number, counted from 1, if one is known.
        line: Option<usize>,
        /// What is wrong (with the key or value), and what to do about it.
        reason: String,
    },
    /// Categories of an annotation file do not fit the classes of the data set.
    #[error("{}: {reason}", path.display())]
    Classes {
        /// The annotation file.
        path: PathBuf,
        /// Which names do not fit, on both sides, and what to do about it.
        reason: String,
    },
    /// An annotation file or detections cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Two inputs do not belong together.
    #[error("{reason}")]
    Mismatch {
        /// Which two, how they differ, and what to do about it.
        reason: String,
    },
}

impl DataError {
    /// A [`DataError::Io`] on `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A [`DataError::Invalid`] on `path` as a whole.
    pub fn invalid(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), line: None, reason: reason.into() }
    }

    /// A [`DataError::Invalid`] at a line of `path` (counted from 1).
    pub fn at_line(path: impl Into<PathBuf>, line: usize, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), line: Some(line), reason: reason.into() }
    }

    /// A [`DataError::Mismatch`].
    pub fn mismatch(reason: impl Into<String>) -> Self {
        Self::Mismatch { reason: reason.into() }
    }
}
