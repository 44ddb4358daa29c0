//! The terms of a loss, by name.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use yolo_model::{Head, LossTerm};

/// A value for every term of a loss, in the order of the head's [`Head::loss_terms`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LossTerms(IndexMap<LossTerm, f64>);

impl LossTerms {
    /// Zero for every term of `head`.
    pub fn zero(head: Head<'_>) -> Self {
        head.loss_terms().iter().map(|&term| (term, 0.0)).collect()
    }

    /// The value of a term, if the loss has it.
    pub fn get(&self, term: LossTerm) -> Option<f64> {
        self.0.get(&term).copied()
    }

    /// The terms and their values.
    pub fn iter(&self) -> impl Iterator<Item = (LossTerm, f64)> {
        self.0.iter().map(|(&term, &value)| (term, value))
    }

    /// The sum of the terms.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Whether all values are finite.
    pub fn is_finite(&self) -> bool {
        self.0.values().all(|value| value.is_finite())
    }

    /// Moves every value by `share` of the way to that of `other`.
    pub(crate) fn move_towards(&mut self, other: &Self, share: f64) {
        for (term, value) in &mut self.0 {
            let target = other.get(*term).unwrap_or(*value);
            *value += (target - *value) * share;
        }
    }

    /// The running mean after `n` values when `next` comes: `(self·n + next) / (n + 1)`. A term that `self` lacks
    /// counts as 0.
    #[must_use]
    pub fn running_mean(&self, n: usize, next: &Self) -> Self {
        let mean = |(term, next)| {
            let mean = self.get(term).unwrap_or(0.0);
            (term, (mean * n as f64 + next) / (n + 1) as f64)
        };
        next.iter().map(mean).collect()
    }
}

impl FromIterator<(LossTerm, f64)> for LossTerms {
    fn from_iter<T: IntoIterator<Item = (LossTerm, f64)>>(terms: T) -> Self {
        Self(terms.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn terms(values: [f64; 3]) -> LossTerms {
        [LossTerm::Box, LossTerm::Objectness, LossTerm::Class].into_iter().zip(values).collect()
    }

    #[test]
    fn files_have_the_names_of_the_terms_in_their_order() {
        let text = serde_json::to_string(&terms([0.5, 0.25, 0.125])).unwrap();
        assert_eq!(text, r#"{"box":0.5,"objectness":0.25,"class":0.125}"#);
        assert_eq!(serde_json::from_str::<LossTerms>(&text).unwrap(), terms([0.5, 0.25, 0.125]));
        assert!(serde_json::from_str::<LossTerms>(r#"{"boxes":0.5}"#).is_err());
    }

    #[test]
    fn means_run_term_by_term() {
        let mean = LossTerms::default().running_mean(0, &terms([1.0, 2.0, 3.0]));
        assert_eq!(mean, terms([1.0, 2.0, 3.0]));
        let mean = mean.running_mean(1, &terms([2.0, 4.0, 0.0]));
        assert_eq!((mean, terms([1.5, 3.0, 1.5]).total()), (terms([1.5, 3.0, 1.5]), 6.0));
        assert!(!terms([1.0, f64::NAN, 1.0]).is_finite());
    }
}
