//! Downloading one file: resume, retry, next URL, verify, move into place.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;

use crate::http::{self, Answer, Content, Refusal, without_password};
use crate::part::Part;
use crate::{Artefact, Event, FetchError, Options, Progress, Result, artefacts, disk, lock, verify};

/// Name of the lock in every folder that was downloaded to.
const LOCK: &str = ".yolo-fetch.lock";
/// Bytes read at a time.
const CHUNK: usize = 1 << 17;

/// A file that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether it had been there before.
    pub was_there: bool,
}

/// Why an attempt at a URL failed.
enum Failure {
    /// Try it again, after so long if the server says.
    Again(String, Option<Duration>),
    /// Try the next one.
    NextUrl(FetchError),
    /// Nothing will help.
    Fatal(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

/// Downloads released weights (see [`artefacts::weights`]) into `folder`, unless they are there; their path.
///
/// # Errors
/// As [`fetch`], and an unknown name.
pub fn fetch_weights(
    name: &str,
    folder: &Path,
    options: &Options,
    progress: Progress<'_>,
) -> Result<PathBuf> {
    let unknown = || FetchError::UnknownName {
        name: name.to_owned(),
        known: artefacts::weight_names().collect::<Vec<_>>().join(", "),
    };
    let artefact = artefacts::weights(name).ok_or_else(unknown)?;
    Ok(fetch(&artefact, &folder.join(&artefact.name), options, progress)?.path)
}

/// Makes sure that `dest` is `artefact`: checks it if it is there, copies it from a local file that the options
/// name, or downloads it. Missing folders are made. An interrupted download continues with the next call.
///
/// # Errors
/// What was there is another file (it is left alone); no URL brought the right one; the disk is full. `dest` is
/// then as it was.
pub fn fetch(artefact: &Artefact, dest: &Path, options: &Options, progress: Progress<'_>) -> Result<Fetched> {
    fetch_with(&http::agent(options), artefact, dest, options, progress)
}

/// As [`fetch`], with connections that are kept for the next call.
pub(crate) fn fetch_with(
    agent: &Agent,
    artefact: &Artefact,
    dest: &Path,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Fetched> {
    let local = options.local_file(&artefact.name);
    if local.is_none() && options.offline && dest.symlink_metadata().is_err() {
        let url = artefact.urls.first().cloned().unwrap_or_default();
        return Err(FetchError::Offline { path: dest.to_owned(), url });
    }
    let folder = disk::make_parent(dest)?;
    let _lock = lock::acquire(&folder.join(LOCK), progress)?;
    if dest.symlink_metadata().is_ok() {
        let sha256 = verify::check_file(artefact, (dest, dest), options, progress).map_err(move_away)?;
        return Ok(Fetched { path: dest.to_owned(), sha256, was_there: true });
    }
    let part = Part::open(artefact, dest, progress)?;
    let mut download = Download { agent, artefact, dest, folder, options, part };
    let outcome = match &local {
        Some(local) => download.copy(local, progress),
        None => download.try_urls(progress),
    };
    if let Err(error) = outcome {
        download.part.leave();
        return Err(error);
    }
    let digests = download.part.digests();
    // The record first: cut off between the two, there is nothing that was not recorded.
    verify::record(artefact, &digests, dest)?;
    download.part.finish(dest)?;
    Ok(Fetched { path: dest.to_owned(), sha256: digests.sha256, was_there: false })
}

/// Advice for a file that was there before.
fn move_away(error: FetchError) -> FetchError {
    match error {
        FetchError::Wrong { origin, reason, .. } => FetchError::Wrong {
            fix: "it was there before and is left alone; move it away and run again".to_owned(),
            reason,
            origin,
        },
        other => other,
    }
}

struct Download<'a> {
    agent: &'a Agent,
    artefact: &'a Artefact,
    dest: &'a Path,
    folder: &'a Path,
    options: &'a Options,
    part: Part,
}

impl Download<'_> {
    /// Fills the part from the file `local`.
    fn copy(&mut self, local: &Path, progress: Progress<'_>) -> Result<()> {
        let io = |error| FetchError::io(local, error);
        let mut file = File::open(local).map_err(io)?;
        let total = file.metadata().map_err(io)?.len();
        disk::require_space(self.folder, total, self.options)?;
        // Before what was downloaded of it is thrown away.
        verify::check_file(self.artefact, (local, self.dest), self.options, progress)?;
        self.part.clear()?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = file.read(&mut buffer).map_err(io)?;
            if n == 0 {
                break;
            }
            self.part.write(&buffer[..n])?;
            progress(Event::Checking { name: &self.artefact.name, done: self.part.len, total });
        }
        let outcome = self.check(&local.display().to_string());
        if outcome.is_err() {
            self.part.clear()?;
        }
        outcome
    }

