//! YOLOv5's head: per cell and anchor a box, an objectness, and a score per class.

pub(super) mod onnx;

use std::ops::Range;

use super::{Channel, LevelChannels, RawMap, sigmoid};
use crate::modules::DetectSpec;
use crate::predictions::{Cxcywh, Predictions};
use crate::weights::HostTensor;

/// Objects that one 640×640 image is expected to hold, for the prior of the objectness bias.
const OBJECTS_PER_IMAGE: f32 = 8.0;
/// Expected probability mass of the classes, for the prior of the class biases.
const CLASS_PRIOR: f32 = 0.6;

/// The channels of an anchor.
impl DetectSpec {
    /// Box: centre x, centre y, width, height.
    pub const BOX: Range<usize> = 0..4;
    /// Objectness.
    pub const OBJECTNESS: usize = 4;

    /// Classes.
    pub fn classes(&self) -> Range<usize> {
        Self::OBJECTNESS + 1..self.n_outputs()
    }

    pub(super) fn level_channels(&self, level: usize) -> LevelChannels {
        let group = |&[width, height]: &[f32; 2]| {
            let mut channels =
                vec![Channel::CentreX, Channel::CentreY, Channel::Width(width), Channel::Height(height)];
            channels.push(Channel::Objectness);
            channels.extend(vec![Channel::Class; self.num_classes]);
            channels
        };
        let groups = self.anchors[level].iter().map(group).collect();
        LevelChannels { stride: self.strides[level] as f32, groups }
    }

