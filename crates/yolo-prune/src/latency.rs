//! Milliseconds as a budget: how long a network takes by the zeros of each of its convolutions.
//!
//! The caller measures the times; this is arithmetic on the table.

use std::collections::BTreeMap;

use crate::allocation::interpolate;
use crate::error::{PruneError, Result};

/// Milliseconds of a network for one image: each convolution's by the fraction of its weights that is zero, linear
/// between the measured fractions, and what does not depend on zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyTable {
    grid: Vec<f64>,
    convs: BTreeMap<String, Vec<f64>>,
    rest: f64,
}

/// The time that a network may take.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyBudget {
    /// Its measured times.
    pub table: LatencyTable,
    /// Most milliseconds of the whole network.
    pub most: f64,
}

impl LatencyTable {
    /// A table from measurements: `convs` has the milliseconds of every convolution by its name, one for each fraction
    /// of `grid`; `whole` is the time of the network without zeros. Its excess over the convolutions is the rest.
    ///
    /// More zeros never take longer: a kernel for fewer zeros could run them in its time. A longer time is a
    /// disturbed measurement; it is lowered to that of fewer zeros.
    ///
    /// # Errors
    /// [`PruneError::Latency`] for a grid that does not ascend from 0 to below 1, or times that are not finite numbers
    /// from 0 up, one for each fraction.
    pub fn new(grid: Vec<f64>, mut convs: BTreeMap<String, Vec<f64>>, whole: f64) -> Result<Self> {
        let wrong = |reason: String| Err(PruneError::Latency { reason });
        let ascends = grid.windows(2).all(|pair| pair[0] < pair[1]);
        if grid.first() != Some(&0.0) || !ascends || grid.last().is_none_or(|last| *last >= 1.0) {
            return wrong(format!("fractions have to ascend from 0 to below 1, unlike {grid:?}"));
        }
        let is_time = |ms: &f64| ms.is_finite() && *ms >= 0.0;
        let is_bad = |row: &Vec<f64>| row.len() != grid.len() || !row.iter().all(is_time);
        if let Some((name, row)) = convs.iter().find(|(_, row)| is_bad(row)) {
            return wrong(format!("{name} has to have {} times from 0 up, unlike {row:?}", grid.len()));
        }
        if !is_time(&whole) {
            return wrong(format!("{whole} ms is not a valid time of a network"));
        }
        convs.values_mut().for_each(|row| fall(row));
        let rest = whole - convs.values().map(|row| row[0]).sum::<f64>();
        Ok(Self { grid, convs, rest })
    }

    /// Milliseconds of the network without zeros.
    pub fn dense(&self) -> f64 {
        self.predict(|_| 0.0)
    }

    /// Milliseconds of the network whose convolutions have these fractions of zeros, by name.
    pub fn predict(&self, sparsity: impl Fn(&str) -> f64) -> f64 {
        let conv = |(name, row): (&String, &Vec<f64>)| interpolate(&self.grid, row, sparsity(name));
        self.rest + self.convs.iter().map(conv).sum::<f64>()
    }

    /// Milliseconds of one convolution with a fraction of zeros.
    ///
    /// # Errors
    /// [`PruneError::Latency`] for a convolution that was not measured.
    pub fn conv(&self, name: &str, sparsity: f64) -> Result<f64> {
        let row = self.convs.get(name).ok_or_else(|| PruneError::Latency {
            reason: format!("there are no times of {name}; measure this network"),
        })?;
        Ok(interpolate(&self.grid, row, sparsity))
    }
}

/// Lowers what is above anything before it.
fn fall(times: &mut [f64]) {
    let mut least = f64::INFINITY;
    for time in times {
        least = least.min(*time);
        *time = least;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(rows: &[(&str, [f64; 3])], whole: f64) -> Result<LatencyTable> {
        let convs = rows.iter().map(|(name, row)| ((*name).to_owned(), row.to_vec())).collect();
        LatencyTable::new(vec![0.0, 0.5, 0.9], convs, whole)
    }

    #[test]
    fn times_by_hand() {
        let table = table(&[("a", [4.0, 2.0, 1.0]), ("b", [3.0, 3.0, 2.0])], 10.0).unwrap();
        assert_eq!(table.dense(), 10.0);
        let at = |a: f64, b: f64| table.predict(|name| if name == "a" { a } else { b });
        // The rest is 3.
        assert_eq!(at(0.5, 0.0), 8.0);
        assert_eq!(at(0.25, 0.7), 3.0 + 3.0 + 2.5);
        assert_eq!(at(1.0, 0.95), 3.0 + 1.0 + 2.0);
        assert_eq!(table.conv("a", 0.7).unwrap(), 1.5);
    }

    #[test]
    fn more_zeros_never_take_longer() {
        let fallen = |mut times: Vec<f64>| {
            fall(&mut times);
            times
        };
        assert_eq!(fallen(vec![5.0, 6.0, 4.0]), [5.0, 5.0, 4.0]);
        assert_eq!(fallen(vec![3.0, 2.0, 1.0]), [3.0, 2.0, 1.0]);
        assert_eq!(fallen(vec![4.0, 1.0, 2.0, 3.0, 0.0]), [4.0, 1.0, 1.0, 1.0, 0.0]);
        let repaired = table(&[("a", [5.0, 6.0, 4.0])], 10.0).unwrap();
        assert_eq!(
            (repaired.dense(), repaired.predict(|_| 0.5), repaired.predict(|_| 0.9)),
            (10.0, 10.0, 9.0)
        );
    }

    #[test]
    fn invalid_tables_are_refused() {
        let text = |table: Result<LatencyTable>| table.unwrap_err().to_string();
        assert!(text(table(&[("a", [1.0, f64::NAN, 0.0])], 3.0)).contains("a has to have 3 times"));
        assert!(text(table(&[("a", [1.0, -1.0, 0.0])], 3.0)).contains("from 0 up"));
        assert!(text(table(&[], f64::INFINITY)).contains("inf ms"));
        for grid in [vec![], vec![0.1, 0.5], vec![0.0, 0.5, 0.5], vec![0.0, 1.0]] {
            assert!(text(LatencyTable::new(grid, BTreeMap::new(), 1.0)).contains("ascend from 0"));
        }
        let short = BTreeMap::from([("a".to_owned(), vec![1.0])]);
        assert!(text(LatencyTable::new(vec![0.0, 0.5], short, 1.0)).contains("2 times"));
        let unknown = table(&[], 1.0).unwrap().conv("model.9", 0.5).unwrap_err().to_string();
        assert!(unknown.contains("no times of model.9"), "{unknown}");
    }
}
