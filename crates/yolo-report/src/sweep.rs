//! A sweep: mAP over the amount of pruning. Its points, the file that holds them while it runs, and its page.

mod lines;
mod page;

use serde::{Deserialize, Serialize};

pub use lines::{TITLES as COLUMNS, cells, conclusion, row};
pub use page::{SweepPage, render};

/// The name of the network before pruning, in place of a method.
pub const DENSE: &str = "dense";
/// Titles of `sweep.csv`.
const TITLES: &str = "method,amount,sparsity,zeros,map,map50,precision,recall,coco_ap,gflops_nonzero,seconds";

/// A network that was pruned by one method, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its name on the command line; [`DENSE`] before pruning.
    pub method: String,
    /// The fraction asked for.
    pub amount: f64,
    /// Zeros over weights of convolutions.
    pub sparsity: f64,
    /// Weights of convolutions that are zero.
    pub zeros: usize,
    /// mAP50-95, 0 to 1.
    pub map: f64,
    /// mAP50, 0 to 1.
    pub map50: f64,
    /// 0 to 1.
    pub precision: f64,
    /// 0 to 1.
    pub recall: f64,
    /// COCO's AP, if there are annotations.
    pub coco_ap: Option<f64>,
    /// Billions of floating-point operations at 640 px without multiplications by zero.
    pub gflops_nonzero: f64,
    /// Seconds that pruning and measuring took.
    pub seconds: f64,
}

/// `results.json` of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepResults {
    /// Version of the layout: [`SCHEMA`](crate::results::SCHEMA).
    pub schema: u32,
    /// The file of the network.
    pub weights: String,
    /// Images that it was measured on.
    pub images: usize,
    /// Their long side in pixels.
    pub imgsz: usize,
    /// The released size that was pruned.
    pub stock: Option<String>,
    /// The dense network first, then the methods one after the other.
    pub points: Vec<Point>,
    /// Up to which amount each method pays.
    pub conclusion: Vec<String>,
}

/// Why a text is not a `sweep.csv`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// Other titles.
    #[error("it does not have the columns of a sweep; start the run again")]
    OtherColumns,
    /// A line, by its number from 1.
    #[error("line {0} is not a valid point; start the run again")]
    InvalidLine(usize),
}

impl Point {
    /// Rounds the figures to what the file holds, so that a resumed run has the numbers of one that was never
    /// interrupted.
    pub fn rounded(mut self) -> Self {
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
pub fn to_csv(points: &[Point]) -> String {
    let lines = points.iter().map(|point| point.line() + "\n");
    std::iter::once(format!("{TITLES}\n")).chain(lines).collect()
}

/// The points of a `sweep.csv`.
///
/// # Errors
/// Other columns, or a line that is not a point. Errors do not name the file.
pub fn from_csv(text: &str) -> Result<Vec<Point>, CsvError> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, titles)| titles) != Some(TITLES) {
        return Err(CsvError::OtherColumns);
    }
    let point = |(index, line): (usize, &str)| Point::parse(line).ok_or(CsvError::InvalidLine(index + 1));
    lines.map(point).collect()
}

#[cfg(test)]
mod tests;
