//! The forms that a mask can have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::PatternError;
use super::tiles::Tiles;
use crate::mask::Mask;

/// Longest group, and longest side of a block.
const MAX_SIDE: usize = 64;

/// Which weights of a tensor `[out, in, kh, kw]` are kept or removed together.
///
/// As text, also in files: `unstructured`, `2:4`, `4x1` (output × input channels).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Structure {
    /// Every weight on its own.
    #[default]
    Unstructured,
    /// Of every `m` consecutive input channels at the same `(out, kh, kw)`, at most `n` stay. A last group of
    /// `len < m` channels keeps `ceil(n · len / m)`.
    NofM {
        /// Weights kept, at least 1 and less than `m`.
        n: usize,
        /// Weights in a group, at most 64.
        m: usize,
    },
    /// Consecutive output and input channels at the same `(kh, kw)` are removed together. If a side does not divide
    /// the channels, the last block is shorter.
    Block {
        /// Output channels, 1 to 64.
        out: usize,
        /// Input channels, 1 to 64.
        inp: usize,
    },
}

impl Structure {
    /// Checks the ranges of the fields.
    ///
    /// # Errors
    /// [`PatternError::NofM`] or [`PatternError::Block`].
    pub fn check(self) -> Result<Self, PatternError> {
        match self {
            Self::NofM { n, m } if n == 0 || n >= m || m > MAX_SIDE => Err(PatternError::NofM { n, m }),
            Self::Block { out, inp }
                if (out, inp) == (1, 1) || [out, inp].iter().any(|side| !(1..=MAX_SIDE).contains(side)) =>
            {
                Err(PatternError::Block { out, inp })
            }
            valid => Ok(valid),
        }
    }

    /// Number of weights removed from a tensor, if the structure alone decides it (n:m).
    pub fn fixed_count(self, [out, inp, kh, kw]: [usize; 4]) -> Option<usize> {
        let Self::NofM { n, m } = self else { return None };
        let last = inp % m;
        let per_row = inp / m * (m - n) + last - kept_of(n, m, last);
        Some(out * kh * kw * per_row)
    }

    /// The groups whose weights depend on each other.
    pub(super) fn tiles(self, shape: [usize; 4]) -> Tiles {
        match self {
            Self::Unstructured => Tiles::new(shape, 1, 1),
            Self::NofM { m, .. } => Tiles::new(shape, 1, m),
            Self::Block { out, inp } => Tiles::new(shape, out, inp),
        }
    }
}

/// Weights that a group of `len` keeps under n:m.
pub(super) fn kept_of(n: usize, m: usize, len: usize) -> usize {
    (n * len).div_ceil(m)
}

/// Whether `mask` of a tensor `[out, in, kh, kw]` has the structure: no group of n:m keeps more than it may,
/// every block goes or stays as a whole. False too for a mask of another length and for a structure out of
/// range.
pub fn holds(mask: &Mask, shape: [usize; 4], structure: Structure) -> bool {
    if mask.len() != shape.iter().product::<usize>() || structure.check().is_err() {
        return false;
    }
    let mut holds = true;
    structure.tiles(shape).for_each(|members| {
        let kept = members.iter().filter(|index| mask.keeps(**index)).count();
        holds &= match structure {
            Structure::Unstructured => true,
            Structure::NofM { n, m } => kept <= kept_of(n, m, members.len()),
            Structure::Block { .. } => kept == 0 || kept == members.len(),
        };
    });
    holds
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::NofM { n, m } => write!(f, "{n}:{m}"),
            Self::Block { out, inp } => write!(f, "{out}x{inp}"),
        }
    }
}

impl FromStr for Structure {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "unstructured" {
            return Ok(Self::Unstructured);
        }
        let sides = |separator| {
            let (a, b) = text.split_once(separator)?;
            Some((a.parse().ok()?, b.parse().ok()?))
        };
        let n_of_m = sides(':').map(|(n, m)| Self::NofM { n, m });
        let block = || sides('x').map(|(out, inp)| Self::Block { out, inp });
        n_of_m.or_else(block).ok_or_else(|| PatternError::Unknown(text.to_owned()))?.check()
    }
}

