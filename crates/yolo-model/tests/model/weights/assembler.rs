//! Builds pickles opcode by opcode, and `.pt` archives around them.

use std::io::Write;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pickle under construction; each method appends opcodes.
#[derive(Clone)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn str(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        match i32::try_from(value) {
            Ok(value) => self.op(b"J").op(&value.to_le_bytes()),
            Err(_) => self.op(&[0x8a, 8]).op(&value.to_le_bytes()),
        }
    }

    pub(crate) fn float(self, value: f64) -> Self {
        self.op(b"G").op(&value.to_be_bytes())
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |pickle, value| pickle.int(*value)).op(b"t")
    }

    pub(crate) fn ordered_dict(self) -> Self {
        self.global("collections", "OrderedDict").op(b")R")
    }

    /// A dict of text keys; `values` appends the value of each.
    pub(crate) fn dict(self, keys: &[&str], mut values: impl FnMut(Self, &str) -> Self) -> Self {
        keys.iter().fold(self.op(b"}("), |pickle, key| values(pickle.str(key), key)).op(b"u")
    }

    /// A `_rebuild_tensor_v2` call.
    pub(crate) fn tensor(self, view: &View) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .op(b"((")
            .str("storage")
            .global("torch", view.storage_class)
            .str(view.key)
            .str("cpu")
            .int(view.storage_len)
            .op(b"tQ")
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .op(b"\x89")
            .ordered_dict()
            .op(b"tR")
    }

    /// A module with the given parameters, buffers, children, and further attributes.
    pub(crate) fn module(self, class: (&str, &str), body: impl FnOnce(Self) -> Self) -> Self {
        body(self.global(class.0, class.1).op(b")\x81}(")).op(b"ub")
    }

    pub(crate) fn stop(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// A tensor as a pickle describes it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) storage_class: &'a str,
    pub(crate) key: &'a str,
    pub(crate) storage_len: i64,
    pub(crate) offset: i64,
    pub(crate) shape: &'a [i64],
    pub(crate) strides: &'a [i64],
}

impl Default for View<'_> {
    /// Six floats as a 2 × 3 matrix.
    fn default() -> Self {
        Self {
            storage_class: "FloatStorage",
            key: "0",
            storage_len: 6,
            offset: 0,
            shape: &[2, 3],
            strides: &[3, 1],
        }
    }
}

/// The bytes of 0, 1, 2, … in single precision.
pub(crate) fn counting(count: usize) -> Vec<u8> {
    (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect()
}

/// A dict `{"model": {"weight": view}}`.
pub(crate) fn state_dict_pickle(view: &View) -> Vec<u8> {
    Pickle::new()
        .dict(&["model"], |p, _| p.ordered_dict().op(b"(").str("weight").tensor(view).op(b"u"))
        .stop()
}

/// The bytes of a ZIP archive with these entries.
pub(crate) fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A `.pt` archive with this pickle and six floats as storage 0.
pub(crate) fn pt(pickle: &[u8]) -> Vec<u8> {
    let storage = counting(6);
    let entries: [(&str, &[u8]); 3] =
        [("best/data.pkl", pickle), ("best/data/0", &storage), ("best/version", b"3\n")];
    archive(&entries, CompressionMethod::Stored)
}

/// A file in a folder that goes away with the value.
pub(crate) struct TempFile {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) fn file(name: &str, bytes: &[u8]) -> TempFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    TempFile { path, _folder: folder }
}

/// The text of an error, which has to be one line that names the file.
pub(crate) fn message(error: &yolo_model::weights::WeightsError, path: &Path) -> String {
    let text = error.to_string();
    assert!(text.starts_with(&path.display().to_string()), "no file in: {text}");
    assert!(!text.contains('\n') && text.contains("; "), "not one line with a fix: {text}");
    text
}

/// Why the `.pt` file with these bytes is refused.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    let file = file("best.pt", bytes);
    let error = yolo_model::weights::read_torch(&file.path).unwrap_err();
    message(&error, &file.path)
}
