//! What can go wrong while an amount is divided.

/// An error of an allocation. Every message is one line. Layers count from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// The amount is not a fraction below one.
    #[error("the amount to prune must be at least 0 and less than 1, not {0}; 0.3 takes 30 %")]
    Amount(f64),
    /// A layer without weights.
    #[error("layer {0} has no weights; leave it out")]
    EmptyLayer(usize),
    /// A list that goes with the layers has another length.
    #[error("{what}: there are {found} for {layers} layers; give one for each layer")]
    Length {
        /// What the list holds.
        what: &'static str,
        /// Its length.
        found: usize,
        /// Number of layers.
        layers: usize,
    },
    /// Limits that contradict each other.
    #[error(
        "layer {layer}: limits {least} to {most} are not a range of fractions; give 0 <= least <= most <= 1"
    )]
    Limit {
        /// The layer.
        layer: usize,
        /// Least fraction pruned.
        least: f64,
        /// Largest fraction pruned.
        most: f64,
    },
    /// The layers together cannot lose the amount asked for.
    #[error(
        "{asked} {unit} are to be removed but the limits of the layers allow {least} to {most}; change the amount or the limits"
    )]
    Unreachable {
        /// The amount asked for.
        asked: f64,
        /// The least that is removed.
        least: f64,
        /// The most that can be removed.
        most: f64,
        /// What is counted: `weights` or `FLOPs`.
        unit: &'static str,
    },
    /// The cheapest choice of every layer costs more than the budget.
    #[error(
        "the budget is {budget} but the least that is possible is {least}; raise the budget or the limits"
    )]
    Budget {
        /// The budget.
        budget: f64,
        /// The least cost possible.
        least: f64,
    },
    /// The grid of pruned fractions is not ascending, or out of range.
    #[error("a grid has ascending fractions from 0 up to, not including, 1, but not {0:?}")]
    Grid(Vec<f64>),
    /// A curve or a table with the wrong number of points, or with points that are not numbers.
    #[error(
        "layer {layer}: {what} must be {points} finite numbers, one for each point of the grid; measure them again"
    )]
    Curve {
        /// What the curve holds.
        what: &'static str,
        /// The layer.
        layer: usize,
        /// Points of the grid.
        points: usize,
    },
    /// A layer that has nothing to choose from, or a cost or an error that is not a number.
    #[error("layer {0}: every layer needs at least one choice, with finite cost and error")]
    Choice(usize),
}

impl AllocationError {
    /// Position of the layer that it is about, if it is about one.
    pub fn layer(&self) -> Option<usize> {
        match self {
            Self::EmptyLayer(layer) | Self::Choice(layer) => Some(*layer),
            Self::Limit { layer, .. } | Self::Curve { layer, .. } => Some(*layer),
            _ => None,
        }
    }
}
