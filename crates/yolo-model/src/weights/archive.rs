//! The ZIP archive of a `.pt` file, as `torch.save` writes it: entries stored, their data aligned.

use std::io::{Seek, Write};

use zip::write::FullFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::entry::unwritable;
use super::error::WeightsError;

/// Folder of the entries; PyTorch accepts any.
const ROOT: &str = "archive";
/// Data begins at multiples of this many bytes, so that PyTorch can map the file into memory.
const ALIGNMENT: u64 = 64;
/// Bytes of an entry's header before its name.
const HEADER_BYTES: u64 = 30;
/// The extra field that PyTorch pads with: `FB`.
const PADDING_FIELD: u16 = 0x4246;
/// Bytes of the id and the length of an extra field.
const FIELD_HEADER_BYTES: u64 = 4;

/// An archive that is being written.
pub(super) struct ArchiveWriter<W: Write + Seek> {
    /// None after a failure: its destructor would try to go on, and print what becomes of it.
    zip: Option<ZipWriter<W>>,
    /// Where the next entry begins.
    position: u64,
}

impl<W: Write + Seek> ArchiveWriter<W> {
    /// An archive in `file`, which is empty.
    pub(super) fn new(file: W) -> Self {
        Self { zip: Some(ZipWriter::new(file)), position: 0 }
    }

    /// Appends an entry. Errors name it.
    pub(super) fn entry(&mut self, name: &str, data: &[u8]) -> Result<(), WeightsError> {
        self.append(&format!("{ROOT}/{name}"), data).map_err(|error| {
            std::mem::forget(self.zip.take());
            unwritable(&error).at(name)
        })
    }

    fn append(&mut self, name: &str, data: &[u8]) -> std::io::Result<()> {
        let unpadded = self.position + HEADER_BYTES + name.len() as u64 + FIELD_HEADER_BYTES;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        let mut options = FullFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            // The same network gives the same bytes at any time.
            .last_modified_time(DateTime::default());
        options.add_extra_field(PADDING_FIELD, vec![b'Z'; padding as usize], false)?;
        let zip = self.zip.as_mut().ok_or_else(after_failure)?;
        zip.start_file(name, options)?;
        zip.write_all(data)?;
        self.position = unpadded + padding + data.len() as u64;
        Ok(())
    }

    /// Completes the archive and returns its file.
    pub(super) fn finish(self) -> Result<W, WeightsError> {
        let zip = self.zip.ok_or_else(|| unwritable(&after_failure()))?;
        zip.finish().map_err(|error| unwritable(&error.into()))
    }
}

fn after_failure() -> std::io::Error {
    std::io::Error::other("an earlier entry could not be written")
}
