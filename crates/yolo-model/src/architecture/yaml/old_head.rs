//! Yamls of release 1.0, which list the convolutions of the head as layers, in the form of later releases.

use super::{Entry, From};

/// The layers with the convolutions of the head left out, and the head reading what those read; `None` if a layer reads one
/// of them, or the image.
pub(super) fn rewritten(entries: &[&Entry]) -> Option<Vec<Entry>> {
    let is_conv = |entry: &Entry| matches!(entry.2.as_str(), "nn.Conv2d" | "Conv2d");
    let levels: Vec<usize> = (0..entries.len()).filter(|&index| is_conv(entries[index])).collect();
    if levels.is_empty() {
        return Some(entries.iter().map(|&entry| entry.clone()).collect());
    }
    let number = |index: usize| index - levels.iter().filter(|&&level| level < index).count();
    let mut rewritten = Vec::new();
    for (index, entry) in entries.iter().enumerate().filter(|(index, _)| !levels.contains(index)) {
        let moved = |&from: &i64| {
            let source = if from < 0 { index as i64 + from } else { from };
            if source < 0 {
                return Some(from);
            }
            let source = usize::try_from(source).ok().filter(|source| !levels.contains(source))?;
            let (source, own) = (number(source) as i64, number(index) as i64);
            Some(if source == own - 1 { -1 } else { source })
        };
        let from = if index + 1 == entries.len() {
            let before = |&level: &usize| match &entries[level].0 {
                From::One(-1) => Some(number(level) as i64 - 1),
                _ => None,
            };
            From::Many(levels.iter().map(before).collect::<Option<_>>()?)
        } else {
            match &entry.0 {
                From::One(from) => From::One(moved(from)?),
                From::Many(many) => From::Many(many.iter().map(moved).collect::<Option<_>>()?),
            }
        };
        rewritten.push(Entry(from, entry.1, entry.2.clone(), entry.3.clone()));
    }
    Some(rewritten)
}
