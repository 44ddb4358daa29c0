//! Which weights of a layer stay, given a score for each.

use std::cmp::Ordering;

use super::error::{ReconstructError, Result};

/// A pattern of sparsity of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Any weights of the layer, exactly `prune` of them.
    Unstructured {
        /// Weights that go.
        prune: usize,
    },
    /// `n` of every `m` consecutive weights of a row stay.
    NOfM {
        /// Weights that stay in every group.
        n: usize,
        /// Weights of a group; divides the number of inputs.
        m: usize,
    },
}

impl Pattern {
    /// Whether the pattern fits a layer of `rows` rows.
    ///
    /// # Errors
    /// More weights to prune than there are, or groups that do not fill a row.
    pub fn check(self, rows: usize, inputs: usize) -> Result<()> {
        match self {
            Self::Unstructured { prune } if prune > rows * inputs => {
                Err(ReconstructError::Count { count: prune, weights: rows * inputs })
            }
            Self::NOfM { n, m } if n == 0 || n > m || !inputs.is_multiple_of(m) => {
                Err(ReconstructError::Groups { n, m, inputs })
            }
            _ => Ok(()),
        }
    }

    /// Which of the weights with these scores [rows, inputs] stay: those with the largest.
    pub fn keep(self, scores: &[f32]) -> Vec<bool> {
        match self {
            Self::Unstructured { prune } => keep_largest(scores, prune),
            Self::NOfM { n, m } => keep_n_of_m(scores, n, m),
        }
    }
}

/// All but the `prune` smallest `scores`; of equal scores the first go.
pub fn keep_largest(scores: &[f32], prune: usize) -> Vec<bool> {
    let mut keep = vec![true; scores.len()];
    if prune >= scores.len() {
        keep.fill(false);
        return keep;
    }
    let mut order = scores.to_vec();
    let (below, cut, _) = order.select_nth_unstable_by(prune, f32::total_cmp);
    let cut = *cut;
    let mut ties = below.iter().filter(|score| score.total_cmp(&cut).is_eq()).count();
    for (keep, score) in keep.iter_mut().zip(scores) {
        *keep = match score.total_cmp(&cut) {
            Ordering::Less => false,
            Ordering::Equal if ties > 0 => {
                ties -= 1;
                false
            }
            _ => true,
        };
    }
    keep
}

/// The `n` largest of every `m` consecutive `scores`; of equal scores the first go.
pub fn keep_n_of_m(scores: &[f32], n: usize, m: usize) -> Vec<bool> {
    scores.chunks(m).flat_map(|group| keep_largest(group, group.len().saturating_sub(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_equal_scores_go() {
        assert_eq!(keep_largest(&[1.0, 0.5, 1.0, 1.0], 2), [false, false, true, true]);
        assert_eq!(
            keep_n_of_m(&[3.0, 1.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0], 2, 4).iter().filter(|k| **k).count(),
            4
        );
        assert_eq!(keep_n_of_m(&[3.0, 1.0, 2.0, 2.0], 2, 4), [true, false, false, true]);
    }

    #[test]
    fn patterns_that_do_not_fit_are_refused() {
        assert!(Pattern::Unstructured { prune: 6 }.check(2, 3).is_ok());
        let error = Pattern::Unstructured { prune: 7 }.check(2, 3);
        assert_eq!(error, Err(ReconstructError::Count { count: 7, weights: 6 }));
        for (n, m) in [(0, 4), (5, 4), (2, 3), (1, 0)] {
            assert_eq!(Pattern::NOfM { n, m }.check(2, 8), Err(ReconstructError::Groups { n, m, inputs: 8 }));
        }
        assert!(Pattern::NOfM { n: 2, m: 4 }.check(1, 8).is_ok());
    }

    proptest! {
        /// Against a stable sort.
        #[test]
        fn keeping_equals_a_stable_sort(scores in prop::collection::vec(0u8..6, 1..60), share in 0.0f64..=1.0) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let prune = (share * scores.len() as f64) as usize;
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let keep = keep_largest(&scores, prune);
            prop_assert!(order[..prune].iter().all(|i| !keep[*i]));
            prop_assert!(order[prune..].iter().all(|i| keep[*i]));
        }
    }
}
