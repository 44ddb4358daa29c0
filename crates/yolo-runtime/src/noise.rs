//! Numbers to measure on: the same every time.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A fixed sequence of numbers in `[0, 1)`.
pub(crate) struct Noise(SplitMix64);

impl Noise {
    pub(crate) fn new() -> Self {
        Self(SplitMix64::seed_from_u64(0))
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 40) as f64 / (1_u64 << 24) as f64
    }
}
