//! The arguments of pickle opcodes, read from bytes that may end anywhere.

use super::{Step, malformed};
use crate::weights::error::WeightsError;

/// A cursor over the pickle.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes have been consumed.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `length` bytes, which have to be there before anything is allocated for them.
    pub(super) fn take(&mut self, length: u64) -> Step<&'a [u8]> {
        let end = usize::try_from(length).ok().and_then(|length| self.position.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(ends_early)?;
        self.position += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| ends_early())
    }

    pub(super) fn byte(&mut self) -> Step<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Step<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Step<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Step<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Step<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f64_big_endian(&mut self) -> Step<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// Text up to a newline, which is consumed.
    pub(super) fn line(&mut self) -> Step<String> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(ends_early)?;
        let line = self.take(length as u64)?;
        self.byte()?;
        String::from_utf8(line.to_vec()).map_err(|_| malformed("a class name is not UTF-8"))
    }
}

fn ends_early() -> WeightsError {
    malformed("it ends early")
}
