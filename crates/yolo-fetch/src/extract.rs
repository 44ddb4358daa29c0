//! Unpacking zip archives: checked as a whole first, unpacked aside, then moved into place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::{Event, FetchError, Options, Progress, Result, disk};

/// Our own folder in every destination: unfinished downloads, files being unpacked, notes of what is done.
pub const STATE_DIR: &str = ".yolo-fetch";
/// The most an archive may grow: honest ones of text grow about tenfold.
const MOST_GROWTH: u64 = 100;
/// Growth that is never minded.
const FREE_GROWTH: u64 = 64 << 20;

/// Maps an entry's path to the path below the destination; entries without one are left out.
pub type Select<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// What was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files that are in the archive and now at the destination, by folder.
    pub files: BTreeMap<PathBuf, usize>,
    /// Files that were there with other content; they were left alone.
    pub kept: Vec<PathBuf>,
}

/// An entry to unpack.
struct Planned {
    index: usize,
    path: PathBuf,
    bytes: u64,
}

/// Unpacks what `select` names into the folder `dest`, which is made if missing. Files appear there only after
/// all of them were unpacked without error; a file that was there is never overwritten.
///
/// # Errors
/// The archive is broken, has an entry that points outside or is a link, or unpacks to far more than its size;
/// the disk is full. Nothing is left behind.
pub fn extract(
    archive: &Path,
    dest: &Path,
    select: Select<'_>,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Extracted> {
    let file = File::open(archive).map_err(|error| FetchError::io(archive, error))?;
    let archive_bytes = file.metadata().map_err(|error| FetchError::io(archive, error))?.len();
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| broken(archive, "", &error))?;
    let planned = plan(archive, &mut zip, select)?;
    let total = planned.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.bytes));
    if total > archive_bytes.saturating_mul(MOST_GROWTH).saturating_add(FREE_GROWTH) {
        return Err(refused(archive, format!("its {archive_bytes} bytes claim to hold {total}")));
    }
    let staging = Staging::create(dest)?;
    disk::require_space(dest, total, options)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let mut done = 0;
    for entry in &planned {
        let path = staging.0.join(&entry.path);
        done += unpack(archive, &mut zip, entry, &path)?;
        progress(Event::Extracting { name: &name, done, total });
    }
    let mut extracted = Extracted::default();
    for entry in &planned {
        let folder = entry.path.parent().unwrap_or(Path::new("")).to_owned();
        *extracted.files.entry(folder).or_default() += 1;
    }
    merge(&staging.0, dest, &mut extracted.kept)?;
    disk::sync_disk(dest);
    Ok(extracted)
}

/// Checks every entry, wanted or not; the wanted files.
fn plan(archive: &Path, zip: &mut ZipArchive<BufReader<File>>, select: Select<'_>) -> Result<Vec<Planned>> {
    if zip.has_overlapping_files().map_err(|error| broken(archive, "", &error))? {
        return Err(refused(archive, "its entries share their bytes, as in a zip bomb".to_owned()));
    }
    let mut planned = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| broken(archive, "", &error))?;
        let name = entry.name().map_err(|error| broken(archive, "", &error))?.into_owned();
        let inside = entry.enclosed_name().filter(|path| is_plain(path) && spelling(path) == trimmed(&name));
        if inside.is_none() {
            return Err(refused(archive, format!("its entry {name:?} points outside")));
        }
        if entry.is_dir() {
            continue;
        }
        let Some(path) = select(trimmed(&name)) else { continue };
        if entry.is_symlink() || entry.encrypted() || !is_plain(&path) {
            return Err(refused(archive, format!("its entry {name:?} is not a plain file")));
        }
        planned.push(Planned { index, path, bytes: entry.size() });
    }
    Ok(planned)
}

/// Whether a path is names only, at least one.
fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_))) && path.file_name().is_some()
}

fn trimmed(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name).trim_end_matches('/')
}

