//! What can be wrong with an annotation file, a results file or detections. Every message names the file, the place
//! in it, and the fix.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, EvalError>;

/// An error of an evaluation or of its files. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file could not be opened, read or written.
    #[error("{}: {source}{}", path.display(), io_fix(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// The content of a file, or a parameter, is not valid.
    #[error("{}{}: {reason}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Invalid {
        /// The file, or the name of what is not a file.
        path: PathBuf,
        /// Line number, counted from 1, if one is known.
        line: Option<usize>,
        /// What is wrong (with the key or value), and what to do about it.
        reason: String,
    },
}

/// What the user can do about an error of the file system, as the end of its message; empty if nothing is known.
pub fn io_fix(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "; check the path",
        std::io::ErrorKind::PermissionDenied => "; change its permissions",
        std::io::ErrorKind::StorageFull => "; make room or choose another place",
        _ => "",
    }
}

impl EvalError {
    /// An [`EvalError::Io`] on `path`.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// An [`EvalError::Invalid`] on `path` as a whole.
    pub(crate) fn invalid(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), line: None, reason: reason.into() }
    }

    /// An [`EvalError::Invalid`] at a line of `path` (counted from 1).
    pub(crate) fn at_line(path: impl Into<PathBuf>, line: usize, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), line: Some(line), reason: reason.into() }
    }
}
