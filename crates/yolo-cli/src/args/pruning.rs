//! Flags that say which weights go; the same for every command that prunes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use yolo_prune::{Allocation, Criterion, Method, Rank, Repair, Structure, Unit};

use super::{milliseconds, unit};

/// Which weights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum MethodArg {
    /// The smallest of each convolution, the same fraction everywhere (YOLOv5's tutorial).
    Layer,
    /// The smallest of all convolutions.
    Global,
    /// The smallest of all convolutions as they run, batch normalisation folded in.
    ScaleFree,
    /// The smallest; small and narrow convolutions stay denser.
    Erk,
    /// The smallest relative to what would be left of their convolution.
    Lamp,
    /// The smallest, from convolutions with many operations per weight first.
    Flops,
    /// The smallest, divided by how much each convolution's output suffers (looks at images).
    Sensitivity,
    /// The least gradient times weight (looks at images).
    Snip,
    /// The least squared gradient times weight (looks at images).
    Taylor,
    /// The least magnitude times norm of the input (looks at images).
    Wanda,
    /// Those that the others can make up for, which they do; the most accurate (looks at images).
    Reconstruction,
}

/// What makes a weight worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum CriterionArg {
    /// Its magnitude.
    Magnitude,
    /// Gradient times weight.
    Snip,
    /// Squared gradient times weight.
    Taylor,
    /// Magnitude times the norm of its input.
    Wanda,
    /// What the others cannot make up for.
    Reconstruction,
}

/// How the amount is divided over the convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum AllocationArg {
    /// The same fraction everywhere.
    Layer,
    /// All weights compete.
    Global,
    /// Small and narrow convolutions stay denser.
    Erk,
    /// Weights compete relative to their convolution.
    Lamp,
    /// Many operations per weight go first.
    Flops,
    /// By the measured error of each convolution's output.
    Sensitivity,
}

/// The weights whose magnitudes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum RankArg {
    /// As they run: batch normalisation folded in.
    Fused,
    /// As they are stored.
    Unfused,
}

/// What happens to the weights that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum RepairArg {
    /// Nothing.
    None,
    /// Biases make up for the mean of what went.
    Bias,
    /// They are fitted to what the dense network computes.
    Reconstruct,
}

/// What the amount is a fraction of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum UnitArg {
    /// Convolution weights.
    Weights,
    /// Multiply-adds.
    Flops,
    /// Milliseconds of the network on this machine, measured.
    Ms,
}

/// Flags beside the amount.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Which weights go")]
pub(crate) struct SelectionArgs {
    /// Which weights go [default: layer; with --calibration reconstruction].
    #[arg(long, value_enum)]
    pub(crate) method: Option<MethodArg>,
    /// What makes a weight worth keeping, in place of the method's.
    #[arg(long, value_enum)]
    pub(crate) criterion: Option<CriterionArg>,
    /// How the amount is divided over the convolutions, in place of the method's.
    #[arg(long, value_enum)]
    pub(crate) allocation: Option<AllocationArg>,
    /// Weights that go together: unstructured; 2:4 or 1:4 of the input channels; blocks 4x1, 1x4 (output × input).
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Option<Structure>,
    /// Reorder channels first, so that n:m loses less; the network computes the same.
    #[arg(long)]
    pub(crate) permute: bool,
    /// What the amount is a fraction of.
    #[arg(long, value_enum)]
    pub(crate) of: Option<UnitArg>,
    /// Milliseconds per image that the network may take on this machine, in place of an amount.
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with_all = ["amount", "of"])]
    pub(crate) at_most_ms: Option<f64>,
    /// Threads that milliseconds are measured with [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// Whose magnitudes are compared [default: fused; unfused with images and in recipes].
    #[arg(long, value_enum)]
    pub(crate) rank: Option<RankArg>,
    /// Convolutions to leave alone, by name: model.24 (with all below it), '*.cv1'. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Fraction of every convolution that goes at least.
    #[arg(long, value_name = "FRACTION", value_parser = unit)]
    pub(crate) min_sparsity: Option<f64>,
    /// Fraction of every convolution that goes at most.
    #[arg(long, value_name = "FRACTION", value_parser = unit)]
    pub(crate) max_sparsity: Option<f64>,
    /// Other limits for some convolutions: 'model.2=0:0.5'. Repeatable; the last match counts.
    #[arg(long, value_name = "PATTERN=MIN:MAX", value_parser = limit)]
    pub(crate) limit: Vec<LimitArg>,
    /// What happens to the weights that stay, in place of the method's.
    #[arg(long, value_enum)]
    pub(crate) repair: Option<RepairArg>,
    /// Images to look at, with those below the folder; no labels are read.
    #[arg(long, value_name = "IMAGE_DIR")]
    pub(crate) calibration: Option<PathBuf>,
    /// Images to look at, at most [default: as many as fit into 1.5 GB, at most 128].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calibration_images: Option<u32>,
}