impl TryFrom<String> for Structure {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Structure> for String {
    fn from(structure: Structure) -> Self {
        structure.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_and_structure_agree() {
        let cases = [
            ("unstructured", Structure::Unstructured),
            ("2:4", Structure::NofM { n: 2, m: 4 }),
            ("1:4", Structure::NofM { n: 1, m: 4 }),
            ("4x1", Structure::Block { out: 4, inp: 1 }),
            ("1x4", Structure::Block { out: 1, inp: 4 }),
        ];
        for (text, structure) in cases {
            assert_eq!(text.parse(), Ok(structure));
            assert_eq!(structure.to_string(), text);
            let json = format!("{text:?}");
            assert_eq!(serde_json::to_string(&structure).unwrap(), json);
            assert_eq!(serde_json::from_str::<Structure>(&json).unwrap(), structure);
        }
    }

    #[test]
    fn bad_structures_are_named() {
        for text in ["", "2", "2:", "a:4", "-1:4", "2:4:8", "4x", "x4", "4*1", "Unstructured"] {
            assert_eq!(text.parse::<Structure>(), Err(PatternError::Unknown(text.to_owned())));
        }
        for (n, m) in [(0, 4), (4, 4), (5, 4), (1, 65), (0, 0)] {
            assert_eq!(format!("{n}:{m}").parse::<Structure>(), Err(PatternError::NofM { n, m }));
        }
        for (out, inp) in [(0, 4), (4, 0), (1, 1), (65, 1), (1, 65), (usize::MAX, 64)] {
            assert_eq!(format!("{out}x{inp}").parse::<Structure>(), Err(PatternError::Block { out, inp }));
        }
    }

    #[test]
    fn a_mask_is_checked_by_hand() {
        // [out 1, in 4, kh 1, kw 2]: tap 0 is elements 0 2 4 6.
        let shape = [1, 4, 1, 2];
        let mask = |gone: &[usize]| {
            let mut mask = Mask::keep_all(8);
            gone.iter().for_each(|index| mask.prune(*index));
            mask
        };
        let two_of_four = Structure::NofM { n: 2, m: 4 };
        assert!(holds(&mask(&[0, 2, 1, 7]), shape, two_of_four));
        assert!(holds(&mask(&[0, 2, 4, 1, 7]), shape, two_of_four));
        assert!(!holds(&mask(&[0, 2, 1]), shape, two_of_four));
        assert!(holds(&mask(&[0, 2, 4, 6]), shape, Structure::Block { out: 1, inp: 4 }));
        assert!(!holds(&mask(&[0, 1, 2, 3]), shape, Structure::Block { out: 1, inp: 4 }));
        assert!(holds(&mask(&[3]), shape, Structure::Unstructured));
        assert!(!holds(&mask(&[3]), [1, 4, 1, 1], Structure::Unstructured));
        assert!(!holds(&mask(&[]), shape, Structure::NofM { n: 0, m: 0 }));
    }

    #[test]
    fn short_groups_keep_their_share_rounded_up() {
        assert_eq!([1, 2, 3].map(|len| kept_of(2, 4, len)), [1, 1, 2]);
        assert_eq!([1, 2, 3].map(|len| kept_of(1, 4, len)), [1, 1, 1]);
        let two_of_four = Structure::NofM { n: 2, m: 4 };
        assert_eq!(two_of_four.fixed_count([16, 3, 6, 6]), Some(16 * 36));
        assert_eq!(two_of_four.fixed_count([8, 8, 3, 3]), Some(8 * 4 * 9));
        assert_eq!(Structure::Unstructured.fixed_count([8, 8, 3, 3]), None);
    }
}
