//! Two sets of branches that are trained together (§5.3 of Ultralytics' specification).

/// The branches of a head whose answers a loss compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainedBranches {
    /// Those that give an object several boxes.
    OneToMany,
    /// Those that give an object one box.
    OneToOne,
    /// Both: the maps of one-to-many, then those of one-to-one. Terms are those of one-to-one.
    Both,
}

/// Factors on the losses of the two sets of branches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BranchWeights {
    /// On that of one-to-many.
    pub one2many: f64,
    /// On that of one-to-one.
    pub one2one: f64,
}

impl BranchWeights {
    /// One-to-many in the first and in the last epoch.
    const FIRST: f64 = 0.8;
    const LAST: f64 = 0.1;

    /// The weights in `epoch` of `epochs`, counted from 0: from one-to-many to one-to-one in equal steps.
    pub fn at(epoch: usize, epochs: usize) -> Self {
        let progress = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        let one2many = (1.0 - progress).max(0.0) * (Self::FIRST - Self::LAST) + Self::LAST;
        Self { one2many, one2one: (1.0 - one2many).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_move_from_one_to_many_to_one_to_one() {
        for (epoch, expected) in [(0, 0.8), (1, 0.73), (5, 0.45), (10, 0.1), (11, 0.1)] {
            let weights = BranchWeights::at(epoch, 11);
            assert!((weights.one2many - expected).abs() < 1e-12, "{weights:?}");
            assert!((weights.one2one - (1.0 - expected)).abs() < 1e-12, "{weights:?}");
        }
        assert!((BranchWeights::at(0, 1).one2many - 0.8).abs() < 1e-12);
    }
}
