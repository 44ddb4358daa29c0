//! The exponential moving average of a network's tensors, running statistics included (§10.7).

use rayon::prelude::*;
use yolo_model::weights::StateDict;

use crate::error::Result;

/// Share of the old average after many updates.
const DECAY: f64 = 0.9999;
/// Updates after which the decay has come near its final value.
const RAMP: f64 = 2000.0;

/// An average of weights, which is validated and kept.
#[derive(Clone, Debug)]
pub struct Ema {
    /// The average; integer buffers are those of the start.
    pub weights: StateDict,
    /// Updates so far.
    pub updates: u64,
}

impl Ema {
    /// An average that starts with `weights`.
    pub fn new(weights: &StateDict) -> Self {
        Self { weights: weights.clone(), updates: 0 }
    }

    /// Share of the old average in update number `update`, counted from 1: `0.9999·(1 − e^(−u/2000))`.
    pub fn decay(update: u64) -> f64 {
        DECAY * (1.0 - (-(update as f64) / RAMP).exp())
    }

    /// Adds the current `weights`: `e ← d·e + (1 − d)·w`.
    ///
    /// # Errors
    /// A tensor that is missing in `weights`.
    pub fn update(&mut self, weights: &StateDict) -> Result<()> {
        self.updates += 1;
        let decay = Self::decay(self.updates) as f32;
        let mut pairs = Vec::new();
        for (name, average) in self.weights.iter_mut() {
            if let Ok(average) = average.f32s_mut() {
                pairs.push((average, weights.f32s(name)?));
            }
        }
        pairs.into_par_iter().for_each(|(average, current)| {
            for (average, current) in average.iter_mut().zip(current) {
                *average = *average * decay + (1.0 - decay) * current;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use yolo_model::weights::HostTensor;

    #[test]
    fn the_decay_equals_the_golden_values() {
        let golden =
            [(1, 4.99825e-4), (10, 4.987022e-3), (100, 0.0487657), (2000, 0.6320573), (10_000, 0.9931627)];
        for (update, expected) in golden {
            assert!((Ema::decay(update) - expected).abs() < 1e-7, "{update}");
        }
    }

    #[test]
    fn floats_move_and_integers_stay() {
        let state = |value: f32, count: i64| {
            let mut state = StateDict::new();
            state.insert("w", HostTensor::from_f32s([2], vec![value, 0.0]));
            state.insert("n", HostTensor::from_i64s([1], vec![count]));
            state
        };
        let mut ema = Ema::new(&state(1.0, 3));
        ema.update(&state(2.0, 4)).unwrap();
        let d = Ema::decay(1) as f32;
        assert_eq!(ema.weights.f32s("w").unwrap(), [1.0 * d + (1.0 - d) * 2.0, 0.0]);
        assert_eq!(ema.weights.require("n").unwrap().i64s().unwrap(), [3]);
        assert_eq!(ema.updates, 1);
    }
}
