//! The times of a network's convolutions by their zeros.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use yolo_model::Checkpoint;
use yolo_prune::LatencyTable;
use yolo_runtime::{NetworkTimes, measure_network};

use super::Stopwatch;
use crate::selection::with_progress;

/// Shares of zeros at which every convolution is timed, closer where kernels change.
const SPARSITIES: [f64; 16] =
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99];

/// Times as they are kept.
#[derive(Serialize, Deserialize)]
struct Saved {
    whole: f64,
    convs: BTreeMap<String, Vec<f64>>,
}

impl Stopwatch {
    /// The table of `checkpoint`'s network, measured or as the cache has it. Its weights do not matter.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub(crate) fn table(&self, checkpoint: &Checkpoint) -> Result<LatencyTable> {
        let program = checkpoint.architecture.program();
        let key = format!("{} {SPARSITIES:?} {program:?}", self.key("table"));
        let saved: Option<Saved> = self.load(&key);
        // A file that somebody broke is measured anew.
        let table = saved.map(|saved| LatencyTable::new(SPARSITIES.to_vec(), saved.convs, saved.whole));
        if let Some(Ok(table)) = table {
            return Ok(table);
        }
        let times = self.times(checkpoint, &SPARSITIES)?;
        let whole = times.whole.first().copied().unwrap_or_default();
        self.save(&key, &Saved { whole, convs: times.convs.clone() });
        Ok(LatencyTable::new(SPARSITIES.to_vec(), times.convs, whole)?)
    }

    /// The network's times at some shares of zeros.
    pub(super) fn times(&self, checkpoint: &Checkpoint, sparsities: &[f64]) -> Result<NetworkTimes> {
        let network = self.network(checkpoint)?;
        let times = with_progress(|progress| {
            progress("Timing", 0, sparsities.len());
            let mut done = |done| progress("Timing", done, sparsities.len());
            measure_network(&network, sparsities, &self.options, &mut done)
        });
        Ok(times?)
    }
}