fn spelling(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Writes one entry to `path`, never more than it declares; the CRC is checked at its end.
fn unpack(
    archive: &Path,
    zip: &mut ZipArchive<BufReader<File>>,
    entry: &Planned,
    path: &Path,
) -> Result<u64> {
    let shown = entry.path.display().to_string();
    let mut reader = zip.by_index(entry.index).map_err(|error| broken(archive, &shown, &error))?;
    disk::make_parent(path)?;
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => refused(archive, format!("it holds {shown} twice")),
        _ => FetchError::io(path, error),
    })?;
    let mut buffer = vec![0; 1 << 16];
    let mut written = 0;
    loop {
        let n = reader.read(&mut buffer).map_err(|error| broken(archive, &shown, &ZipError::Io(error)))?;
        written += n as u64;
        if written > entry.bytes || (n == 0 && written < entry.bytes) {
            return Err(refused(archive, format!("{shown} is not as long as it claims")));
        }
        if n == 0 {
            return Ok(written);
        }
        file.write_all(&buffer[..n]).map_err(|error| FetchError::io(path, error))?;
    }
}

/// Moves everything in `from` to `to`; folders that are not there as a whole.
fn merge(from: &Path, to: &Path, kept: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(from).map_err(|error| FetchError::io(from, error))? {
        let entry = entry.map_err(|error| FetchError::io(from, error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let io = |error| FetchError::io(&target, error);
        match (source.is_dir(), target.symlink_metadata().is_ok()) {
            (_, false) => relocate(&source, &target).map_err(io)?,
            (true, true) if target.is_dir() => merge(&source, &target, kept)?,
            (true, true) => return Err(io(std::io::Error::from(ErrorKind::NotADirectory))),
            (false, true) if is_same(&source, &target).map_err(io)? => {}
            (false, true) => kept.push(target),
        }
    }
    Ok(())
}

/// Moves a file or a folder to where nothing is, to another disk if that is what a link leads to.
fn relocate(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
        other => return other,
    }
    if from.is_file() {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = to.with_file_name(name);
        std::fs::copy(from, &part)?;
        return std::fs::rename(&part, to);
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        relocate(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> std::io::Result<bool> {
    if !b.is_file() || std::fs::metadata(a)?.len() != std::fs::metadata(b)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (BufReader::new(File::open(a)?), BufReader::new(File::open(b)?));
    let (mut chunk_a, mut chunk_b) = ([0; 4096], [0; 4096]);
    loop {
        let n = a.read(&mut chunk_a)?;
        if n == 0 {
            return Ok(true);
        }
        match b.read_exact(&mut chunk_b[..n]) {
            Ok(()) if chunk_a[..n] == chunk_b[..n] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// A folder for files being unpacked, on the same disk as their destination; removed when dropped.
struct Staging(PathBuf);

impl Staging {
    fn create(dest: &Path) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = dest.join(STATE_DIR).join(format!("tmp-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| FetchError::io(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        if let Some(state) = self.0.parent() {
            // Fails where it holds something else, which is the point.
            let _ = std::fs::remove_dir(state);
        }
    }
}

/// Removes what interrupted runs were unpacking into `dest`. The caller holds the folder's lock.
pub(crate) fn remove_leftovers(dest: &Path) {
    let entries = std::fs::read_dir(dest.join(STATE_DIR)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp-")) {
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

fn refused(archive: &Path, reason: String) -> FetchError {
    let fix = "do not use that archive; get it elsewhere";
    FetchError::Archive { path: archive.to_owned(), reason, fix }
}

fn broken(archive: &Path, entry: &str, error: &ZipError) -> FetchError {
    let place = if entry.is_empty() { String::new() } else { format!("{entry}: ") };
    let reason = format!("{place}no readable zip archive ({error})");
    FetchError::Archive { path: archive.to_owned(), reason, fix: "delete it and run again" }
}
