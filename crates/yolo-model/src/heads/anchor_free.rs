//! The head without anchors: per cell the distances from its centre to the sides of a box, and a score per class.

pub(super) mod onnx;

use std::ops::Range;

use super::{Channel, LevelChannels, RawMap, Side, sigmoid};
use crate::modules::AnchorFreeSpec;
use crate::predictions::{Cxcywh, Predictions};
use crate::weights::HostTensor;

/// Where the biases of distances start.
const DISTANCE_PRIOR: f32 = 2.0;
/// Objects that one 640×640 image is expected to hold, for the prior of the class biases.
const OBJECTS_PER_IMAGE: f32 = 5.0;

impl AnchorFreeSpec {
    pub(super) fn level_channels(&self, level: usize) -> LevelChannels {
        let distances = Side::ALL.into_iter().flat_map(|side| {
            (0..self.bins).map(move |bin| match self.bins {
                1 => Channel::Distance(side),
                _ => Channel::Bin { side, bin },
            })
        });
        let classes = (0..self.num_classes).map(|_| Channel::Class);
        let stride = self.strides[level % self.strides.len()] as f32;
        LevelChannels { stride, groups: vec![distances.chain(classes).collect()] }
    }

    /// With `(x, y)` the centre of the cell in cells, ½ from its corner, the box reaches from `x − left`, `y − top` to
    /// `x + right`, `y + bottom`, times the stride. A distance is the expectation of the bins' numbers under their softmax, or
    /// the only bin's logit itself, which may be negative. Scores are `σ(class)`.
    pub(super) fn decode(
        &self,
        maps: &[RawMap<'_>],
        score_threshold: f32,
        rows: Range<usize>,
    ) -> Predictions {
        let mut predictions = Predictions::new(self.num_classes);
        // σ is monotonic, so most rows need none.
        let least = if score_threshold < 0.0 { f32::NEG_INFINITY } else { logit(score_threshold) };
        let first_class = Side::ALL.len() * self.bins;
        let mut first_row = 0;
        for (level, map) in maps.iter().enumerate() {
            let cells = map.height * map.width;
            assert_eq!(map.logits.len(), self.n_channels() * cells, "logits of level {level}");
            let stride = self.strides[level % self.strides.len()] as f32;
            let at = |channel: usize, cell: usize| map.logits[channel * cells + cell];
            let cell_of = |row: usize| row.saturating_sub(first_row).min(cells);
            for cell in cell_of(rows.start)..cell_of(rows.end) {
                let classes = first_class..first_class + self.num_classes;
                // With some room for rounding; the threshold itself is applied to the scores.
                if classes.clone().all(|class| at(class, cell) < least - 1e-3) {
                    continue;
                }
                let centre = [(cell % map.width) as f32 + 0.5, (cell / map.width) as f32 + 0.5];
                let distance = |side: usize| self.distance(|bin| at(side * self.bins + bin, cell));
                let bbox = boxed(centre, std::array::from_fn(distance), stride);
                predictions.push(bbox, classes.map(|class| sigmoid(at(class, cell))));
            }
            first_row += cells;
        }
        predictions
    }

    fn distance(&self, logit: impl Fn(usize) -> f32) -> f32 {
        if self.bins == 1 {
            return logit(0);
        }
        let largest = (0..self.bins).map(&logit).fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut weighted) = (0.0, 0.0);
        for bin in 0..self.bins {
            let weight = (logit(bin) - largest).exp();
            sum += weight;
            weighted += weight * bin as f32;
        }
        weighted / sum
    }

    /// Distances 2, classes `ln(5 / classes / (640 / stride)²)`, whatever they were. `output` counts the outputs of the
    /// program.
    pub(super) fn priors(&self, output: usize) -> [f32; 2] {
        let cells = (640.0 / self.strides[output % self.strides.len()] as f32).powi(2);
        [DISTANCE_PRIOR, (OBJECTS_PER_IMAGE / self.num_classes as f32 / cells).ln()]
    }

    pub(super) fn buffer_tensors(&self) -> Vec<(&'static str, HostTensor)> {
        self.bin_numbers_path().map(|path| (path, self.bin_numbers())).into_iter().collect()
    }
}

/// The box around a cell whose centre is `centre`, in cells, as pixels.
fn boxed([x, y]: [f32; 2], [left, top, right, bottom]: [f32; 4], stride: f32) -> Cxcywh {
    let (x1, y1, x2, y2) = (x - left, y - top, x + right, y + bottom);
    Cxcywh {
        cx: (x1 + x2) / 2.0 * stride,
        cy: (y1 + y2) / 2.0 * stride,
        w: (x2 - x1) * stride,
        h: (y2 - y1) * stride,
    }
}

/// The inverse of [`sigmoid`].
fn logit(probability: f32) -> f32 {
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Xyxy;

    fn spec(bins: usize) -> AnchorFreeSpec {
        AnchorFreeSpec {
            num_classes: 2,
            bins,
            strides: vec![8],
            one2many: None,
            one2one: None,
            end_to_end: false,
        }
    }

    /// The specification's golden vector: cell (3, 5), one bin, raw distances (1.5, −0.25, 2, 3).
    #[test]
    fn raw_distances_are_cells_from_the_centre() {
        let (width, height) = (7, 9);
        let mut logits = vec![-20.0; 6 * width * height];
        for (channel, value) in [1.5, -0.25, 2.0, 3.0, 1.0].into_iter().enumerate() {
            logits[(channel * height + 5) * width + 3] = value;
        }
        let maps = [RawMap { logits: &logits, height, width }];
        let predictions = spec(1).decode(&maps, 0.5, 0..usize::MAX);
        let rows: Vec<_> = predictions.rows().collect();
        let [(bbox, scores)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(*bbox, Cxcywh { cx: 30.0, cy: 57.0, w: 28.0, h: 22.0 });
        assert_eq!(Xyxy::from(*bbox), Xyxy { x1: 16.0, y1: 46.0, x2: 44.0, y2: 68.0 });
        assert!((scores[0] - 0.731_058_6).abs() < 1e-6, "{scores:?}");
        assert_eq!(spec(1).decode(&maps, -1.0, 0..usize::MAX).len(), 63);
        assert_eq!(spec(1).decode(&maps, -1.0, 10..20).len(), 10);
    }

    /// Equal logits in 16 bins are a distance of 7.5, and a large one picks its bin.
    #[test]
    fn a_distance_is_the_expectation_over_the_bins() {
        assert_eq!(spec(16).distance(|_| 0.0), 7.5);
        assert!((spec(16).distance(|bin| if bin == 11 { 40.0 } else { 0.0 }) - 11.0).abs() < 1e-6);
    }

    #[test]
    fn channels_are_sides_then_classes() {
        let channels = spec(16).level_channels(0);
        assert_eq!((channels.n_channels(), channels.row_width()), (66, 6));
        assert_eq!(channels.groups[0][17], Channel::Bin { side: Side::Top, bin: 1 });
        assert_eq!(channels.groups[0][64..], [Channel::Class; 2]);
        assert_eq!(spec(1).level_channels(0).groups[0][3], Channel::Distance(Side::Bottom));
    }

    /// Hand-computed for 80 classes at stride 8: `ln(5 / 80 / 6400)`.
    #[test]
    fn priors_follow_from_classes_and_stride() {
        let [distance, class] = AnchorFreeSpec { num_classes: 80, ..spec(16) }.priors(0);
        assert_eq!(distance, 2.0);
        assert!((class + 11.536_642).abs() < 1e-5, "{class}");
    }
}
