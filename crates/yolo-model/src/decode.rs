//! From the head's logits to boxes and scores.

use std::ops::Range;

use crate::modules::DetectSpec;

/// The logits of one level for one image: `[anchors · (5 + num_classes), height, width]`, contiguous.
#[derive(Clone, Copy, Debug)]
pub struct RawMap<'a> {
    /// The logits.
    pub logits: &'a [f32],
    /// Cells down.
    pub height: usize,
    /// Cells across.
    pub width: usize,
}

/// Decoded rows of one image: centre x, centre y, width, height (input pixels), objectness, then one score
/// per class, not yet multiplied by the objectness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Length of a row, `5 + num_classes`.
    pub n_outputs: usize,
    /// The rows, one behind the other.
    pub values: Vec<f32>,
}

impl Predictions {
    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.n_outputs.max(1))
    }
}

/// Decodes one image. Rows come level by level, and inside a level anchor by anchor, then down, then across.
/// Only rows with an objectness above `min_objectness` are kept; a negative threshold keeps all.
///
/// With σ the logistic function and `(gx, gy)` the cell:
/// `x = (2σ + gx − ½) · stride`, likewise `y`; `w = (2σ)² · anchor width`, likewise `h`; scores are `σ`.
///
/// # Panics
/// If a map does not have `anchors · (5 + num_classes) · height · width` values.
pub fn decode(maps: &[RawMap<'_>], detect: &DetectSpec, min_objectness: f32) -> Predictions {
    decode_rows(maps, detect, min_objectness, 0..usize::MAX)
}

/// [`decode`] without the rows that lie outside `rows`, counted over all rows of the image, weak ones too.
///
/// # Panics
/// As [`decode`].
pub fn decode_rows(
    maps: &[RawMap<'_>],
    detect: &DetectSpec,
    min_objectness: f32,
    rows: Range<usize>,
) -> Predictions {
    let n_outputs = detect.n_outputs();
    let mut values = Vec::new();
    let mut first_row = 0;
    for (level, map) in maps.iter().enumerate() {
        let cells = map.height * map.width;
        assert_eq!(map.logits.len(), detect.n_anchors() * n_outputs * cells, "logits of level {level}");
        let stride = detect.strides[level] as f32;
        for (anchor, planes) in detect.anchors[level].iter().zip(map.logits.chunks_exact(n_outputs * cells)) {
            let cell_of = |row: usize| row.saturating_sub(first_row).min(cells);
            for cell in cell_of(rows.start)..cell_of(rows.end) {
                let objectness = sigmoid(planes[4 * cells + cell]);
                if objectness <= min_objectness {
                    continue;
                }
                let y = |output: usize| sigmoid(planes[output * cells + cell]);
                let grid = [(cell % map.width) as f32 - 0.5, (cell / map.width) as f32 - 0.5];
                values.push((2.0 * y(0) + grid[0]) * stride);
                values.push((2.0 * y(1) + grid[1]) * stride);
                values.extend([2, 3].map(|side| (2.0 * y(side)) * (2.0 * y(side)) * anchor[side - 2]));
                values.push(objectness);
                values.extend((5..n_outputs).map(y));
            }
            first_row += cells;
        }
    }
    Predictions { n_outputs, values }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
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
        let rows = decode(&[RawMap { logits: &logits, height, width }], &detect, 0.5);
        let golden = [28.797_344, 42.808_92, 15.498_226, 3.761_133_7, 0.880_797, 0.731_058_6, 0.119_202_92];
        assert_eq!(rows.values.len(), golden.len());
        for (value, expected) in rows.values.iter().zip(golden) {
            assert!((value - expected).abs() < 2e-6 * expected.max(1.0), "{value} {expected}");
        }
        let all = decode(&[RawMap { logits: &logits, height, width }], &detect, -1.0);
        assert_eq!(all.rows().count(), 63);
        assert_eq!(all.rows().nth(5 * 7 + 3), Some(&rows.values[..]));
    }

    /// Any range of rows is that range of all rows, across anchors and levels.
    #[test]
    fn rows_are_cut_where_the_range_says() {
        let detect = DetectSpec {
            num_classes: 1,
            in_channels: vec![1, 1],
            anchors: vec![vec![[10.0, 13.0], [4.0, 6.0]], vec![[20.0, 30.0], [7.0, 9.0]]],
            strides: vec![8, 16],
        };
        let logits: Vec<f32> = (0..2 * 6 * 12).map(|i| (i as f32 * 0.37).sin()).collect();
        let fine = RawMap { logits: &logits, height: 3, width: 4 };
        let coarse = RawMap { logits: &logits[..2 * 6 * 2], height: 1, width: 2 };
        let all = decode(&[fine, coarse], &detect, -1.0);
        assert_eq!(all.rows().count(), 2 * 12 + 2 * 2);
        for range in [0..28, 0..24, 24..28, 5..17, 11..25, 27..90, 9..9] {
            let cut = decode_rows(&[fine, coarse], &detect, -1.0, range.clone());
            let expected: Vec<&[f32]> = all.rows().skip(range.start).take(range.len()).collect();
            assert_eq!(cut.rows().collect::<Vec<_>>(), expected, "{range:?}");
        }
    }
}
