//! The stages of a pruning side by side: what is known of each, and the rows that compare them.

mod page;
mod report;
mod rows;

use yolo_eval::metrics::NativeReport;
use yolo_model::Checkpoint;

use crate::published::Stock;
use crate::results::{ModelFigures, Results};
use crate::verdict::{Costs, Kept, StockTime, Verdict};

pub use page::{Account, page};
pub use report::{DrawnBox, EpochPoint, LayerSparsity, Row, SampleImage};
pub use rows::{lines, rows};

/// Released networks have a few zeros: weights that half precision rounded. A network below this share is dense.
pub(crate) const DENSE: f64 = 0.01;

/// A state of the network with its figures.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `baseline`, `pruned` or `finetuned`.
    pub name: String,
    /// What `summary.json` holds of it.
    pub figures: Results,
    /// Recall and precision at IoU 0.5, averaged over classes, by rising recall.
    pub pr_curve: Vec<(f64, f64)>,
    /// The convolutions with their zeros.
    pub layers: Vec<LayerSparsity>,
    /// Whether what ran skips zeros.
    pub skips_zeros: bool,
}

impl Stage {
    /// The mean curve of `report` at every tenth of its points, which is enough for a plot.
    pub fn mean_curve(report: &NativeReport) -> Vec<(f64, f64)> {
        let mean = report.curves.mean(|class| &class.precision_at_recall);
        report.curves.x.iter().copied().zip(mean).step_by(10).collect()
    }

    fn model(&self) -> &ModelFigures {
        &self.figures.model
    }
}

/// Whether the last of `stages` is worth more than a dense network of its cost; `dense` is the network before pruning,
/// `latency` the known times of released networks.
pub fn verdict(stages: &[Stage], dense: &Checkpoint, latency: &[StockTime]) -> Option<Verdict> {
    let (first, last) = (stages.first()?, stages.last()?);
    let (before, after) = (&first.figures, &last.figures);
    // What a network that was pruned before has kept of the released one is not known.
    let is_dense = before.model.conv_sparsity < DENSE;
    let costs = Costs {
        stock: Stock::of(&dense.architecture).filter(|_| is_dense),
        dense_gflops: before.model.gflops,
        nonzero_gflops: after.model.nonzero_gflops(),
    };
    let kept = Kept {
        before: before.native.map,
        after: after.native.map,
        images: after.data.images,
        ms: [before.speed_ms.inference, after.speed_ms.inference],
        skips_zeros: last.skips_zeros,
    };
    Some(match is_smaller(stages) {
        true => Verdict::of_smaller(costs, kept, latency),
        false => Verdict::of(costs, kept, latency),
    })
}

/// Whether the last stage has lost channels.
fn is_smaller(stages: &[Stage]) -> bool {
    match (stages.first(), stages.last()) {
        (Some(first), Some(last)) => last.model().parameters < first.model().parameters,
        _ => false,
    }
}
