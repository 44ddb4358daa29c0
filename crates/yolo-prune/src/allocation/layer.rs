//! A layer as the allocations see it.

use serde::{Deserialize, Serialize};

use super::error::AllocationError;

/// The properties of a convolution that an allocation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Shape of the weight, `[out, in, kh, kw]`.
    pub shape: [usize; 4],
    /// Floating-point operations of the dense layer for one image.
    pub flops: u64,
}

impl Layer {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.shape.iter().product()
    }

    /// FLOPs that one zero saves.
    pub(super) fn flops_per_weight(&self) -> f64 {
        self.flops as f64 / self.weights() as f64
    }
}

/// Limits of the fraction of a layer's weights that is removed. One weight always stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Smallest fraction removed.
    pub least: f64,
    /// Largest fraction removed.
    pub most: f64,
}

impl Default for Limit {
    /// Any fraction.
    fn default() -> Self {
        Self { least: 0.0, most: 1.0 }
    }
}

/// A [`Limit`] in weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl Bounds {
    pub(super) fn clamp(self, count: usize) -> usize {
        count.clamp(self.least, self.most)
    }
}

/// The limits of layers with these numbers of weights. Counts are rounded inwards; if no whole number lies between
/// the two fractions, `most` holds.
pub(super) fn bounds(weights: &[usize], limits: &[Limit]) -> Result<Vec<Bounds>, AllocationError> {
    check_length("limits", limits.len(), weights.len())?;
    let mut bounds = Vec::with_capacity(weights.len());
    for (layer, (&n, &Limit { least, most })) in weights.iter().zip(limits).enumerate() {
        if n == 0 {
            return Err(AllocationError::EmptyLayer(layer));
        }
        if !(0.0 <= least && least <= most && most <= 1.0) {
            return Err(AllocationError::Limit { layer, least, most });
        }
        // 0.29 * 100 is a little less than 29 in floating point.
        const ROUNDING: f64 = 1e-9;
        let most = ((most * n as f64 + ROUNDING) as usize).min(n - 1);
        let least = ((least * n as f64 - ROUNDING).ceil() as usize).min(most);
        bounds.push(Bounds { least, most });
    }
    Ok(bounds)
}

pub(super) fn check_amount(amount: f64) -> Result<(), AllocationError> {
    if (0.0..1.0).contains(&amount) { Ok(()) } else { Err(AllocationError::Amount(amount)) }
}

pub(super) fn check_length(what: &'static str, found: usize, layers: usize) -> Result<(), AllocationError> {
    if found == layers { Ok(()) } else { Err(AllocationError::Length { what, found, layers }) }
}

/// Weights of every layer.
pub(super) fn weights(layers: &[Layer]) -> Vec<usize> {
    layers.iter().map(Layer::weights).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_counts() {
        let limit = |least, most| Limit { least, most };
        let of = |n, limit| bounds(&[n], &[limit]).map(|bounds| (bounds[0].least, bounds[0].most));
        assert_eq!(of(100, Limit::default()), Ok((0, 99)));
        assert_eq!(of(1, Limit::default()), Ok((0, 0)));
        assert_eq!(of(100, limit(0.29, 0.29)), Ok((29, 29)));
        assert_eq!(of(10, limit(0.11, 0.89)), Ok((2, 8)));
        assert_eq!(of(3, limit(0.5, 0.5)), Ok((1, 1)));
        assert_eq!(of(0, Limit::default()), Err(AllocationError::EmptyLayer(0)));
        for (least, most) in [(0.5, 0.4), (-0.1, 1.0), (0.0, 1.1), (f64::NAN, 1.0), (0.0, f64::NAN)] {
            assert!(matches!(of(9, limit(least, most)), Err(AllocationError::Limit { layer: 0, .. })));
        }
        let length = AllocationError::Length { what: "limits", found: 1, layers: 2 };
        assert_eq!(bounds(&[1, 2], &[Limit::default()]), Err(length));
    }
}
