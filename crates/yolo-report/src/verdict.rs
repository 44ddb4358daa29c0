//! Whether pruning paid: the dense network of equal cost, on the published line.
//!
//! What a network keeps of its mAP on the user's images is applied to the published mAP of the size that it comes
//! from. That is an estimate; the more images there are, the better it is.

mod latency;

use serde::{Deserialize, Serialize};
use yolo_model::Checkpoint;

use crate::format::unit_count;
use crate::published::Stock;
use crate::results::ModelFigures;

pub(crate) use latency::time_of;
pub use latency::{InvalidTime, StockTime};

/// Differences in points of mAP that say nothing.
const EVEN: f64 = 0.5;
/// A network with less than this share of the FLOPs has lost channels; rounding is above.
const SMALLER: f64 = 0.9999;
/// A network that costs up to this many times as much still counts as equally cheap.
const SAME_COST: f64 = 1.05;

/// What a network costs and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// The size that the network was before pruning.
    pub stock: Option<&'static Stock>,
    /// GFLOPs of the network before pruning, by this program's account.
    pub dense_gflops: f64,
    /// GFLOPs of the pruned network without multiplications by zero.
    pub nonzero_gflops: f64,
}

impl Costs {
    /// The cost on the scale of the published figures, which count a little more than convolutions, and 80 classes.
    fn published(&self, stock: &Stock) -> f64 {
        if self.dense_gflops > 0.0 {
            stock.gflops * self.nonzero_gflops / self.dense_gflops
        } else {
            stock.gflops
        }
    }
}

/// What was measured of both networks on the same images.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// mAP50-95 before pruning, 0 to 1.
    pub before: f64,
    /// And after.
    pub after: f64,
    /// Images that both were measured on.
    pub images: usize,
    /// Milliseconds per image before and after.
    pub ms: [f64; 2],
    /// Whether what ran skips zeros.
    pub skips_zeros: bool,
}

/// Where zeros save time.
const ZEROS: &str =
    "Zeros save time on `--device cpu`, which skips them; most other runtimes compute with them.";

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Better than a dense network of equal cost.
    Pays,
    /// As good.
    Even,
    /// Worse, though no released network is as cheap and better.
    DoesNotPay,
    /// A released network is as cheap and better.
    UseStock,
    /// Nothing to compare with.
    #[default]
    Unknown,
}

/// What is known about a pruned network with these `figures` before it is measured; `dense` is the network before
/// pruning.
pub fn before_measuring(dense: &Checkpoint, figures: &ModelFigures) -> Vec<String> {
    // The figures are those of the fused network.
    let gflops = match dense.fuse() {
        Ok(fused) => fused.architecture.summary().gflops,
        Err(_) => figures.gflops,
    };
    let is_smaller = figures.gflops < SMALLER * gflops;
    let costs = Costs {
        stock: Stock::of(&dense.architecture),
        dense_gflops: if is_smaller { gflops } else { figures.gflops },
        nonzero_gflops: figures.nonzero_gflops(),
    };
    let mut lines = Verdict::unmeasured(costs).lines;
    if is_smaller {
        lines.iter_mut().for_each(|line| *line = line.replace(ZEROS, "").trim_end().to_owned());
        lines.retain(|line| !line.is_empty());
    }
    lines
}

/// The comparison with the dense network of equal cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// What to do.
    pub outcome: Outcome,
    /// The size that the network comes from.
    pub stock: Option<String>,
    /// The released network to use instead.
    pub instead: Option<String>,
    /// GFLOPs before, and after without multiplications by zero.
    pub gflops: [f64; 2],
    /// mAP50-95 on COCO, percent, of a dense network of equal cost.
    pub sibling_map: Option<f64>,
    /// The same of this network, estimated from what it keeps.
    pub estimated_map: Option<f64>,
    /// Whether `sibling_map` lies outside the published line.
    pub extrapolated: bool,
    /// Sentences about costs.
    pub lines: Vec<String>,
    /// Sentences about time, which is measured anew in every run and therefore not in its figures.
    #[serde(skip)]
    pub time: Vec<String>,
    /// The sentence that says what to do; empty if there is none.
    pub headline: String,
}

impl Verdict {
    /// The verdict on a network that was measured before and after pruning; `latency` are the known times of released
    /// networks.
    pub fn of(costs: Costs, kept: Kept, latency: &[StockTime]) -> Self {
        let mut verdict = Self::unmeasured(costs);
        verdict.lines.pop();
        if let Some(stock) = costs.stock {
            verdict.judge(stock, costs.published(stock), kept);
            if let Some(estimate) = verdict.estimated_map {
                verdict.time.extend(latency::sentence(latency, kept.ms[1], estimate));
            }
        }
        let [before, after] = kept.ms;
        verdict.time.push(match kept.skips_zeros {
            true => format!(
                "Time: {before:.1} ms per image before, {after:.1} after, measured in turns without loading images. Zeros \
                 are skipped here; most other runtimes compute with zeros."
            ),
            false => format!(
                "Time: this back end computes with zeros as with other numbers ({before:.1} ms per image before, \
                 {after:.1} after); `--device cpu` skips them."
            ),
        });
        verdict
    }

