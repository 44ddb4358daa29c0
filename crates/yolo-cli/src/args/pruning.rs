//! Flags that say which weights go; the same for every command that prunes.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use yolo_prune::{Allocation, Criterion, Method, Rank, Repair, Structure, Unit};

use super::named::{Named, named};
use super::{milliseconds, unit};

/// Which weights go.
pub(crate) const METHODS: [Named<Method>; 11] = [
    Named(
        Method::Layer,
        "layer",
        "The smallest of each convolution, the same fraction everywhere (YOLOv5's tutorial)",
    ),
    Named(Method::Global, "global", "The smallest of all convolutions"),
    Named(
        Method::ScaleFree,
        "scale-free",
        "The smallest of all convolutions as they run, batch normalisation folded in",
    ),
    Named(Method::Erk, "erk", "The smallest; small and narrow convolutions stay denser"),
    Named(Method::Lamp, "lamp", "The smallest relative to what would be left of their convolution"),
    Named(Method::Flops, "flops", "The smallest, from convolutions with many operations per weight first"),
    Named(
        Method::Sensitivity,
        "sensitivity",
        "The smallest, divided by how much each convolution's output suffers (looks at images)",
    ),
    Named(Method::Snip, "snip", "The least gradient times weight (looks at images)"),
    Named(Method::Taylor, "taylor", "The least squared gradient times weight (looks at images)"),
    Named(Method::Wanda, "wanda", "The least magnitude times norm of the input (looks at images)"),
    Named(
        Method::Reconstruction,
        "reconstruction",
        "Those that the others can make up for, which they do; the most accurate (looks at images)",
    ),
];

/// What makes a weight worth keeping.
pub(crate) const CRITERIA: [Named<Criterion>; 5] = [
    Named(Criterion::Magnitude, "magnitude", "Its magnitude"),
    Named(Criterion::Snip, "snip", "Gradient times weight"),
    Named(Criterion::Taylor, "taylor", "Squared gradient times weight"),
    Named(Criterion::Wanda, "wanda", "Magnitude times the norm of its input"),
    Named(Criterion::Reconstruction, "reconstruction", "What the others cannot make up for"),
];

/// How the amount is divided over the convolutions.
pub(crate) const ALLOCATIONS: [Named<Allocation>; 6] = [
    Named(Allocation::Layer, "layer", "The same fraction everywhere"),
    Named(Allocation::Global, "global", "All weights compete"),
    Named(Allocation::Erk, "erk", "Small and narrow convolutions stay denser"),
    Named(Allocation::Lamp, "lamp", "Weights compete relative to their convolution"),
    Named(Allocation::Flops, "flops", "Many operations per weight go first"),
    Named(Allocation::Sensitivity, "sensitivity", "By the measured error of each convolution's output"),
];

/// The weights whose magnitudes are compared.
pub(crate) const RANKS: [Named<Rank>; 2] = [
    Named(Rank::Fused, "fused", "As they run: batch normalisation folded in"),
    Named(Rank::Stored, "unfused", "As they are stored"),
];

/// What happens to the weights that stay.
pub(crate) const REPAIRS: [Named<Repair>; 3] = [
    Named(Repair::None, "none", "Nothing"),
    Named(Repair::Bias, "bias", "Biases make up for the mean of what went"),
    Named(Repair::Reconstruct, "reconstruct", "They are fitted to what the dense network computes"),
];

/// What the amount is a fraction of.
pub(crate) const UNITS: [Named<Unit>; 3] = [
    Named(Unit::Weights, "weights", "Convolution weights"),
    Named(Unit::Flops, "flops", "Multiply-adds"),
    Named(Unit::Milliseconds, "ms", "Milliseconds of the network on this machine, measured"),
];

/// Flags beside the amount.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Which weights go")]
pub(crate) struct SelectionArgs {
    /// Which weights go [default: layer; with --calibration reconstruction].
    #[arg(long, value_parser = named(&METHODS))]
    pub(crate) method: Option<Method>,
    /// What makes a weight worth keeping, in place of the method's.
    #[arg(long, value_parser = named(&CRITERIA))]
    pub(crate) criterion: Option<Criterion>,
    /// How the amount is divided over the convolutions, in place of the method's.
    #[arg(long, value_parser = named(&ALLOCATIONS))]
    pub(crate) allocation: Option<Allocation>,
    /// Weights that go together: unstructured; 2:4 or 1:4 of the input channels; blocks 4x1, 1x4 (output × input).
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Option<Structure>,
    /// Reorder channels first, so that n:m loses less; the network computes the same.
    #[arg(long)]
    pub(crate) permute: bool,
    /// What the amount is a fraction of.
    #[arg(long, value_parser = named(&UNITS))]
    pub(crate) of: Option<Unit>,
    /// Milliseconds per image that the network may take on this machine, in place of an amount.
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with_all = ["amount", "of"])]
    pub(crate) at_most_ms: Option<f64>,
    /// Threads that milliseconds are measured with [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// Whose magnitudes are compared [default: fused; unfused with images and in recipes].
    #[arg(long, value_parser = named(&RANKS))]
    pub(crate) rank: Option<Rank>,
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
    #[arg(long, value_parser = named(&REPAIRS))]
    pub(crate) repair: Option<Repair>,
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
        self.of == Some(Unit::Milliseconds) || self.at_most_ms.is_some()
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
