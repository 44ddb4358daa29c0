//! How to download, and what is reported on the way.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk;

/// Receives what happens.
pub type Progress<'a> = &'a mut dyn FnMut(Event<'_>);

/// What happens on the way. Byte counts include what an earlier run left.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process or thread is at work in the same folder; waiting for it.
    Waiting {
        /// The lock it holds.
        lock: &'a Path,
    },
    /// A file is being checked.
    Checking {
        /// Its name.
        name: &'a str,
        /// Bytes checked.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// A file is being downloaded.
    Downloading {
        /// Its name.
        name: &'a str,
        /// Bytes on disk.
        done: u64,
        /// Bytes of the file, where the server says.
        total: Option<u64>,
    },
    /// An attempt failed; another follows.
    Retrying {
        /// Why.
        reason: &'a str,
        /// After how long.
        wait: Duration,
    },
    /// A URL is given up; the next one follows.
    NextUrl {
        /// Why.
        reason: &'a str,
        /// The next one.
        url: &'a str,
    },
    /// An archive is being unpacked.
    Extracting {
        /// Its name.
        name: &'a str,
        /// Bytes unpacked.
        done: u64,
        /// Bytes to unpack.
        total: u64,
    },
}

/// Waits.
pub type Sleep = dyn Fn(Duration) + Send + Sync;
/// Tells free bytes.
pub type FreeSpace = dyn Fn(&Path) -> Option<u64> + Send + Sync;

/// How to download.
#[derive(Clone)]
pub struct Options {
    /// Folder URL to try before the built-in ones; the file's name is appended.
    pub mirror: Option<String>,
    /// Never open a connection.
    pub offline: bool,
    /// Files, or folders of files, to take instead of downloading; matched by file name and checked as well.
    pub local_files: Vec<PathBuf>,
    /// SHA-256 values (hexadecimal) to accept although they are not the expected ones.
    pub accept_sha256: Vec<String>,
    /// Use the proxy that `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name.
    pub proxy_from_env: bool,
    /// Timeouts and retries.
    pub limits: Limits,
    /// Waits between two attempts.
    pub sleep: Arc<Sleep>,
    /// Free bytes on the disk of an existing folder; absent where unknown, which passes every check.
    pub free_space: Arc<FreeSpace>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mirror: None,
            offline: false,
            local_files: Vec::new(),
            accept_sha256: Vec::new(),
            proxy_from_env: true,
            limits: Limits::default(),
            sleep: Arc::new(std::thread::sleep),
            free_space: Arc::new(disk::free_space),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("offline", &self.offline)
            .field("local_files", &self.local_files)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The local file of that name, if there is one.
    pub(crate) fn local_file(&self, name: &str) -> Option<PathBuf> {
        let named = |path: &PathBuf| match path.is_dir() {
            true => path.join(name),
            false => path.clone(),
        };
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|file| file == name) && path.is_file();
        self.local_files.iter().map(named).find(is_it)
    }
}

/// Timeouts and retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// Without a byte received: a stall.
    pub read: Duration,
    /// Failures in a row before a URL is given up.
    pub attempts: u32,
    /// Pause after the first failure; it doubles with each further one, give or take a quarter.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// An attempt that brought at least this many bytes does not count as a failure.
    pub progress_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            attempts: 3,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            progress_bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// The pause after `failures` failures in a row (at least one), for a `jitter` of −1 to 1.
    pub(crate) fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.mul_f64(1.0 + jitter / 4.0).min(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let limits = Limits::default();
        let seconds = |failures, jitter| limits.pause(failures, jitter).as_secs_f64();
        assert_eq!([seconds(1, 0.0), seconds(2, 0.0), seconds(3, 1.0)], [1.0, 2.0, 5.0]);
        assert_eq!(seconds(1, -1.0), 0.75);
        assert_eq!([seconds(9, 0.0), seconds(u32::MAX, 1.0)], [30.0, 30.0]);
    }
}
