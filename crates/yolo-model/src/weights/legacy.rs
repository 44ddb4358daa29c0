//! The container of `torch.save` before 1.6: five pickles in a row, then the storages one after the other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::error::{WeightsError, WeightsErrorKind};
use super::pickle::{Arena, Id, MAX_PICKLE_BYTES, Node, Unpickled, unpickle_prefix};

/// The start of the pickled magic number that opens such a file.
pub(super) const MAGIC: [u8; 14] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The version of the format that the second pickle states.
const PROTOCOL: i64 = 1001;

/// An open file of that kind.
#[derive(Debug)]
pub(super) struct LegacyFile {
    file: File,
    pickle: Vec<u8>,
    /// Place and elements of every storage, by key.
    storages: HashMap<String, (u64, u64)>,
    widths: HashMap<String, u64>,
}

impl LegacyFile {
    /// Finds the pickles and the storages of `file`, which has `file_bytes`.
    pub(super) fn open(mut file: File, file_bytes: u64) -> Result<Self, WeightsError> {
        // Everything up to the storages is in the pickles, whose size is limited.
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&error))?;
        file.by_ref().take(MAX_PICKLE_BYTES).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
        let mut place = 0;
        let mut next = || -> Result<(Unpickled, usize), WeightsError> {
            let start = place;
            let (unpickled, length) = unpickle_prefix(head.get(start..).unwrap_or_default())?;
            place += length;
            Ok((unpickled, start))
        };
        // The magic number, which is longer than any integer here.
        next()?;
        let (version, _) = next()?;
        if !matches!(version.arena.get(version.root), Node::Int(PROTOCOL)) {
            return Err(damaged("it does not state the version 1001"));
        }
        let (system, _) = next()?;
        check_byte_order(&system)?;
        let (model, start) = next()?;
        let (keys, end) = next()?;
        let pickle = head.get(start..end).unwrap_or_default().to_vec();
        let widths = widths(&model.arena);
        let (arena, root) = (&keys.arena, keys.root);
        let keys: Option<Vec<String>> = arena
            .sequence(root)
            .and_then(|keys| keys.iter().map(|key| arena.str(*key).map(str::to_owned)).collect());
        let keys = keys.ok_or_else(|| damaged("its list of storages is not one"))?;
        let mut found = Self { file, pickle, storages: HashMap::new(), widths };
        found.locate(keys, place as u64, file_bytes)?;
        Ok(found)
    }

    /// Walks over the storages, each an element count and its bytes.
    fn locate(&mut self, keys: Vec<String>, mut place: u64, file_bytes: u64) -> Result<(), WeightsError> {
        for key in keys {
            self.file.seek(SeekFrom::Start(place)).map_err(|error| unreadable(&error))?;
            let mut count = [0; 8];
            self.file.read_exact(&mut count).map_err(|_| damaged("it ends before its last storage"))?;
            let count =
                u64::try_from(i64::from_le_bytes(count)).map_err(|_| damaged("a storage is negative"))?;
            let width = *self.widths.get(&key).ok_or_else(|| damaged("a storage has no known type"))?;
            place += 8;
            let end = count.checked_mul(width).and_then(|bytes| place.checked_add(bytes));
            let end = end.filter(|end| *end <= file_bytes);
            let end = end.ok_or_else(|| damaged("it ends before its last storage"))?;
            self.storages.insert(key, (place, end - place));
            place = end;
        }
        Ok(())
    }

    /// The bytes of `data.pkl` or `data/KEY`, at most `limit` of them.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, WeightsError> {
        let Some(key) = name.strip_prefix("data/") else { return Ok(self.pickle.clone()) };
        let &(place, bytes) = self.storages.get(key).ok_or_else(|| damaged("it has no such storage"))?;
        if bytes > limit {
            return Err(WeightsError::hostile(format!("the storage has {bytes} bytes, more than {limit}")));
        }
        self.file.seek(SeekFrom::Start(place)).map_err(|error| unreadable(&error))?;
        let mut read = Vec::new();
        self.file.by_ref().take(bytes).read_to_end(&mut read).map_err(|error| unreadable(&error))?;
        Ok(read)
    }
}

/// Bytes of an element of every storage that the pickle refers to, by key.
fn widths(arena: &Arena) -> HashMap<String, u64> {
    let mut widths = HashMap::new();
    for node in arena.nodes() {
        let Node::Persistent(tuple) = node else { continue };
        let Some([_, class, key, ..]) = arena.sequence(*tuple) else { continue };
        let width = arena.class(*class).and_then(super::tensor::storage_width);
        if let (Some(key), Some(width)) = (arena.str(*key), width) {
            widths.insert(key.to_owned(), width as u64);
        }
    }
    widths
}

fn check_byte_order(system: &Unpickled) -> Result<(), WeightsError> {
    let (arena, root): (&Arena, Id) = (&system.arena, system.root);
    match arena.lookup(root, "little_endian").map(|id| arena.get(id)) {
        Some(Node::Bool(true)) => Ok(()),
        Some(Node::Bool(false)) => Err(WeightsError::new(
            WeightsErrorKind::Format,
            "was saved in big byte order",
            "save it again on a little-endian machine (any x86 or ARM computer)",
        )),
        _ => Err(damaged("it does not state its byte order")),
    }
}

fn unreadable(error: &std::io::Error) -> WeightsError {
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be read: {error}"), "check the disk and the path")
}

fn damaged(reason: &str) -> WeightsError {
    WeightsError::damaged(format!("is a damaged file of torch before 1.6: {reason}"))
}