impl SelectionArgs {
    /// Whether a time is asked for.
    pub(crate) fn asks_for_time(&self) -> bool {
        self.of == Some(UnitArg::Ms) || self.at_most_ms.is_some()
    }
}

/// Limits of the convolutions that a pattern matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LimitArg {
    pub(crate) pattern: String,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

fn limit(text: &str) -> Result<LimitArg, String> {
    let parsed = || {
        let (pattern, range) = text.rsplit_once('=')?;
        let (least, most) = range.split_once(':')?;
        let (least, most) = (unit(least).ok()?, unit(most).ok()?);
        (least <= most).then(|| LimitArg { pattern: pattern.to_owned(), least, most })
    };
    parsed().ok_or_else(|| {
        "it must be PATTERN=MIN:MAX with fractions between 0 and 1, as model.2=0:0.5".to_owned()
    })
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Layer => Self::Layer,
            MethodArg::Global => Self::Global,
            MethodArg::ScaleFree => Self::ScaleFree,
            MethodArg::Erk => Self::Erk,
            MethodArg::Lamp => Self::Lamp,
            MethodArg::Flops => Self::Flops,
            MethodArg::Sensitivity => Self::Sensitivity,
            MethodArg::Snip => Self::Snip,
            MethodArg::Taylor => Self::Taylor,
            MethodArg::Wanda => Self::Wanda,
            MethodArg::Reconstruction => Self::Reconstruction,
        }
    }
}

impl From<CriterionArg> for Criterion {
    fn from(criterion: CriterionArg) -> Self {
        match criterion {
            CriterionArg::Magnitude => Self::Magnitude,
            CriterionArg::Snip => Self::Snip,
            CriterionArg::Taylor => Self::Taylor,
            CriterionArg::Wanda => Self::Wanda,
            CriterionArg::Reconstruction => Self::Reconstruction,
        }
    }
}

impl From<AllocationArg> for Allocation {
    fn from(allocation: AllocationArg) -> Self {
        match allocation {
            AllocationArg::Layer => Self::Layer,
            AllocationArg::Global => Self::Global,
            AllocationArg::Erk => Self::Erk,
            AllocationArg::Lamp => Self::Lamp,
            AllocationArg::Flops => Self::Flops,
            AllocationArg::Sensitivity => Self::Sensitivity,
        }
    }
}

impl From<RankArg> for Rank {
    fn from(rank: RankArg) -> Self {
        match rank {
            RankArg::Fused => Self::Fused,
            RankArg::Unfused => Self::Stored,
        }
    }
}

impl From<RepairArg> for Repair {
    fn from(repair: RepairArg) -> Self {
        match repair {
            RepairArg::None => Self::None,
            RepairArg::Bias => Self::Bias,
            RepairArg::Reconstruct => Self::Reconstruct,
        }
    }
}

impl From<UnitArg> for Unit {
    fn from(unit: UnitArg) -> Self {
        match unit {
            UnitArg::Weights => Self::Weights,
            UnitArg::Flops => Self::Flops,
            UnitArg::Ms => Self::Milliseconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_a_pattern_and_a_range() {
        let expected = LimitArg { pattern: "model.2".to_owned(), least: 0.0, most: 0.5 };
        assert_eq!(limit("model.2=0:0.5"), Ok(expected));
        for bad in ["model.2", "model.2=0.5", "model.2=0.5:0.1", "model.2=0:2", "=a:b"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
