//! The same comparison in milliseconds, with times of the released networks that the user measured on this machine.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::EVEN;
use crate::published::{LINES, Line, place, stocks};

/// Milliseconds per image of a released network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StockTime {
    /// The network, such as `yolov5s`.
    pub name: String,
    /// Above zero and finite.
    pub ms: f64,
}

/// Why a text is not the time of a released network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTime {
    /// There is no `=`.
    #[error("it must be NAME=MS, such as yolov5s=85.3")]
    NoTime,
    /// The name of no released network.
    #[error("{0} is not one of {names}", names = stocks().map(|stock| stock.name).collect::<Vec<_>>().join(", "))]
    UnknownName(String),
    /// What follows the name.
    #[error("{0:?} is not a number of milliseconds")]
    InvalidNumber(String),
}

impl FromStr for StockTime {
    type Err = InvalidTime;

    /// Reads `yolov5s=85.3`.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let (name, ms) = text.split_once('=').ok_or(InvalidTime::NoTime)?;
        if !stocks().any(|stock| stock.name == name) {
            return Err(InvalidTime::UnknownName(name.to_owned()));
        }
        match ms.parse::<f64>() {
            Ok(ms) if ms.is_finite() && ms > 0.0 => Ok(Self { name: name.to_owned(), ms }),
            _ => Err(InvalidTime::InvalidNumber(ms.to_owned())),
        }
    }
}

/// The time of a released network among those that are known; a later one replaces an earlier one.
pub(crate) fn time_of(times: &[StockTime], name: &str) -> Option<f64> {
    times.iter().rev().find(|time| time.name == name).map(|time| time.ms)
}

/// How a network that takes `ms` and reaches about `estimate` compares with dense ones that take as long. Needs the
/// `times` of two networks, the larger of them the slower.
pub(super) fn sentence(times: &[StockTime], ms: f64, estimate: f64) -> Option<String> {
    // The line that has times, of several the one with the most.
    let of_line = |line: &'static Line| -> (&'static str, Vec<(f64, f64, &'static str)>) {
        let timed =
            line.sizes.iter().filter_map(|size| Some((time_of(times, size.name)?, size.map, size.name)));
        (line.name, timed.collect())
    };
    let (name, points) = LINES.iter().map(of_line).rev().max_by_key(|(_, points)| points.len())?;
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
        "Equal time: a dense {name} that takes {ms:.1} ms reaches about {:.1} mAP ({}{marked}): {outcome}.",
        sibling.map,
        known.join(", ")
    ))
}
