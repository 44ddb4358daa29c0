//! Which rule the Ultralytics family trains with, if none is asked for (§5.4 of its specification).

use super::Rule;

/// Steps of a run beyond which it is long.
const LONG: usize = 10_000;
/// First learning rate of long runs.
const LONG_LR: f64 = 0.01;
/// β₁ of AdamW.
const BETA1: f64 = 0.9;

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Automatic {
    /// The rule.
    pub rule: Rule,
    /// First learning rate.
    pub lr0: f64,
    /// β₁ of AdamW. For MuSGD none: its momentum ends the warm-up at that of the hyper-parameters.
    pub momentum: Option<f64>,
    /// Learning rate of biases at the start of the warm-up.
    pub warmup_bias_lr: f64,
}

/// The rule for `epochs` passes over `n_images` images in steps of a nominal batch: MuSGD for more than 10,000 steps, otherwise
/// AdamW with a first learning rate of `0.002 · 5 / (4 + classes)`, in millionths.
pub fn automatic(
    n_images: usize,
    batch_size: usize,
    nominal_batch_size: usize,
    epochs: usize,
    num_classes: usize,
) -> Automatic {
    let steps = n_images.div_ceil(batch_size.max(nominal_batch_size).max(1)) * epochs;
    if steps > LONG {
        return Automatic { rule: Rule::MuSgd, lr0: LONG_LR, momentum: None, warmup_bias_lr: 0.0 };
    }
    short_run(num_classes)
}

/// The rule for a run of few steps, and for fine-tuning, which starts from trained weights however long it is.
pub fn short_run(num_classes: usize) -> Automatic {
    let lr0 = 0.002 * 5.0 / (4 + num_classes) as f64;
    Automatic {
        rule: Rule::AdamW,
        lr0: (lr0 * 1e6).round_ties_even() / 1e6,
        momentum: Some(BETA1),
        warmup_bias_lr: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_have_adamw_at_a_rate_by_classes() {
        for (classes, lr0) in [(80, 0.000_119), (5, 0.001_111), (2, 0.001_667), (1, 0.002)] {
            let chosen = automatic(320, 8, 8, 20, classes);
            assert_eq!((chosen.rule, chosen.lr0, chosen.momentum), (Rule::AdamW, lr0, Some(0.9)));
        }
    }

    #[test]
    fn long_runs_have_musgd() {
        // 100 steps an epoch: of 64 images, however few the batch has.
        assert_eq!(automatic(6400, 16, 64, 100, 80).rule, Rule::AdamW);
        assert_eq!(automatic(6401, 16, 64, 100, 80).rule, Rule::MuSgd);
        assert_eq!(automatic(12_800, 128, 64, 101, 80).rule, Rule::MuSgd);
        assert_eq!(automatic(6400, 16, 64, 101, 80).lr0, 0.01);
    }
}
