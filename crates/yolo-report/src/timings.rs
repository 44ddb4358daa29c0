//! What `bench` measures: times of networks side by side.

use serde::{Deserialize, Serialize};

/// Times of one network on one back end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The file, without its folder.
    pub weights: String,
    /// What it ran on.
    pub backend: String,
    /// Images per run.
    pub batch_size: usize,
    /// Median milliseconds per image.
    pub ms_per_image: f64,
    /// A tenth of the runs were faster.
    pub ms_fast: f64,
    /// A tenth of the runs were slower.
    pub ms_slow: f64,
    /// 10⁹ operations per second, those with zeros counted as well.
    pub gflops_per_second: f64,
    /// Median over that of the first line, per image.
    pub ratio: f64,
}

/// A line per network under its titles.
pub fn lines(timings: &[Timing]) -> Vec<String> {
    let widest = |title: &str, of: fn(&Timing) -> &String| {
        timings.iter().map(|timing| of(timing).chars().count()).max().unwrap_or(0).max(title.len())
    };
    let (width, backend) = (widest("weights", |t| &t.weights), widest("backend", |t| &t.backend));
    let mut lines = vec![format!(
        "{:<width$}  {:<backend$}{:>7}{:>10}{:>18}{:>12}{:>8}",
        "weights", "backend", "batch", "ms/image", "10 % to 90 %", "GFLOP/s", "ratio"
    )];
    lines.extend(timings.iter().map(|t| {
        let spread = format!("{:.2} to {:.2}", t.ms_fast, t.ms_slow);
        format!(
            "{:<width$}  {:<backend$}{:>7}{:>10.2}{:>18}{:>12.1}{:>8.2}",
            t.weights, t.backend, t.batch_size, t.ms_per_image, spread, t.gflops_per_second, t.ratio
        )
    }));
    lines
}