    /// The verdict on a network that has lost channels, which takes less time in any runtime.
    pub fn of_smaller(costs: Costs, kept: Kept, latency: &[StockTime]) -> Self {
        let mut verdict = Self::of(costs, kept, latency);
        verdict.time.pop();
        verdict.time.push(format!(
            "Time: {:.1} ms per image before, {:.1} after; the network is a smaller dense one, so other runtimes \
             gain as well.",
            kept.ms[0], kept.ms[1]
        ));
        verdict
    }

    /// What is known before the dense network is measured: costs, and how much has to be kept.
    pub fn unmeasured(costs: Costs) -> Self {
        let mut verdict = Self {
            stock: costs.stock.map(|stock| stock.name.to_owned()),
            gflops: [costs.dense_gflops, costs.nonzero_gflops],
            ..Self::default()
        };
        let Some(stock) = costs.stock else {
            verdict.lines = vec![
                format!(
                    "Cost: {:.2} GFLOPs without multiplications by zero, of {:.2} before. The published line is of \
                     yolov5n, s, m, l and x; this network has another graph or other widths, so there is no mAP of \
                     equal cost to compare with.",
                    costs.nonzero_gflops, costs.dense_gflops
                ),
                ZEROS.to_owned(),
            ];
            return verdict;
        };
        let sibling = stock.line().dense_of_cost(costs.published(stock));
        verdict.sibling_map = Some(sibling.map);
        verdict.extrapolated = sibling.extrapolated;
        let [left, right] = sibling.between;
        let how = match sibling.extrapolated {
            true if sibling.map < stock.map => format!("extrapolated below {left}: take it with care"),
            true => format!("extrapolated above {right}: take it with care"),
            false => format!("interpolated between {left} and {right}"),
        };
        verdict.lines = vec![
            format!(
                "Equal cost: a dense {} of {:.1} GFLOPs reaches about {:.1} mAP on COCO ({how}).",
                stock.line().name,
                costs.published(stock),
                sibling.map
            ),
            format!(
                "Pruning pays if this network keeps more than {:.0} % of the mAP that it has without pruning; `sweep` \
                 measures that. {ZEROS}",
                (sibling.map / stock.map * 100.0).min(100.0)
            ),
        ];
        verdict
    }

    /// All sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().chain(&self.time)
    }

    /// Compares what is left of `stock` with the line.
    fn judge(&mut self, stock: &Stock, gflops: f64, kept: Kept) {
        let Kept { before, after, images, .. } = kept;
        if before <= 0.0 {
            self.lines.push(
                "The dense network finds nothing on these images, so there is nothing to compare with."
                    .to_owned(),
            );
            return;
        }
        let estimate = (after / before).min(1.0) * stock.map;
        let sibling = self.sibling_map.unwrap_or_default();
        self.estimated_map = Some(estimate);
        let share = after / before * 100.0;
        let images = unit_count(images, "image");
        let (name, map) = (stock.name, stock.map);
        self.lines.push(match share > 100.0 {
            true => format!(
                "This network has {share:.0} % of its mAP from before on {images}; that counts as all of {name}'s {map:.1} \
                 (an estimate)."
            ),
            false => format!(
                "This network keeps {share:.0} % of its mAP on {images}; of {name}'s {map:.1} that would be \
                 {estimate:.1} (an estimate)."
            ),
        });
        let cheaper = stock.line().sizes.iter().rev().find(|other| {
            other.name != stock.name && other.gflops <= gflops * SAME_COST && other.map >= estimate
        });
        let points = estimate - sibling;
        let sentence;
        (self.outcome, sentence) = match cheaper {
            Some(other) => {
                self.instead = Some(other.name.to_owned());
                let sentence = format!(
                    "Use {} instead: {:.1} mAP for {:.1} GFLOPs, without pruning; it is as cheap and better.",
                    other.name, other.map, other.gflops
                );
                (Outcome::UseStock, sentence)
            }
            None if points > EVEN => (
                Outcome::Pays,
                format!("Pruning pays: {points:.1} points above the dense network of equal cost."),
            ),
            None if points >= -EVEN => {
                (Outcome::Even, "Pruning is about even with the dense network of equal cost.".to_owned())
            }
            None => {
                let sentence = format!(
                    "Pruning does not pay here: it is {:.1} points below the dense network of equal cost; prune less, \
                     or fine-tune.",
                    -points
                );
                (Outcome::DoesNotPay, sentence)
            }
        };
        self.headline.clone_from(&sentence);
        self.lines.push(sentence);
    }
}

#[cfg(test)]
mod tests;
