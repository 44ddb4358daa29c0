//! Which vector unit to use.

use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use std::fmt;
use std::str::FromStr;

/// A vector unit that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, on every processor.
    Portable,
    /// ARM's NEON.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

impl Isa {
    /// All of them, the best last.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// The best that this processor has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        Kernels::of(self).is_some()
    }

    /// Numbers in one of its vectors.
    pub fn lanes(self) -> usize {
        match self {
            Self::Neon => 4,
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Its name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    pub(crate) fn kernels(self) -> Result<&'static Kernels> {
        Kernels::of(self).ok_or(RuntimeError::IsaUnavailable(self.name()))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == text).ok_or_else(|| RuntimeError::Parse {
            text: text.to_owned(),
            expected: "an instruction set: portable, neon, avx2 or avx512",
        })
    }
}
