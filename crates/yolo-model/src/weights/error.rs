//! What can be wrong with a weights file, said in one line with a way out.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// The family of a [`WeightsError`], for callers that react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsErrorKind {
    /// The file could not be opened, read, or written.
    Io,
    /// The file is of another format, or of a variant that is not read.
    Format,
    /// The file has the right format and is truncated or inconsistent.
    Damaged,
    /// The file tries to run code, or is built to exhaust memory or time.
    Hostile,
    /// The file is sound and holds something else than a detection model.
    NotAModel,
    /// A tensor that is needed is absent.
    Missing,
    /// A tensor is there with another element type or out of range.
    Type,
}

/// Why weights could not be read or written.
///
/// The message names the file, the entry or key inside it, the reason, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub struct WeightsError {
    kind: WeightsErrorKind,
    path: Option<PathBuf>,
    entry: Option<String>,
    reason: Cow<'static, str>,
    fix: Cow<'static, str>,
}

impl WeightsError {
    /// An error of `kind` with its reason and the fix, not yet tied to a file or an entry.
    pub fn new(
        kind: WeightsErrorKind,
        reason: impl Into<Cow<'static, str>>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, path: None, entry: None, reason: reason.into(), fix: fix.into() }
    }

    /// Names the file, unless an inner layer already did.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Names the entry of the archive or the key of the tensor, unless an inner layer already did.
    #[must_use]
    pub fn at(mut self, entry: impl Into<String>) -> Self {
        self.entry.get_or_insert_with(|| entry.into());
        self
    }

    pub(crate) fn with_reason(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.reason = change(&self.reason).into();
        self
    }

    /// The family of the error.
    pub fn kind(&self) -> WeightsErrorKind {
        self.kind
    }

    /// The file, where one is known.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The archive entry or tensor key, where one is known.
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    pub(crate) fn damaged(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(WeightsErrorKind::Damaged, reason, "download or save the file again")
    }

    pub(crate) fn hostile(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(WeightsErrorKind::Hostile, reason, "use a file from a source you trust")
    }
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(entry) = &self.entry {
            write!(f, "`{}`: ", printable(entry))?;
        }
        write!(f, "{}; {}", printable(&self.reason), self.fix)
    }
}

/// Text from a file, made safe for one line of a terminal: control characters escaped, length bounded.
pub(crate) fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_CHARS {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
