//! The times of a network's convolutions by their zeros.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yolo_model::Checkpoint;
use yolo_prune::LatencyTable;
use yolo_runtime::{NetworkTimes, measure_network};

use super::Stopwatch;
use crate::Result;

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
    /// The table of `checkpoint`'s network, measured or as the cache has it. Its weights do not matter. `progress` is
    /// told how many shares of zeros are done, and of how many.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub fn table(
        &self,
        checkpoint: &Checkpoint,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<LatencyTable> {
        let program = checkpoint.architecture.program();
        let key = format!("{} {SPARSITIES:?} {program:?}", self.key("table"));
        let saved: Option<Saved> = self.load(&key);
        // A file that somebody broke is measured anew.
        let table = saved.map(|saved| LatencyTable::new(SPARSITIES.to_vec(), saved.convs, saved.whole));
        if let Some(Ok(table)) = table {
            return Ok(table);
        }
        let times = self.times(checkpoint, &SPARSITIES, progress)?;
        let whole = times.whole.first().copied().unwrap_or_default();
        self.save(&key, &Saved { whole, convs: times.convs.clone() });
        Ok(LatencyTable::new(SPARSITIES.to_vec(), times.convs, whole)?)
    }

    /// The network's times at some shares of zeros.
    pub(super) fn times(
        &self,
        checkpoint: &Checkpoint,
        sparsities: &[f64],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<NetworkTimes> {
        let network = self.network(checkpoint)?;
        progress(0, sparsities.len());
        let mut done = |done| progress(done, sparsities.len());
        Ok(measure_network(&network, sparsities, &self.options, &mut done)?)
    }
}
