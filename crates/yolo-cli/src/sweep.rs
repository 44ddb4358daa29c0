//! The points of a sweep: their figures, and the file that holds them while a run goes on.

mod lines;

use anyhow::{Context, Result, bail};
use serde::Serialize;

pub(crate) use lines::{TITLES as COLUMNS, cells, conclusion, row};

/// Name of the network before pruning, where a method's name stands.
pub(crate) const DENSE: &str = "dense";
/// Titles of `sweep.csv`.
const TITLES: &str = "method,amount,sparsity,zeros,map,map50,precision,recall,coco_ap,gflops_nonzero,seconds";

/// A network that was pruned by one method, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) method: String,
    /// The fraction asked for.
    pub(crate) amount: f64,
    /// Zeros over weights of convolutions.
    pub(crate) sparsity: f64,
    /// Weights of convolutions that are zero.
    pub(crate) zeros: usize,
    /// mAP50-95.
    pub(crate) map: f64,
    pub(crate) map50: f64,
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    /// COCO's AP, where there are annotations.
    pub(crate) coco_ap: Option<f64>,
    /// Billions of floating-point operations at 640 px without multiplications by zero.
    pub(crate) gflops_nonzero: f64,
    /// To prune and to measure.
    pub(crate) seconds: f64,
}

impl Point {
    /// Rounds the figures to what the file holds, so that a run that goes on has the numbers of one that was never
    /// interrupted.
    pub(crate) fn rounded(mut self) -> Self {
        let figures = [
            &mut self.sparsity,
            &mut self.map,
            &mut self.map50,
            &mut self.precision,
            &mut self.recall,
            &mut self.gflops_nonzero,
        ];
        for figure in figures.into_iter().chain(&mut self.coco_ap) {
            *figure = round(*figure, 6);
        }
        self.seconds = round(self.seconds, 2);
        self
    }

    fn line(&self) -> String {
        let Self { method, amount, sparsity, zeros, map, map50, precision, recall, coco_ap, .. } = self;
        let ap = coco_ap.map(|ap| ap.to_string()).unwrap_or_default();
        let (gflops, seconds) = (self.gflops_nonzero, self.seconds);
        format!(
            "{method},{amount},{sparsity},{zeros},{map},{map50},{precision},{recall},{ap},{gflops},{seconds}"
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let &[method, amount, sparsity, zeros, map, map50, precision, recall, ap, gflops, seconds] =
            cells.as_slice()
        else {
            return None;
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        Some(Self {
            method: method.to_owned(),
            amount: number(amount)?,
            sparsity: number(sparsity)?,
            zeros: zeros.parse().ok()?,
            map: number(map)?,
            map50: number(map50)?,
            precision: number(precision)?,
            recall: number(recall)?,
            coco_ap: if ap.is_empty() { None } else { Some(number(ap)?) },
            gflops_nonzero: number(gflops)?,
            seconds: number(seconds)?,
        })
    }
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// The content of `sweep.csv`.
pub(crate) fn to_csv(points: &[Point]) -> String {
    let lines = points.iter().map(|point| point.line() + "\n");
    std::iter::once(format!("{TITLES}\n")).chain(lines).collect()
}

/// The points of a `sweep.csv`. Errors do not name the file.
pub(crate) fn from_csv(text: &str) -> Result<Vec<Point>> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, titles)| titles) != Some(TITLES) {
        bail!("it does not have the columns of a sweep; start the run again");
    }
    let point = |(index, line): (usize, &str)| {
        Point::parse(line).with_context(|| format!("line {} is no point; start the run again", index + 1))
    };
    lines.map(point).collect()
}

#[cfg(test)]
mod tests;
