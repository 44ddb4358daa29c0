//! Whether pruning paid: the dense network of equal cost, on the line of the released ones.
//!
//! The line is YOLOv5 v7.0's published table (COCO val2017, 640 px), between its points linear in the logarithm of
//! the FLOPs. What a network keeps of its mAP on the user's images is applied to the published mAP of the size that it
//! comes from; that is an estimate, the better the more images there are.

mod latency;

use serde::Serialize;
use yolo_model::modules::Block;
use yolo_model::{Architecture, Checkpoint};

use crate::results::ModelFigures;

pub(crate) use latency::{Latency, SiblingMs, sibling_ms};

/// A released network with its published figures.
#[derive(Debug, PartialEq)]
pub(crate) struct Stock {
    pub(crate) name: &'static str,
    /// mAP50-95 in percent.
    pub(crate) map: f64,
    /// Billions of floating-point operations at 640 px.
    pub(crate) gflops: f64,
}

/// The line, smallest first.
pub(crate) const LINE: [Stock; 5] = [
    Stock { name: "yolov5n", map: 28.0, gflops: 4.5 },
    Stock { name: "yolov5s", map: 37.4, gflops: 16.5 },
    Stock { name: "yolov5m", map: 45.4, gflops: 49.0 },
    Stock { name: "yolov5l", map: 49.0, gflops: 109.1 },
    Stock { name: "yolov5x", map: 50.7, gflops: 205.7 },
];
/// Differences in points of mAP that say nothing.
const EVEN: f64 = 0.5;
/// A network with less than this share of the FLOPs has lost channels; rounding is above.
const SMALLER: f64 = 0.9999;
/// A network that costs so much more is still called as cheap.
const SAME_COST: f64 = 1.05;

/// The size that a network has, by its graph and widths; its classes and anchors are its own.
pub(crate) fn stock_of(architecture: &Architecture) -> Option<&'static Stock> {
    LINE.iter().find(|stock| {
        let variant = Architecture::variant(stock.name, Some(architecture.num_classes()));
        variant.is_ok_and(|variant| is_same_graph(&variant, architecture))
    })
}

fn is_same_graph(a: &Architecture, b: &Architecture) -> bool {
    let same_block = |a: &Block, b: &Block| match (a.head(), b.head()) {
        (Some(a), Some(b)) => {
            (&a.in_channels, &a.strides, a.n_anchors()) == (&b.in_channels, &b.strides, b.n_anchors())
        }
        _ => a == b,
    };
    let sources = |architecture: &Architecture, index| architecture.sources(index);
    a.in_channels == b.in_channels
        && a.layers.len() == b.layers.len()
        && a.layers.iter().zip(&b.layers).enumerate().all(|(index, (layer, other))| {
            same_block(&layer.block, &other.block) && sources(a, index) == sources(b, index)
        })
}

/// A place on the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// mAP50-95 in percent, at least 0.
    pub(crate) map: f64,
    /// The released networks around it; the nearest two where it lies outside.
    pub(crate) between: [&'static str; 2],
    /// Whether it lies outside the line.
    pub(crate) extrapolated: bool,
}

