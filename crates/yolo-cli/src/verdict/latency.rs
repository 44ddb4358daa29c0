//! The same line in milliseconds, where somebody measured the released networks on this machine.

use serde::{Deserialize, Serialize};

use super::{EVEN, LINE, place};

/// Milliseconds per image of a released network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SiblingMs {
    pub(crate) name: String,
    pub(crate) ms: f64,
}

/// `yolov5s=85.3`, as it is typed.
pub(crate) fn sibling_ms(text: &str) -> Result<SiblingMs, String> {
    let names = || LINE.iter().map(|stock| stock.name).collect::<Vec<_>>().join(", ");
    let (name, ms) = text.split_once('=').ok_or("it must be NAME=MS, such as yolov5s=85.3")?;
    if !LINE.iter().any(|stock| stock.name == name) {
        return Err(format!("{name} is none of {}", names()));
    }
    match ms.parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms > 0.0 => Ok(SiblingMs { name: name.to_owned(), ms }),
        _ => Err(format!("{ms:?} is no number of milliseconds")),
    }
}

/// Times of released networks, taken as those of the network that is judged.
#[derive(Clone, Copy)]
pub(crate) struct Latency<'a>(pub(crate) &'a [SiblingMs]);

impl Latency<'_> {
    /// How a network that takes `ms` and reaches about `estimate` compares with dense ones that take as long: needs
    /// the times of two networks, the larger of them the slower.
    pub(super) fn sentence(self, ms: f64, estimate: f64) -> Option<String> {
        let time = |name: &str| self.0.iter().rev().find(|sibling| sibling.name == name).map(|s| s.ms);
        let points: Vec<(f64, f64, &'static str)> =
            LINE.iter().filter_map(|stock| Some((time(stock.name)?, stock.map, stock.name))).collect();
        if points.len() < 2 || !points.is_sorted_by(|a, b| a.0 < b.0) || !(ms.is_finite() && ms > 0.0) {
            return None;
        }
        let sibling = place(&points, ms);
        let known: Vec<String> = points.iter().map(|(ms, _, name)| format!("{name} {ms:.1} ms")).collect();
        let outcome = match estimate - sibling.map {
            points if points > EVEN => format!("in time pruning pays, by {points:.1} points"),
            points if points < -EVEN => format!("in time pruning does not pay, by {:.1} points", -points),
            _ => "in time pruning is about even".to_owned(),
        };
        let marked = if sibling.extrapolated { ", extrapolated" } else { "" };
        Some(format!(
            "Equal time: a dense YOLOv5 that takes {ms:.1} ms reaches about {:.1} mAP ({}{marked}): {outcome}.",
            sibling.map,
            known.join(", ")
        ))
    }
}
