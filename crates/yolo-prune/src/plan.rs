//! The plan of a pruning, and its application.

use serde::{Deserialize, Serialize};
use yolo_model::Checkpoint;
use yolo_model::architecture::ConvRef;

use crate::error::{PruneError, Result};
use crate::exclude::Pattern;
use crate::mask::Mask;
use crate::select::cut;

/// How weights compete with each other. The criterion is their magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Each convolution loses the same fraction (YOLOv5's own pruning).
    Layer,
    /// All convolutions compete; layers with small weights lose more.
    Global,
}

/// The weights whose magnitudes are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// As they run, with the scale of batch normalisation folded in. The same weights go whether the
    /// checkpoint is fused before or after.
    #[default]
    Fused,
    /// As they are stored.
    Stored,
}

/// What to prune.
#[derive(Clone, Debug, PartialEq)]
pub struct PruneOptions {
    /// How weights compete.
    pub method: Method,
    /// Fraction of the weights that goes, 0 to 1.
    pub amount: f64,
    /// Whose magnitudes are compared; makes no difference to a fused checkpoint.
    pub rank: Rank,
    /// Convolutions that stay as they are.
    pub exclude: Vec<Pattern>,
}

impl PruneOptions {
    /// Options that exclude nothing.
    pub fn new(method: Method, amount: f64) -> Self {
        Self { method, amount, rank: Rank::default(), exclude: Vec::new() }
    }
}

/// What a pruning does: plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunePlan {
    /// How weights competed.
    pub method: Method,
    /// The fraction asked for.
    pub amount: f64,
    /// Whose magnitudes were compared.
    pub rank: Rank,
    /// One mask per convolution that is pruned, in the order of the state dict.
    pub masks: Vec<LayerMask>,
    /// What is left as it is, and why.
    pub skipped: Vec<Skipped>,
}

/// The mask of one convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMask {
    /// Name of the weight tensor.
    pub tensor: String,
    /// Which of its elements stay.
    pub mask: Mask,
}

/// A convolution that is not pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Name of the weight tensor.
    pub tensor: String,
    /// Why.
    pub reason: String,
}

/// Ranks the weights of every convolution by magnitude, stem and head included, and plans which go.
///
/// Exactly `round(amount · n)` of `n` weights go, halves rounded to even; `n` is a convolution's weights for
/// [`Method::Layer`] and those of all convolutions for [`Method::Global`]. Of equal magnitudes the first go.
///
/// # Errors
/// An amount outside `[0, 1]`, a pattern that matches nothing, patterns that match everything, weights that are
/// not numbers.
pub fn plan(checkpoint: &Checkpoint, options: &PruneOptions) -> Result<PrunePlan> {
    if !(0.0..=1.0).contains(&options.amount) {
        return Err(PruneError::Amount(options.amount));
    }
    let convs = checkpoint.architecture.convs();
    for pattern in &options.exclude {
        if !convs.iter().any(|conv| pattern.matches(&conv.name)) {
            let example = convs.first().map(|c| c.name.clone()).unwrap_or_default();
            return Err(PruneError::Pattern { pattern: pattern.as_str().to_owned(), example });
        }
    }
    let (skipped, pruned) = partition(&convs, &options.exclude);
    if pruned.is_empty() {
        return Err(PruneError::NothingLeft);
    }
    let folds = options.rank == Rank::Fused && !checkpoint.architecture.fused;
    let fused = folds.then(|| checkpoint.fuse()).transpose()?;
    let ranked = &fused.as_ref().unwrap_or(checkpoint).weights;
    let values = |conv: &ConvRef| finite(ranked.f32s(&conv.weight())?, conv);
    let tensors: Vec<&[f32]> = pruned.iter().map(|conv| values(conv)).collect::<Result<_>>()?;
    let masks = match options.method {
        Method::Layer => tensors.iter().flat_map(|tensor| masks(&[*tensor], options.amount)).collect(),
        Method::Global => masks(&tensors, options.amount),
    };
    let layers = pruned.iter().zip(masks);
    Ok(PrunePlan {
        method: options.method,
        amount: options.amount,
        rank: options.rank,
        masks: layers.map(|(conv, mask)| LayerMask { tensor: conv.weight(), mask }).collect(),
        skipped,
    })
}

fn finite<'a>(values: &'a [f32], conv: &ConvRef) -> Result<&'a [f32]> {
    match values.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(values),
        count => Err(PruneError::NotFinite { name: conv.weight(), count }),
    }
}

fn partition<'a>(convs: &'a [ConvRef], exclude: &[Pattern]) -> (Vec<Skipped>, Vec<&'a ConvRef>) {
    let mut skipped = Vec::new();
    let mut pruned = Vec::new();
    for conv in convs {
        match exclude.iter().find(|pattern| pattern.matches(&conv.name)) {
            Some(pattern) => skipped.push(Skipped {
                tensor: conv.weight(),
                reason: format!("excluded by {:?}", pattern.as_str()),
            }),
            None => pruned.push(conv),
        }
    }
    (skipped, pruned)
}

/// Masks of tensors whose elements compete with each other.
fn masks(tensors: &[&[f32]], amount: f64) -> Vec<Mask> {
    let total: usize = tensors.iter().map(|tensor| tensor.len()).sum();
    let count = (amount * total as f64).round_ties_even() as usize;
    let mut cut = cut(tensors.iter().copied(), count);
    let mask = |values: &&[f32]| {
        let mut mask = Mask::keep_all(values.len());
        cut.take(values).into_iter().for_each(|index| mask.prune(index));
        mask
    };
    tensors.iter().map(mask).collect()
}

/// The checkpoint with every weight that the plan removes set to zero, and the plan on its record.
///
/// # Errors
/// A plan that was made for another network.
pub fn apply(checkpoint: &Checkpoint, plan: &PrunePlan) -> Result<Checkpoint> {
    let mut pruned = checkpoint.clone();
    for LayerMask { tensor, mask } in &plan.masks {
        pruned.weights.require(tensor)?;
        if let Some(values) = pruned.weights.get_mut(tensor) {
            let values = values.f32s_mut()?;
            if values.len() != mask.len() {
                let (mask, tensor_len) = (mask.len(), values.len());
                return Err(PruneError::MaskLength { name: tensor.clone(), mask, tensor: tensor_len });
            }
            mask.apply(values);
        }
    }
    plan.check(&pruned)?;
    pruned.pruning = Some(plan.record());
    Ok(pruned)
}

impl PrunePlan {
    /// Number of weights that go.
    pub fn pruned(&self) -> usize {
        self.masks.iter().map(|layer| layer.mask.pruned()).sum()
    }

    /// Checks that every removed weight of `checkpoint` is zero.
    ///
    /// # Errors
    /// [`PruneError::NotZero`] with the first tensor where one is not.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        for LayerMask { tensor, mask } in &self.masks {
            let values = checkpoint.weights.f32s(tensor)?;
            if values.len() != mask.len() {
                let (mask, tensor_len) = (mask.len(), values.len());
                return Err(PruneError::MaskLength { name: tensor.clone(), mask, tensor: tensor_len });
            }
            let count = mask.violations(values);
            if count > 0 {
                return Err(PruneError::NotZero { name: tensor.clone(), count });
            }
        }
        Ok(())
    }

    /// What a checkpoint remembers of its pruning.
    fn record(&self) -> serde_json::Value {
        serde_json::json!({
            "method": self.method,
            "amount": self.amount,
            "rank": self.rank,
            "pruned": self.pruned(),
            "skipped": self.skipped.iter().map(|s| s.tensor.as_str()).collect::<Vec<_>>(),
        })
    }
}