    /// Fills the part from the first URL that has the right file.
    fn try_urls(&mut self, progress: Progress<'_>) -> Result<()> {
        let name = &self.artefact.name;
        let mirror =
            self.options.mirror.iter().map(|mirror| format!("{}/{name}", mirror.trim_end_matches('/')));
        let urls: Vec<String> = mirror.chain(self.artefact.urls.iter().cloned()).collect();
        let mut attempts = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            match self.try_url(url, progress) {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::NextUrl(error)) => attempts.push(error),
                Err(Failure::Again(reason, _)) => attempts.push(server_error(url, reason)),
            }
            if let (Some(next), Some(error)) = (urls.get(index + 1), attempts.last()) {
                progress(Event::NextUrl { reason: &error.to_string(), url: &without_password(next) });
            }
        }
        match attempts.len() {
            1 => Err(attempts.swap_remove(0)),
            _ => Err(FetchError::EveryUrl { name: name.clone(), attempts }),
        }
    }

    /// Fills the part from `url`, again and again while that may help.
    fn try_url(&mut self, url: &str, progress: Progress<'_>) -> std::result::Result<(), Failure> {
        let limits = &self.options.limits;
        let mut failures = 0;
        // Only bytes beyond the furthest ever reached are progress: a server may make us start over for ever.
        let mut furthest = self.part.len;
        loop {
            let outcome = self.attempt(url, progress).and_then(|()| self.verify(url));
            let Err(Failure::Again(reason, wait)) = outcome else { return outcome };
            let brought = self.part.len.saturating_sub(furthest);
            furthest = furthest.max(self.part.len);
            failures = if brought >= limits.progress_bytes { 0 } else { failures + 1 };
            if failures >= limits.attempts {
                return Err(Failure::Again(reason, wait));
            }
            let wait = wait.unwrap_or_else(|| limits.pause(failures, jitter()));
            progress(Event::Retrying { reason: &reason, wait });
            (self.options.sleep)(wait);
        }
    }

    /// One request, and all of its bytes.
    fn attempt(&mut self, url: &str, progress: Progress<'_>) -> std::result::Result<(), Failure> {
        let version = self.prepare(url)?;
        if self.is_complete(url) {
            return Ok(());
        }
        let missing = self.artefact.size.bytes().saturating_sub(self.part.len);
        disk::require_space(self.folder, missing, self.options)?;
        match http::get(self.agent, url, self.part.len, version.as_deref()) {
            Ok(Answer::Whole(content)) => {
                self.refuse_size(url, &content)?;
                self.part.clear()?;
                self.receive(url, content, progress)
            }
            Ok(Answer::Rest(start, content)) => {
                self.refuse_size(url, &content)?;
                if let Some(reason) = self.misfit(start, &content) {
                    self.part.clear()?;
                    return Err(Failure::Again(reason.to_owned(), None));
                }
                self.receive(url, content, progress)
            }
            Ok(Answer::OutOfRange(Some(total))) if total == self.part.len && total > 0 => Ok(()),
            Ok(Answer::OutOfRange(_)) => {
                self.part.clear()?;
                Err(Failure::Again("it does not have the bytes that are missing".to_owned(), None))
            }
            Err(Refusal::Again(reason, wait)) => Err(Failure::Again(reason, wait)),
            Err(Refusal::Final(reason)) => Err(Failure::NextUrl(server_error(url, reason))),
        }
    }

    /// Keeps the part only if `url` can continue it; the version that has to be continued.
    ///
    /// From the same URL that is what the server called it. Another URL may continue what its own checksum will
    /// catch if they differ.
    fn prepare(&mut self, url: &str) -> Result<Option<String>> {
        let Some(origin) = &self.part.origin else {
            self.part.clear()?;
            return Ok(None);
        };
        let version = origin.etag.clone().filter(|_| origin.url == without_password(url));
        let too_long = origin.total.is_some_and(|total| self.part.len > total);
        if too_long || (version.is_none() && self.artefact.checksum.is_none()) {
            self.part.clear()?;
            return Ok(None);
        }
        Ok(version)
    }

    /// Whether every byte is there, so that there is nothing to ask.
    fn is_complete(&self, url: &str) -> bool {
        let origin = self.part.origin.as_ref().filter(|origin| origin.url == without_password(url));
        let total = self.artefact.size.exact().or(origin.and_then(|origin| origin.total));
        self.part.len > 0 && total == Some(self.part.len)
    }

    /// Why bytes from `start` on do not continue the part, if they do not.
    fn misfit(&self, start: Option<u64>, content: &Content) -> Option<&'static str> {
        let old = self.part.origin.as_ref();
        let same_url = old.filter(|old| old.url == content.origin.url);
        if start != Some(self.part.len) || self.part.len == 0 {
            return Some("it sends other bytes than asked for");
        }
        let differs = |old: &Option<String>| old.is_some() && *old != content.origin.etag;
        if same_url.is_some_and(|old| differs(&old.etag)) {
            return Some("the file changed since the download began");
        }
        let totals = (old.and_then(|old| old.total), content.origin.total);
        matches!(totals, (Some(old), Some(new)) if old != new)
            .then_some("the file's size changed since the download began")
    }

    /// Appends all of `content`.
    fn receive(
        &mut self,
        url: &str,
        mut content: Content,
        progress: Progress<'_>,
    ) -> std::result::Result<(), Failure> {
        let total = content.origin.total;
        disk::require_space(self.folder, total.unwrap_or(0).saturating_sub(self.part.len), self.options)?;
        self.part.set_origin(content.origin)?;
        let limit = total.unwrap_or(self.artefact.size.limit());
        let name = &self.artefact.name;
        let mut buffer = vec![0; CHUNK];
        progress(Event::Downloading { name, done: self.part.len, total });
        loop {
            let n = match content.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.interrupted(&http::read_reason(error), total)),
            };
            if self.part.len + n as u64 > limit {
                self.part.clear()?;
                return Err(Failure::NextUrl(too_big(url, limit)));
            }
            self.part.write(&buffer[..n])?;
            progress(Event::Downloading { name, done: self.part.len, total });
        }
        match total {
            Some(bytes) if self.part.len < bytes => Err(self.interrupted("the connection was cut", total)),
            _ => Ok(()),
        }
    }

    fn interrupted(&self, reason: &str, total: Option<u64>) -> Failure {
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        Failure::Again(format!("{reason} after {}{of} bytes", self.part.len), None)
    }

    /// Refuses content whose announced size is wrong, or that nothing could tell from half of it.
    fn refuse_size(&self, url: &str, content: &Content) -> std::result::Result<(), Failure> {
        let wrong = |reason: String| {
            let fix = "a proxy or an old mirror may be in the way; try another URL".to_owned();
            FetchError::Wrong { origin: without_password(url), reason, fix }
        };
        let error = match (content.origin.total, self.artefact.size.exact()) {
            (Some(total), Some(expected)) if total != expected && self.options.accept_sha256.is_empty() => {
                wrong(format!("{total} bytes instead of {expected}"))
            }
            (Some(total), None) if total > self.artefact.size.limit() => {
                too_big(url, self.artefact.size.limit())
            }
            (None, _) if self.artefact.checksum.is_none() && !content.has_end => {
                wrong("it does not say where the file ends, and no checksum is known".to_owned())
            }
            _ => return Ok(()),
        };
        Err(Failure::NextUrl(error))
    }

    /// Checks the complete part. One that was put together of pieces gets a second chance from the start.
    fn verify(&mut self, url: &str) -> std::result::Result<(), Failure> {
        let Err(error) = self.check(&without_password(url)) else { return Ok(()) };
        let is_spliced = self.part.is_spliced;
        self.part.clear()?;
        match is_spliced {
            true => Err(Failure::Again(format!("the pieces do not fit together ({error})"), None)),
            false => Err(Failure::NextUrl(error)),
        }
    }

    fn check(&self, origin: &str) -> Result<()> {
        let digests = self.part.digests();
        verify::check(self.artefact, (self.part.len, &digests), (origin, self.dest), self.options)
    }
}

fn server_error(url: &str, reason: String) -> FetchError {
    let fix = "check the network and run again, it continues where it stopped; or use a mirror";
    FetchError::Server { url: without_password(url), reason, fix }
}

fn too_big(url: &str, limit: u64) -> FetchError {
    FetchError::Wrong {
        origin: without_password(url),
        reason: format!("more than the {limit} bytes expected"),
        fix: "a proxy or an old mirror may be in the way; try another URL".to_owned(),
    }
}

/// A number from −1 to 1, another one each time.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    random as f64 / u64::MAX as f64 * 2.0 - 1.0
}
