//! Loss scaling for training in half precision.

use serde::{Deserialize, Serialize};
use yolo_nn::{HalfFormat, NamedValues};

use crate::error::{Result, TrainError};

/// First factor on the loss, as in PyTorch.
const FIRST_SCALE: f64 = 65536.0;
/// Steps without an overflow after which the factor grows.
const GROWTH_INTERVAL: u32 = 2000;
/// The factor grows and shrinks by this.
const STEP: f64 = 2.0;
/// Below this factor, it is not the scaling that makes gradients overflow.
const SMALLEST_SCALE: f64 = 1.0 / 1024.0;

/// The factor on the loss that keeps small gradients from vanishing in half precision: as large as possible without
/// any gradient overflowing (Micikevicius et al. 2018).
///
/// ```text
/// overflow:                     scale ← scale / 2, the step is left out
/// 2000 steps without overflow:  scale ← scale · 2
/// ```
///
/// Bfloat16 has the range of single precision, so its factor is 1 and stays; but steps with an overflow are left out too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScaler {
    scale: f64,
    /// Steps since the factor last changed.
    good_steps: u32,
    /// Steps that were left out.
    skipped: u64,
    /// Whether a gradient since the last step has overflowed.
    overflowed: bool,
    moves: bool,
}

impl LossScaler {
    /// The scaler at the start of a run.
    pub fn new(format: HalfFormat) -> Self {
        let moves = format == HalfFormat::Fp16;
        let scale = if moves { FIRST_SCALE } else { 1.0 };
        Self { scale, good_steps: 0, skipped: 0, overflowed: false, moves }
    }

    /// The factor on the loss.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Steps that were left out so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Divides gradients of the scaled loss by the factor, and remembers whether one has overflowed.
    pub fn unscale(&mut self, gradients: &mut [NamedValues]) {
        // A power of two, so that nothing is rounded.
        let factor = (1.0 / self.scale) as f32;
        for value in gradients.iter_mut().flat_map(|(_, values)| values) {
            *value *= factor;
            self.overflowed |= !value.is_finite();
        }
    }

    /// Whether the gradients since the last call are good for a step; the factor for the next ones follows from it.
    ///
    /// # Errors
    /// [`TrainError::Overflow`] if gradients overflow at any factor.
    pub fn take_step(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.overflowed) {
            self.skipped += 1;
            self.good_steps = 0;
            self.scale /= if self.moves { STEP } else { 1.0 };
            // Without a factor to lower, the next overflow is as certain as this one.
            let hopeless = !self.moves || self.scale < SMALLEST_SCALE;
            return if hopeless { Err(TrainError::Overflow) } else { Ok(false) };
        }
        self.good_steps += 1;
        if self.moves && self.good_steps == GROWTH_INTERVAL {
            self.scale *= STEP;
            self.good_steps = 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gradients(values: &[f32]) -> Vec<NamedValues> {
        vec![("a".to_owned(), values.to_vec()), ("b".to_owned(), vec![65536.0])]
    }

    #[test]
    fn good_gradients_are_divided_and_used() {
        let mut scaler = LossScaler::new(HalfFormat::Fp16);
        let mut gradients = gradients(&[3.0 * 65536.0, -1.0]);
        scaler.unscale(&mut gradients);
        assert_eq!(gradients[0].1, [3.0, -1.0 / 65536.0]);
        assert_eq!(gradients[1].1, [1.0]);
        assert!(scaler.take_step().unwrap());
        assert_eq!((scaler.scale(), scaler.skipped()), (65536.0, 0));
    }

    #[test]
    fn an_overflow_halves_the_factor_and_costs_one_step() {
        let mut scaler = LossScaler::new(HalfFormat::Fp16);
        scaler.unscale(&mut gradients(&[f32::INFINITY, 1.0]));
        // Later batches of the same step do not make it good again.
        scaler.unscale(&mut gradients(&[1.0]));
        assert!(!scaler.take_step().unwrap());
        assert_eq!((scaler.scale(), scaler.skipped()), (32768.0, 1));
        scaler.unscale(&mut gradients(&[1.0]));
        assert!(scaler.take_step().unwrap());
        scaler.unscale(&mut gradients(&[f32::NAN]));
        assert!(!scaler.take_step().unwrap());
        assert_eq!((scaler.scale(), scaler.skipped()), (16384.0, 2));
    }

    #[test]
    fn the_factor_grows_after_two_thousand_good_steps_in_a_row() {
        let mut scaler = LossScaler::new(HalfFormat::Fp16);
        let run =
            |scaler: &mut LossScaler, steps| (0..steps).for_each(|_| assert!(scaler.take_step().unwrap()));
        run(&mut scaler, 1999);
        assert_eq!(scaler.scale(), 65536.0);
        scaler.unscale(&mut gradients(&[f32::INFINITY]));
        assert!(!scaler.take_step().unwrap());
        run(&mut scaler, 1999);
        assert_eq!(scaler.scale(), 32768.0);
        run(&mut scaler, 1);
        assert_eq!(scaler.scale(), 65536.0);
    }

    #[test]
    fn endless_overflows_are_an_error() {
        let mut scaler = LossScaler::new(HalfFormat::Fp16);
        let mut steps = 0;
        loop {
            scaler.unscale(&mut gradients(&[f32::INFINITY]));
            match scaler.take_step() {
                Ok(good) => assert!(!good),
                Err(error) => break assert!(matches!(error, TrainError::Overflow)),
            }
            steps += 1;
        }
        // 2¹⁶ to 2⁻¹⁰.
        assert_eq!(steps, 26);
    }

    #[test]
    fn a_resumed_run_has_the_same_factor() {
        let mut scaler = LossScaler::new(HalfFormat::Fp16);
        scaler.unscale(&mut gradients(&[f32::INFINITY]));
        assert!(!scaler.take_step().unwrap());
        // Stopped between the batches of a step, one of which has overflowed.
        scaler.unscale(&mut gradients(&[f32::INFINITY]));
        let text = serde_json::to_string(&scaler).unwrap();
        let mut other: LossScaler = serde_json::from_str(&text).unwrap();
        assert_eq!(other, scaler);
        assert!(!other.take_step().unwrap());
    }

    #[test]
    fn bfloat16_is_not_scaled() {
        let mut scaler = LossScaler::new(HalfFormat::Bf16);
        assert_eq!(scaler.scale(), 1.0);
        for _ in 0..4000 {
            assert!(scaler.take_step().unwrap());
        }
        assert_eq!(scaler.scale(), 1.0);
        scaler.unscale(&mut gradients(&[f32::NAN]));
        assert!(matches!(scaler.take_step(), Err(TrainError::Overflow)));
    }
}
