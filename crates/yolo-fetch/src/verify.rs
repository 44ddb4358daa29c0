//! Checksums, known and recorded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

use crate::disk::write_small;
use crate::{Algorithm, Artefact, Checksum, Confidence, Event, FetchError, Options, Progress, Result};

/// Computes the SHA-256 of a stream, and what else its [`Checksum`] asks for.
#[derive(Clone)]
pub(crate) struct Hasher {
    sha256: Sha256,
    sha512: Option<Sha512>,
    md5: Option<Md5>,
}

/// What a stream hashed to, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) sha256: String,
    /// Under the function of the checksum.
    expected: String,
}

impl Hasher {
    pub(crate) fn new(checksum: Option<&Checksum>) -> Self {
        let asks = |algorithm| checksum.is_some_and(|checksum| checksum.algorithm == algorithm);
        Self {
            sha256: Sha256::new(),
            sha512: asks(Algorithm::Sha512).then(Sha512::new),
            md5: asks(Algorithm::Md5).then(Md5::new),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Adds all of `reader`, which has `total` bytes.
    pub(crate) fn update_from(
        &mut self,
        reader: &mut dyn Read,
        (name, total): (&str, u64),
        progress: Progress<'_>,
    ) -> std::io::Result<u64> {
        let mut buffer = vec![0; 1 << 18];
        let mut done = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(done),
                Ok(n) => {
                    self.update(&buffer[..n]);
                    done += n as u64;
                    progress(Event::Checking { name, done, total });
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn finish(self) -> Digests {
        let sha256 = hex(&self.sha256.finalize());
        let sha512 = self.sha512.map(|hasher| hex(&hasher.finalize()));
        let md5 = self.md5.map(|hasher| hex(&hasher.finalize()));
        Digests { expected: sha512.or(md5).unwrap_or_else(|| sha256.clone()), sha256 }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `dest.sha256`, in the format of `sha256sum`.
fn record_path(dest: &Path) -> PathBuf {
    let mut name = dest.file_name().unwrap_or_default().to_owned();
    name.push(".sha256");
    dest.with_file_name(name)
}

/// Checks a file of `artefact` that came from `origin` and belongs at `dest`.
pub(crate) fn check(
    artefact: &Artefact,
    (bytes, digests): (u64, &Digests),
    (origin, dest): (&str, &Path),
    options: &Options,
) -> Result<()> {
    if options.accept_sha256.iter().any(|accepted| accepted.eq_ignore_ascii_case(&digests.sha256)) {
        return Ok(());
    }
    let wrong = |reason, fix| Err(FetchError::Wrong { origin: origin.to_owned(), reason, fix });
    if let Some(expected) = artefact.size.exact().filter(|expected| *expected != bytes) {
        let fix = "a proxy or an old mirror may have sent it; try another URL".to_owned();
        return wrong(format!("{bytes} bytes instead of {expected}"), fix);
    }
    let Some(checksum) = &artefact.checksum else { return check_record(digests, origin, dest) };
    if checksum.hex != digests.expected {
        let reason =
            format!("its {} is {} instead of {}", checksum.algorithm.name(), digests.expected, checksum.hex);
        return wrong(reason, mismatch_fix(checksum.confidence, &digests.sha256));
    }
    if checksum.algorithm == Algorithm::Sha256 { Ok(()) } else { check_record(digests, origin, dest) }
}

fn mismatch_fix(confidence: Confidence, sha256: &str) -> String {
    match confidence {
        Confidence::Many => "do not use that file; try another URL".to_owned(),
        Confidence::Few => format!("do not use that file, unless you have reason to accept SHA-256 {sha256}"),
        Confidence::Single => {
            format!("only one source states that value; if you trust the URL, accept SHA-256 {sha256}")
        }
    }
}

/// Compares with the record of an earlier download, if there is one.
fn check_record(digests: &Digests, origin: &str, dest: &Path) -> Result<()> {
    let path = record_path(dest);
    let recorded = match std::fs::read_to_string(&path) {
        Ok(text) => text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FetchError::io(path, error)),
    };
    if recorded == digests.sha256 {
        return Ok(());
    }
    let found = &digests.sha256;
    Err(FetchError::Wrong {
        origin: origin.to_owned(),
        reason: format!("its SHA-256 is {found}, but the first download had {recorded}"),
        fix: format!("if it was replaced on purpose, delete {}", path.display()),
    })
}

/// Records what was downloaded to `dest`, unless its SHA-256 is known anyway.
pub(crate) fn record(artefact: &Artefact, digests: &Digests, dest: &Path) -> Result<()> {
    let known = artefact.checksum.as_ref().is_some_and(|checksum| checksum.algorithm == Algorithm::Sha256);
    if known {
        return Ok(());
    }
    let line = format!("{}  {}\n", digests.sha256, artefact.name);
    write_small(&record_path(dest), line.as_bytes())
}

/// Hashes and checks the file at `path` as a copy of `artefact` that belongs at `dest`; its SHA-256.
pub(crate) fn check_file(
    artefact: &Artefact,
    (path, dest): (&Path, &Path),
    options: &Options,
    progress: Progress<'_>,
) -> Result<String> {
    let io = |error| FetchError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut hasher = Hasher::new(artefact.checksum.as_ref());
    let bytes = hasher.update_from(&mut file, (&artefact.name, total), progress).map_err(io)?;
    let digests = hasher.finish();
    check(artefact, (bytes, &digests), (&path.display().to_string(), dest), options)?;
    Ok(digests.sha256)
}

impl Algorithm {
    /// The function's name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Md5 => "MD5",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_a_known_text() {
        let digests = |algorithm| {
            let mut hasher = Hasher::new(Some(&Checksum::new(algorithm, "", Confidence::Many)));
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.finish()
        };
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digests(Algorithm::Md5).expected, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(digests(Algorithm::Md5).sha256, sha256);
        assert_eq!(digests(Algorithm::Sha256).expected, sha256);
        assert!(digests(Algorithm::Sha512).expected.starts_with("ddaf35a193617abacc417349ae204131"));
    }
}
