//! Dividing zeros over the convolutions so that the network takes no longer than asked.

use yolo_model::Model;

use crate::allocation::{self, AllocationError, Budget, Curves, Layer, Limit};
use crate::candidates::{Candidate, allocation_error};
use crate::error::{PruneError, Result};
use crate::latency::LatencyTable;
use crate::method::Unit;
use crate::options::PruneOptions;
use crate::pattern::Structure;
use crate::sensitivity::ErrorCurves;
use crate::sparsity::Sparsity;

/// Halvings of the amount until the time is met: to a ten-millionth.
const HALVINGS: usize = 24;

/// The time that the candidates of a pruning may take.
pub(crate) struct TimeBudget<'a> {
    table: &'a LatencyTable,
    /// Names of the candidates.
    names: Vec<&'a str>,
    /// Milliseconds of everything that is not a candidate, with the zeros that it has.
    fixed: f64,
    /// Most milliseconds of the network.
    most: f64,
}

impl<'a> TimeBudget<'a> {
    /// The budget of `options`; none if they do not ask for milliseconds.
    ///
    /// # Errors
    /// Milliseconds without a table, or of a structure; a candidate that the table does not know.
    pub(crate) fn new(
        model: &dyn Model,
        candidates: &'a [Candidate],
        options: &'a PruneOptions,
    ) -> Result<Option<Self>> {
        if options.unit() != Unit::Milliseconds {
            return Ok(None);
        }
        if options.structure != Structure::Unstructured {
            return Err(PruneError::LatencyOfStructure { structure: options.structure.to_string() });
        }
        let budget = options.latency.as_ref().ok_or(PruneError::NeedsLatency)?;
        let table = &budget.table;
        let names: Vec<&str> = candidates.iter().map(|candidate| candidate.conv.name.as_str()).collect();
        let sparsity = Sparsity::of(model)?;
        let mut fixed = table.predict(|name| sparsity.of_conv(name));
        for name in &names {
            fixed -= table.conv(name, sparsity.of_conv(name))?;
        }
        Ok(Some(Self { table, names, fixed, most: budget.most }))
    }

    /// The least error within the budget, by error curves.
    ///
    /// # Errors
    /// [`PruneError::TooSlow`], and those of [`allocation::by_sensitivity`].
    pub(crate) fn by_sensitivity(
        &self,
        candidates: &[Candidate],
        layers: &[Layer],
        limits: &[Limit],
        curves: &ErrorCurves,
    ) -> Result<Vec<usize>> {
        let row = |name: &&str| curves.grid.iter().map(|fraction| self.table.conv(name, *fraction)).collect();
        let table = self.names.iter().map(row).collect::<Result<Vec<Vec<f64>>>>()?;
        let budget = Budget::Milliseconds { table: &table, most: self.most - self.fixed };
        let view = Curves { grid: &curves.grid, errors: &curves.errors };
        match allocation::by_sensitivity(layers, &view, limits, budget) {
            Err(AllocationError::Budget { least, .. }) => Err(self.too_slow(self.fixed + least)),
            counts => counts.map_err(|error| allocation_error(error, candidates)),
        }
    }

    /// The smallest amount that meets the budget; `at` divides an amount, and never takes less of a convolution for a
    /// larger amount.
    ///
    /// # Errors
    /// [`PruneError::TooSlow`], and those of `at` but for amounts that the limits do not allow.
    pub(crate) fn by_amount(
        &self,
        candidates: &[Candidate],
        at: impl Fn(f64) -> std::result::Result<Vec<usize>, AllocationError>,
    ) -> Result<Vec<usize>> {
        let (mut low, mut high) = (0.0, 1.0);
        let (mut found, mut least) = (None, f64::INFINITY);
        // Amount 0 is asked for first: it may be enough.
        let mut amount = 0.0;
        for _ in 0..=HALVINGS {
            match at(amount) {
                Ok(counts) => {
                    let time = self.time(candidates, &counts)?;
                    least = least.min(time);
                    if time <= self.most {
                        (high, found) = (amount, Some(counts));
                    } else {
                        low = amount;
                    }
                }
                Err(AllocationError::Unreachable { asked, least, .. }) if asked < least => low = amount,
                Err(AllocationError::Unreachable { .. }) => high = amount,
                Err(error) => return Err(allocation_error(error, candidates)),
            }
            amount = (low + high) / 2.0;
        }
        found.ok_or_else(|| self.too_slow(least))
    }

    /// Milliseconds of the network whose candidates lose these numbers of weights.
    fn time(&self, candidates: &[Candidate], counts: &[usize]) -> Result<f64> {
        let each = candidates.iter().zip(counts);
        let time = each.map(|(candidate, count)| {
            self.table.conv(&candidate.conv.name, *count as f64 / candidate.weights() as f64)
        });
        Ok(self.fixed + time.sum::<Result<f64>>()?)
    }

    fn too_slow(&self, least: f64) -> PruneError {
        PruneError::TooSlow { most: self.most, least, dense: self.table.dense() }
    }
}
