//! Seeds derived from the run's seed, so that nothing must be saved to resume.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Distinguish the two uses of a seed.
const SAMPLE: u64 = 1;
const ORDER: u64 = 2;

/// Seed of the sample at `position` in `epoch`.
pub(super) fn of_sample(seed: u64, epoch: usize, position: usize) -> u64 {
    [SAMPLE, epoch as u64, position as u64].into_iter().fold(seed, |state, value| mix(state ^ mix(value)))
}

/// Seed of the order of `epoch`.
pub(super) fn of_order(seed: u64, epoch: usize) -> u64 {
    [ORDER, epoch as u64].into_iter().fold(seed, |state, value| mix(state ^ mix(value)))
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014): a bijection in which every bit depends on all.
fn mix(value: u64) -> u64 {
    SplitMix64::seed_from_u64(value).next_u64()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn mix_is_splitmix64() {
        // First output of the published generator for the seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn seeds_differ_by_seed_epoch_and_position() {
        let mut seen = HashSet::new();
        for seed in 0..10 {
            for epoch in 0..10 {
                assert!(seen.insert(of_order(seed, epoch)));
                for position in 0..10 {
                    assert!(seen.insert(of_sample(seed, epoch, position)));
                }
            }
        }
    }
}
