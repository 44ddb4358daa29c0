//! The ZIP archive around a `.pt` file, its unpacked folder, or the older form without an archive: one pickle and raw bytes
//! per storage.
//!
//! `torch.save` stores entries uncompressed under one folder: `data.pkl`, `data/0 … data/N`, `version`, and in
//! newer files `byteorder`. Everything else that people call `.pt` is turned away with what it looks like.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zip::{CompressionMethod, ZipArchive};

use super::error::{WeightsError, WeightsErrorKind};
use super::legacy::{self, LegacyFile};
use super::unpacked::UnpackedArchive;

/// How much of a foreign file is looked at to say what it is.
const SNIFF_BYTES: u64 = 1024;
const RESAVE: &str = "load it in a current PyTorch and save it again with torch.save";

/// An open `.pt` archive.
#[derive(Debug)]
pub(crate) struct Container {
    entries: Entries,
    path: PathBuf,
    file_bytes: u64,
}

/// Where the entries are.
#[derive(Debug)]
enum Entries {
    Archive {
        archive: ZipArchive<BufReader<File>>,
        /// The folder that holds `data.pkl`, with its slash, or nothing.
        folder: String,
    },
    Unpacked(UnpackedArchive),
    Legacy(LegacyFile),
}

impl Container {
    /// Opens the archive at `path` and finds its pickle.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        Self::open_inner(path).map_err(|error| error.in_file(path))
    }

    fn open_inner(path: &Path) -> Result<Self, WeightsError> {
        let parent =
            path.parent().filter(|parent| path.ends_with("data.pkl") && parent.join("data").is_dir());
        let path = parent.unwrap_or(path);
        if path.is_dir() {
            let unpacked = UnpackedArchive::open(path)?;
            let file_bytes = unpacked.bytes;
            let container =
                Self { entries: Entries::Unpacked(unpacked), path: path.to_path_buf(), file_bytes };
            return container.checked();
        }
        let mut file = open_file(path)?;
        let file_bytes = file.metadata().map_err(|error| unreadable(&error))?.len();
        let mut head = Vec::new();
        file.by_ref().take(SNIFF_BYTES).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
        if head.starts_with(&legacy::MAGIC) {
            let entries = Entries::Legacy(LegacyFile::open(file, file_bytes)?);
            return Ok(Self { entries, path: path.to_path_buf(), file_bytes });
        }
        if !head.starts_with(b"PK\x03\x04") {
            return Err(describe_foreign(&head));
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&error))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            WeightsError::damaged(format!(
                "is a damaged or truncated ZIP archive of {file_bytes} bytes ({error})"
            ))
        })?;
        let folder = pickle_folder(&archive)?;
        let entries = Entries::Archive { archive, folder };
        Self { entries, path: path.to_path_buf(), file_bytes }.checked()
    }

    fn checked(mut self) -> Result<Self, WeightsError> {
        self.check_entries()?;
        self.check_byte_order()?;
        Ok(self)
    }

    /// The size of the whole file, or of all files of a folder.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The bytes of `data.pkl` or `data/N`, at most `limit` of them; in an archive, with their CRC verified.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, WeightsError> {
        let (full_name, bytes) = match &mut self.entries {
            Entries::Archive { archive, folder } => {
                let full_name = format!("{folder}{name}");
                let bytes = read_entry(archive, &full_name, limit, self.file_bytes);
                (full_name, bytes)
            }
            Entries::Unpacked(unpacked) => (name.to_owned(), unpacked.read(name, limit)),
            Entries::Legacy(legacy) => (name.to_owned(), legacy.read(name, limit)),
        };
        bytes.map_err(|error| error.at(full_name).in_file(&self.path))
    }

    /// Entries that share bytes would let a small file ask for much memory.
    fn check_entries(&mut self) -> Result<(), WeightsError> {
        let Entries::Archive { archive, .. } = &mut self.entries else { return Ok(()) };
        let mut total = 0_u64;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|error| bad_entry(&error))?;
            total = total.saturating_add(entry.compressed_size());
        }
        if total > self.file_bytes {
            let reason =
                format!("its entries claim {total} bytes and the file has {} (overlap)", self.file_bytes);
            return Err(WeightsError::damaged(reason));
        }
        Ok(())
    }

    fn check_byte_order(&mut self) -> Result<(), WeightsError> {
        let says_order = match &self.entries {
            Entries::Archive { archive, folder } => {
                archive.index_for_name(&format!("{folder}byteorder")).is_some()
            }
            Entries::Unpacked(unpacked) => unpacked.has("byteorder"),
            Entries::Legacy(_) => false,
        };
        if !says_order {
            return Ok(());
        }
        let order = self.read("byteorder", 64)?;
        if order.trim_ascii() == b"little" {
            return Ok(());
        }
        let reason = format!("was saved in {} byte order", String::from_utf8_lossy(order.trim_ascii()));
        let fix = "save it again on a little-endian machine (any x86 or ARM computer)";
        Err(WeightsError::new(WeightsErrorKind::Format, reason, fix).at("byteorder"))
    }
}

