//! The parts of a pruning method, and their names.

use serde::{Deserialize, Serialize};

/// The criterion that ranks weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// `|w|`.
    #[default]
    Magnitude,
    /// `|w| · mean |∂loss/∂w|`: the first-order change of the loss of a batch without the weight
    /// (SNIP, Lee et al. 2019). The loss is that of the network's own answers.
    Snip,
    /// `mean (w · ∂loss/∂w)²` with labels drawn from the network's own probabilities (Molchanov et al. 2019; the
    /// Fisher information times `w²`).
    Taylor,
    /// `|w| · ‖x‖` with the input `x` of the weight (Wanda, Sun et al. 2024).
    Wanda,
    /// `w² / [H⁻¹]`, what the convolution's output loses once the other weights of its channel have adapted
    /// (optimal brain surgeon); the remaining weights are fitted.
    Reconstruction,
}

impl Criterion {
    /// Whether it needs images.
    pub fn needs_images(self) -> bool {
        self != Self::Magnitude
    }
}

/// How a total amount is divided over the convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocation {
    /// Each convolution loses the same fraction (YOLOv5's own pruning).
    #[default]
    Layer,
    /// All convolutions compete by their scores.
    Global,
    /// Small and narrow convolutions stay denser (Erdős–Rényi-Kernel, Evci et al. 2020).
    Erk,
    /// They compete by scores that are relative to what would be left of their own convolution (LAMP, Lee et al.
    /// 2021).
    Lamp,
    /// Convolutions lose as much as a weight of theirs costs operations.
    Flops,
    /// The sum of the errors at the convolutions' outputs, as measured on calibration images, is smallest.
    Sensitivity,
}

/// A criterion and an allocation that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Magnitude, the same fraction of each convolution (YOLOv5's own pruning).
    Layer,
    /// Magnitude over all convolutions.
    Global,
    /// Magnitude over all convolutions, batch normalisation folded into the score.
    ScaleFree,
    /// Magnitude, small and narrow convolutions denser.
    Erk,
    /// Magnitude relative to what would be left of a convolution.
    Lamp,
    /// Magnitude, convolutions with many operations per weight first.
    Flops,
    /// Magnitude, divided by the measured error of each convolution's output.
    Sensitivity,
    /// Gradient times weight over all convolutions.
    Snip,
    /// Squared gradient times weight over all convolutions.
    Taylor,
    /// Magnitude times the norm of the input, the same fraction of each convolution.
    Wanda,
    /// The remaining weights are fitted to the outputs of the dense network.
    Reconstruction,
}

impl Method {
    /// Every method, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Layer,
        Self::Global,
        Self::ScaleFree,
        Self::Erk,
        Self::Lamp,
        Self::Flops,
        Self::Sensitivity,
        Self::Snip,
        Self::Taylor,
        Self::Wanda,
        Self::Reconstruction,
    ];

    /// The method with these parts, if one has a name.
    pub fn of(criterion: Criterion, allocation: Allocation, rank: Rank) -> Option<Self> {
        if (criterion, allocation, rank) == (Criterion::Magnitude, Allocation::Global, Rank::Fused) {
            // `ScaleFree` fits as well; this is the usual name.
            return Some(Self::Global);
        }
        Self::ALL.into_iter().find(|method| method.parts() == (criterion, allocation))
    }

    /// Its criterion and its allocation.
    pub fn parts(self) -> (Criterion, Allocation) {
        match self {
            Self::Layer => (Criterion::Magnitude, Allocation::Layer),
            Self::Global | Self::ScaleFree => (Criterion::Magnitude, Allocation::Global),
            Self::Erk => (Criterion::Magnitude, Allocation::Erk),
            Self::Lamp => (Criterion::Magnitude, Allocation::Lamp),
            Self::Flops => (Criterion::Magnitude, Allocation::Flops),
            Self::Sensitivity => (Criterion::Magnitude, Allocation::Sensitivity),
            Self::Snip => (Criterion::Snip, Allocation::Global),
            Self::Taylor => (Criterion::Taylor, Allocation::Global),
            Self::Wanda => (Criterion::Wanda, Allocation::Layer),
            Self::Reconstruction => (Criterion::Reconstruction, Allocation::Global),
        }
    }
}

/// Whether magnitudes are compared as stored or after fusing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// As they run, with the scale of batch normalisation folded in, so that the scale of a stored weight does not
    /// count. The same weights go whether the checkpoint is fused before or after.
    #[default]
    Fused,
    /// As they are stored.
    Stored,
}

/// How the remaining weights are adjusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Not at all.
    #[default]
    None,
    /// Biases are adjusted by the mean contribution of the removed weights.
    Bias,
    /// Weights and biases are fitted, one convolution after the other, to what the dense network computes.
    Reconstruct,
}

/// The quantity that an amount is a fraction of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Convolution weights.
    #[default]
    Weights,
    /// The convolutions' multiply-adds, those of zeros not counted.
    Flops,
    /// The network's milliseconds, by a [`LatencyTable`](crate::LatencyTable).
    #[serde(alias = "ms")]
    Milliseconds,
}

/// The name of a value in files.
pub(crate) fn name(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).ok();
    json.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