    /// With σ the logistic function and `(gx, gy)` the cell: `x = (2σ + gx − ½) · stride`, likewise `y`;
    /// `w = (2σ)² · anchor width`, likewise `h`; scores are `σ(class) · σ(objectness)`. Rows with an objectness of
    /// `score_threshold` or below are left out: their scores cannot be above it.
    pub(super) fn decode(
        &self,
        maps: &[RawMap<'_>],
        score_threshold: f32,
        rows: Range<usize>,
    ) -> Predictions {
        let n_outputs = self.n_outputs();
        let mut predictions = Predictions::new(self.num_classes);
        let mut first_row = 0;
        for (level, map) in maps.iter().enumerate() {
            let cells = map.height * map.width;
            assert_eq!(map.logits.len(), self.n_anchors() * n_outputs * cells, "logits of level {level}");
            let stride = self.strides[level] as f32;
            let anchors = self.anchors[level].iter().zip(map.logits.chunks_exact(n_outputs * cells));
            for (anchor, planes) in anchors {
                let cell_of = |row: usize| row.saturating_sub(first_row).min(cells);
                for cell in cell_of(rows.start)..cell_of(rows.end) {
                    let y = |output: usize| sigmoid(planes[output * cells + cell]);
                    let objectness = y(Self::OBJECTNESS);
                    if objectness <= score_threshold {
                        continue;
                    }
                    let grid = [(cell % map.width) as f32 - 0.5, (cell / map.width) as f32 - 0.5];
                    let centre = |axis: usize| (2.0 * y(axis) + grid[axis]) * stride;
                    let side = |axis: usize| (2.0 * y(2 + axis)) * (2.0 * y(2 + axis)) * anchor[axis];
                    let bbox = Cxcywh { cx: centre(0), cy: centre(1), w: side(0), h: side(1) };
                    predictions.push(bbox, self.classes().map(|class| y(class) * objectness));
                }
                first_row += cells;
            }
        }
        predictions
    }

    /// Objectness `+ ln(8 / (640 / stride)²)`, classes `+ ln(0.6 / (num_classes − 0.99999))`.
    pub(super) fn add_priors(&self, level: usize, bias: &mut [f32]) {
        let cells = (640.0 / self.strides[level] as f32).powi(2);
        let objectness = (OBJECTS_PER_IMAGE / cells).ln();
        let class = (CLASS_PRIOR / (self.num_classes as f32 - 0.99999)).ln();
        for anchor in bias.chunks_exact_mut(self.n_outputs()) {
            anchor[Self::OBJECTNESS] += objectness;
            anchor[self.classes()].iter_mut().for_each(|bias| *bias += class);
        }
    }

    /// The anchors divided by the strides, `[levels, anchors, 2]`.
    pub(super) fn buffer_tensors(&self) -> Vec<(&'static str, HostTensor)> {
        let levels = self.anchors.iter().zip(&self.strides);
        let in_cells = levels
            .flat_map(|(level, &stride)| level.iter().flatten().map(move |side| side / stride as f32))
            .collect();
        let shape = vec![self.strides.len(), self.n_anchors(), 2];
        vec![("anchors", HostTensor::from_f32s(shape, in_cells))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden vector B3: cell (3, 5) of a map that is 7 wide and 9 high, so that swapped axes fail.
    #[test]
    fn golden_row() {
        let detect = DetectSpec {
            num_classes: 2,
            in_channels: vec![1],
            anchors: vec![vec![[10.0, 13.0]]],
            strides: vec![8],
        };
        let (width, height) = (7, 9);
        let mut logits = vec![-20.0; 7 * width * height];
        for (output, value) in [0.2, -0.3, 0.5, -1.0, 2.0, 1.0, -2.0].into_iter().enumerate() {
            logits[(output * height + 5) * width + 3] = value;
        }
        let maps = [RawMap { logits: &logits, height, width }];
        let predictions = detect.decode(&maps, 0.5, 0..usize::MAX);
        assert_eq!(predictions.len(), 1);
        let (bbox, scores) = predictions.rows().next().unwrap_or_default();
        let found = [bbox.cx, bbox.cy, bbox.w, bbox.h, scores[0], scores[1]];
        let (objectness, classes) = (0.880_797, [0.731_058_6, 0.119_202_92]);
        let golden = [28.797_344, 42.808_92, 15.498_226, 3.761_133_7]
            .into_iter()
            .chain(classes.map(|score: f32| score * objectness));
        for (value, expected) in found.into_iter().zip(golden) {
            assert!((value - expected).abs() < 2e-6 * expected.max(1.0), "{value} {expected}");
        }
        let all = detect.decode(&maps, -1.0, 0..usize::MAX);
        assert_eq!(all.len(), 63);
        assert_eq!(all.rows().nth(5 * 7 + 3), predictions.rows().next());
    }

    fn two_levels() -> DetectSpec {
        DetectSpec {
            num_classes: 1,
            in_channels: vec![1, 1],
            anchors: vec![vec![[10.0, 13.0], [4.0, 6.0]], vec![[20.0, 30.0], [7.0, 9.0]]],
            strides: vec![8, 16],
        }
    }

    /// Any range of rows is that range of all rows, across anchors and levels.
    #[test]
    fn rows_are_cut_where_the_range_says() {
        let detect = two_levels();
        let logits: Vec<f32> = (0..2 * 6 * 12).map(|i| (i as f32 * 0.37).sin()).collect();
        let fine = RawMap { logits: &logits, height: 3, width: 4 };
        let coarse = RawMap { logits: &logits[..2 * 6 * 2], height: 1, width: 2 };
        let all = detect.decode(&[fine, coarse], -1.0, 0..usize::MAX);
        assert_eq!(all.len(), 2 * 12 + 2 * 2);
        for range in [0..28, 0..24, 24..28, 5..17, 11..25, 27..90, 9..9] {
            let cut = detect.decode(&[fine, coarse], -1.0, range.clone());
            let expected: Vec<_> = all.rows().skip(range.start).take(range.len()).collect();
            assert_eq!(cut.rows().collect::<Vec<_>>(), expected, "{range:?}");
        }
    }

    /// The meaning of the channels is what the decoder does with them.
    #[test]
    fn channels_say_what_the_decoder_does() {
        let detect = two_levels();
        let channels = detect.level_channels(1);
        assert_eq!((channels.stride, channels.n_channels(), channels.row_width()), (16.0, 12, 5));
        assert_eq!(channels.groups[1][3], Channel::Height(9.0));
        for group in &channels.groups {
            let is_box = |channel: &Channel| !matches!(channel, Channel::Objectness | Channel::Class);
            assert!(group[DetectSpec::BOX].iter().all(is_box));
            assert_eq!(group[DetectSpec::OBJECTNESS], Channel::Objectness);
            assert_eq!(group[detect.classes()], [Channel::Class]);
        }
    }

    /// Hand-computed for 80 classes at stride 8: `ln(8 / 6400)` and `ln(0.6 / 79.00001)`.
    #[test]
    fn priors_go_to_objectness_and_classes() {
        let detect = DetectSpec { num_classes: 80, ..two_levels() };
        let mut bias = vec![1.0; 2 * 85];
        detect.add_priors(0, &mut bias);
        for anchor in bias.chunks_exact(85) {
            assert_eq!(anchor[..4], [1.0; 4]);
            assert!((anchor[4] - (1.0 - 6.684_612)).abs() < 1e-5, "{}", anchor[4]);
            assert!(anchor[5..].iter().all(|bias| (bias - (1.0 - 4.880_273)).abs() < 1e-4), "{}", anchor[5]);
        }
    }
}