/// The bytes of an entry of an archive of `file_bytes`.
fn read_entry(
    archive: &mut ZipArchive<BufReader<File>>,
    full_name: &str,
    limit: u64,
    file_bytes: u64,
) -> Result<Vec<u8>, WeightsError> {
    let index = archive
        .index_for_name(full_name)
        .ok_or_else(|| WeightsError::damaged("the archive has no such entry"))?;
    let raw = archive.by_index_raw(index).map_err(|error| bad_entry(&error))?;
    if raw.encrypted() {
        return Err(WeightsError::new(WeightsErrorKind::Format, "the entry is encrypted", RESAVE));
    }
    if raw.compression() != CompressionMethod::Stored {
        let reason = format!(
            "the entry is compressed ({}), which torch.save never does: the archive was repacked",
            raw.compression()
        );
        return Err(WeightsError::new(WeightsErrorKind::Format, reason, RESAVE));
    }
    let size = raw.size();
    drop(raw);
    if size > limit {
        return Err(WeightsError::hostile(format!("the entry has {size} bytes, more than {limit}")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(file_bytes)).unwrap_or(0));
    let entry = archive.by_index(index).map_err(|error| bad_entry(&error))?;
    entry.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| bad_entry(&error))?;
    if bytes.len() as u64 != size {
        let reason = format!("the entry has {} bytes where its header says {size}", bytes.len());
        return Err(WeightsError::damaged(reason));
    }
    Ok(bytes)
}

fn open_file(path: &Path) -> Result<File, WeightsError> {
    let file = File::open(path).map_err(|error| {
        WeightsError::new(WeightsErrorKind::Io, format!("cannot be opened: {error}"), "check the path")
    })?;
    Ok(file)
}

fn unreadable(error: &std::io::Error) -> WeightsError {
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be read: {error}"), "check the disk and the path")
}

fn bad_entry(error: &impl std::fmt::Display) -> WeightsError {
    WeightsError::damaged(format!("the entry cannot be read: {error}"))
}

/// The folder of the outermost `data.pkl`.
fn pickle_folder(archive: &ZipArchive<BufReader<File>>) -> Result<String, WeightsError> {
    let names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
    let folder = names
        .iter()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .min_by_key(|folder| folder.len());
    let Some(folder) = folder else {
        let reason = "is a ZIP archive without a data.pkl, so torch.save did not write it";
        return Err(WeightsError::new(WeightsErrorKind::Format, reason, "give a YOLOv5 .pt file"));
    };
    if names.iter().any(|name| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with("code/"))) {
        let reason = "is a TorchScript archive, which holds compiled code";
        let fix = "give the .pt file it was exported from";
        return Err(WeightsError::new(WeightsErrorKind::Format, reason, fix));
    }
    Ok(folder.to_string())
}

/// What a file that does not start like a ZIP archive is.
fn describe_foreign(head: &[u8]) -> WeightsError {
    const GIVE_PT: &str = "give a YOLOv5 .pt file";
    let start = head.trim_ascii_start();
    let (reason, fix) = if head.is_empty() {
        ("is 0 bytes", "download or save it again")
    } else if head.starts_with(b"version https://git-lfs") {
        ("looks like a Git LFS pointer, not the file itself", "fetch the content with `git lfs pull`")
    } else if [&b"<!"[..], b"<html", b"<HTML", b"<?xml", b"<head"].iter().any(|tag| start.starts_with(tag)) {
        ("looks like an HTML page, so a download went wrong", "download the .pt file itself")
    } else if head.get(8) == Some(&b'{') && head.get(5..8) == Some(&[0; 3]) {
        ("looks like a safetensors file", "name it with the .safetensors extension")
    } else if head.get(257..262) == Some(b"ustar") {
        ("is a tar archive; torch used those before 0.1.10", RESAVE)
    } else if head.first() == Some(&0x80) && head.get(1).is_some_and(|protocol| *protocol <= 5) {
        ("is a bare pickle without the ZIP archive of torch.save", RESAVE)
    } else if head.starts_with(&[0x1f, 0x8b]) {
        ("is a gzip archive", "unpack it first")
    } else if head.first() == Some(&0x08) && head.windows(7).any(|window| window == b"pytorch") {
        ("looks like an ONNX model", "give the .pt file it was exported from")
    } else if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e)) {
        ("is a text file", GIVE_PT)
    } else if head.starts_with(b"PK") {
        ("is an empty or damaged ZIP archive", "download or save it again")
    } else if head.iter().all(|byte| *byte == 0) {
        ("starts with zeros only, so a download or copy was cut off", "download it again")
    } else {
        ("is not a ZIP archive, so torch.save did not write it", GIVE_PT)
    };
    WeightsError::new(WeightsErrorKind::Format, reason, fix)
}