/// Where a dense network of so many GFLOPs would be.
pub(crate) fn dense_of_cost(gflops: f64) -> Place {
    let points: Vec<(f64, f64, &'static str)> = LINE.iter().map(|s| (s.gflops, s.map, s.name)).collect();
    place(&points, gflops)
}

/// The line through `points` (cost, mAP, name) by rising cost, of which there are two at least.
pub(crate) fn place(points: &[(f64, f64, &'static str)], cost: f64) -> Place {
    let above = points.iter().position(|point| point.0 >= cost).unwrap_or(points.len() - 1);
    let (left, right) = (points[above.max(1) - 1], points[above.max(1)]);
    let share = (cost.max(f64::MIN_POSITIVE) / left.0).ln() / (right.0 / left.0).ln();
    // The published figures have one decimal, and so have the costs computed from them.
    let extrapolated = cost < points[0].0 * 0.999 || cost > points[points.len() - 1].0 * 1.001;
    Place { map: (left.1 + share * (right.1 - left.1)).max(0.0), between: [left.2, right.2], extrapolated }
}

/// What a network costs and what it is.
#[derive(Clone, Copy)]
pub(crate) struct Costs {
    /// The size that the network was before pruning.
    pub(crate) stock: Option<&'static Stock>,
    /// GFLOPs of the network before pruning, by this program's account.
    pub(crate) dense_gflops: f64,
    /// GFLOPs of the pruned network without multiplications by zero.
    pub(crate) nonzero_gflops: f64,
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
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    /// mAP50-95 before pruning, 0 to 1.
    pub(crate) before: f64,
    /// And after.
    pub(crate) after: f64,
    pub(crate) images: usize,
    /// Milliseconds per image before and after.
    pub(crate) ms: [f64; 2],
    /// Whether what ran passes over zeros.
    pub(crate) skips_zeros: bool,
}

/// What zeros are good for.
const ZEROS: &str =
    "Zeros save time on `--device cpu`, which skips them; most other runtimes compute with them.";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Better than a dense network of equal cost.
    Pays,
    /// As good.
    Even,
    /// Worse, though no released network is as cheap and better.
    DoesNotPay,
    /// A released network is as cheap and better.
    UseStock,
    /// Nothing to compare with.
    Unknown,
}

/// What to know about the network with these `figures`, `dense` before pruning, until it is measured.
pub(crate) fn before_measuring(dense: &Checkpoint, figures: &ModelFigures) -> Vec<String> {
    // The figures are those of the fused network.
    let gflops = match dense.fuse() {
        Ok(fused) => fused.architecture.summary().gflops,
        Err(_) => figures.gflops,
    };
    let is_smaller = figures.gflops < SMALLER * gflops;
    let costs = Costs {
        stock: stock_of(&dense.architecture),
        dense_gflops: if is_smaller { gflops } else { figures.gflops },
        nonzero_gflops: figures.gflops_nonzero,
    };
    let mut lines = Verdict::unmeasured(costs).lines;
    if is_smaller {
        lines.iter_mut().for_each(|line| *line = line.replace(ZEROS, "").trim_end().to_owned());
        lines.retain(|line| !line.is_empty());
    }
    lines
}

/// The comparison with the dense network of equal cost.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// The size that the network comes from.
    stock: Option<&'static str>,
    /// The released network to use instead.
    instead: Option<&'static str>,
    /// GFLOPs before, and after without multiplications by zero.
    gflops: [f64; 2],
    /// mAP50-95 on COCO, percent, of a dense network of equal cost.
    sibling_map: Option<f64>,
    /// The same of this network, estimated from what it keeps.
    estimated_map: Option<f64>,
    /// Whether the sibling lies outside the published line.
    extrapolated: bool,
    /// What to read about costs.
    lines: Vec<String>,
    /// And about time, which is measured anew in every run and therefore not in its figures.
    #[serde(skip)]
    time: Vec<String>,
    /// That one of the sentences that says what to do; empty where nothing can be said.
    pub(crate) headline: String,
}

impl Verdict {
    /// The verdict on a network that was measured before and after pruning, with the times of released networks where
    /// they are known.
    pub(crate) fn of(costs: Costs, kept: Kept, latency: Option<Latency>) -> Self {
        let mut verdict = Self::unmeasured(costs);
        verdict.lines.pop();
        if let Some(stock) = costs.stock {
            verdict.judge(stock, costs.published(stock), kept);
            if let (Some(latency), Some(estimate)) = (latency, verdict.estimated_map) {
                verdict.time.extend(latency.sentence(kept.ms[1], estimate));
            }
        }
        let [before, after] = kept.ms;
        verdict.time.push(match kept.skips_zeros {
            true => format!(
                "Time: {before:.1} ms per image before, {after:.1} after, with images loaded on the same cores. Zeros are \
                 skipped here; `bench` measures that alone. Most other runtimes compute with zeros."
            ),
            false => format!(
                "Time: this back end computes with zeros as with other numbers ({before:.1} ms per image before, \
                 {after:.1} after); `--device cpu` skips them."
            ),
        });
        verdict
    }

    /// The verdict on a network that has lost channels, which takes less time wherever it runs.
    pub(crate) fn of_smaller(costs: Costs, kept: Kept, latency: Option<Latency>) -> Self {
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
    pub(crate) fn unmeasured(costs: Costs) -> Self {
        let mut verdict = Self {
            outcome: Outcome::Unknown,
            stock: costs.stock.map(|stock| stock.name),
            instead: None,
            gflops: [costs.dense_gflops, costs.nonzero_gflops],
            sibling_map: None,
            estimated_map: None,
            extrapolated: false,
            lines: Vec::new(),
            time: Vec::new(),
            headline: String::new(),
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
        let sibling = dense_of_cost(costs.published(stock));
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
                "Equal cost: a dense YOLOv5 of {:.1} GFLOPs reaches about {:.1} mAP on COCO ({how}).",
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

    /// Everything that there is to read.
    pub(crate) fn sentences(&self) -> impl Iterator<Item = &String> {
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
        let images = if images == 1 { "1 image".to_owned() } else { format!("{images} images") };
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
        let cheaper = LINE.iter().rev().find(|other| {
            other.name != stock.name && other.gflops <= gflops * SAME_COST && other.map >= estimate
        });
        let points = estimate - sibling;
        let sentence;
        (self.outcome, sentence) = match cheaper {
            Some(other) => {
                self.instead = Some(other.name);
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
