//! Downloads and unpacking, against a server on the loopback that misbehaves in every known way.

#![allow(clippy::unwrap_used)]

mod archives;
mod datasets;
mod downloads;
mod resuming;
mod server;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use yolo_fetch::{Algorithm, Artefact, Checksum, Confidence, Event, Fetched, Limits, Options, Size, fetch};

/// 600 kB that do not repeat, so that shifted or lost bytes show.
pub(crate) fn payload() -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..600_000).map(next).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The payload under a name, with its checksum.
pub(crate) fn known(urls: &[String]) -> Artefact {
    let checksum = Checksum::new(Algorithm::Sha256, &sha256(&payload()), Confidence::Many);
    Artefact {
        name: "file.bin".to_owned(),
        urls: urls.to_vec(),
        size: Size::Exact(600_000),
        checksum: Some(checksum),
    }
}

/// The payload as something nobody knows a checksum of.
pub(crate) fn unknown(urls: &[String]) -> Artefact {
    Artefact { size: Size::About(500_000), checksum: None, ..known(urls) }
}

/// Pauses that were asked for instead of slept.
pub(crate) type Pauses = Arc<Mutex<Vec<Duration>>>;

/// Tiny limits, no real pauses, no proxy.
pub(crate) fn options() -> (Options, Pauses) {
    let pauses = Pauses::default();
    let noted = Arc::clone(&pauses);
    let limits =
        Limits { connect: Duration::from_secs(5), read: Duration::from_secs(3), ..Limits::default() };
    let options = Options {
        limits,
        proxy_from_env: false,
        sleep: Arc::new(move |pause| noted.lock().unwrap().push(pause)),
        ..Options::default()
    };
    (options, pauses)
}

/// A folder, and the place in it to download to.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) dest: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("file.bin");
        Self { folder, dest }
    }

    pub(crate) fn get(&self, artefact: &Artefact) -> yolo_fetch::Result<Fetched> {
        fetch(artefact, &self.dest, &options().0, &mut |_| {})
    }

    /// Names in the folder, but for the lock.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }

    /// Asserts that the payload is there and nothing else.
    pub(crate) fn assert_complete(&self) {
        assert!(std::fs::read(&self.dest).unwrap() == payload(), "other bytes than were sent");
        assert_eq!(self.names(), ["file.bin"]);
    }

    /// Writes what an interrupted run would leave.
    pub(crate) fn leave_part(&self, bytes: &[u8], url: &str, etag: Option<&str>) {
        std::fs::write(self.folder.path().join("file.bin.part"), bytes).unwrap();
        let etag = etag.map_or("null".to_owned(), |etag| format!("{etag:?}"));
        let json = format!(r#"{{"url": "{url}", "etag": {etag}, "total": 600000}}"#);
        std::fs::write(self.folder.path().join("file.bin.part.json"), json).unwrap();
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".yolo-fetch.lock");
    names.sort();
    names
}

/// Asserts that an error is one line that says all of `parts`.
pub(crate) fn assert_says(error: &yolo_fetch::FetchError, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// An event as one word.
pub(crate) fn word(event: &Event<'_>) -> &'static str {
    match event {
        Event::Waiting { .. } => "waiting",
        Event::Checking { .. } => "checking",
        Event::Downloading { .. } => "downloading",
        Event::Retrying { .. } => "retrying",
        Event::NextUrl { .. } => "next",
        Event::Extracting { .. } => "extracting",
        _ => "other",
    }
}
