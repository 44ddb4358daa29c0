//! What can go wrong with a download. Every message is one line: URL or file, reason, fix.

use std::io::ErrorKind;
use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, FetchError>;

/// An error of a download or of unpacking.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A file could not be opened, read, written or moved.
    #[error("{}: {source}; {}", path.display(), io_fix(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A server could not be reached, or did not send what was asked for.
    #[error("{url}: {reason}; {fix}")]
    Server {
        /// The URL asked.
        url: String,
        /// What happened.
        reason: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// A file is not the one it should be.
    #[error("{origin}: {reason}; {fix}")]
    Wrong {
        /// The URL it came from, or the file it lies in.
        origin: String,
        /// What differs, with expected and found.
        reason: String,
        /// What to do about it.
        fix: String,
    },
    /// No URL of a file worked.
    #[error("{name}: no URL worked: {}", list(attempts))]
    EveryUrl {
        /// The file's name.
        name: String,
        /// What went wrong with each, in order.
        attempts: Vec<FetchError>,
    },
    /// There is not enough room.
    #[error("{}: {needed} bytes needed, {free} free; free some space, or choose another disk", path.display())]
    DiskSpace {
        /// The folder to be written to.
        path: PathBuf,
        /// How many bytes are needed.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// An archive is broken, or holds what it must not.
    #[error("{}: {reason}; {fix}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong, with the entry.
        reason: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// The file is missing and must not be downloaded.
    #[error("{}: missing, and nothing may be downloaded; fetch {url} by other means", path.display())]
    Offline {
        /// Where the file would go.
        path: PathBuf,
        /// Where it can be had; more than one are joined by `and`.
        url: String,
    },
    /// There is no download of that name.
    #[error("{name}: no download of that name; there are {known}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// Every name there is.
        known: String,
    },
}

impl FetchError {
    /// A [`FetchError::Io`] on `path`.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

fn io_fix(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "check its permissions, or choose another folder"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space and run again; it continues where it stopped"
        }
        ErrorKind::NotFound => "check the path",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "move what is there out of the way",
        _ => "check the disk and run again",
    }
}

fn list(errors: &[FetchError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}
