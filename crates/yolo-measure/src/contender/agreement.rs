//! Whether a peer computes what we compute: a graph that was exported wrongly must not be timed.

/// Pixels by which a coordinate may differ, besides [`BOX_SHARE`]: near 0 a coordinate is the difference of larger ones.
const BOX_PIXELS: f32 = 0.05;
/// Share of a coordinate by which it may differ.
const BOX_SHARE: f32 = 1e-3;
/// What a score may differ by, besides [`SCORE_SHARE`].
const SCORE: f32 = 1e-6;
/// Share of a score by which it may differ. Scores of noise are tiny, where a sigmoid turns what its logit differs by into
/// a share of the score.
const SCORE_SHARE: f32 = 1e-2;

/// What a peer computes: images, then rows and numbers per row in either order.
pub(super) struct Output {
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<f32>,
}

impl Output {
    /// As our rows: centre x, centre y, width, height, and a score per class.
    ///
    /// # Errors
    ///
    /// The shape is neither that of such rows, nor with objectness before the classes, nor with rows and numbers swapped.
    fn rows(&self, [images, rows, width]: [usize; 3]) -> Result<Vec<f32>, Disagreement> {
        let values = &self.values;
        match self.shape {
            shape if shape == [images, rows, width] => Ok(values.clone()),
            shape if shape == [images, rows, width + 1] => {
                let merged = |row: &[f32]| {
                    let scores: Vec<f32> = row[5..].iter().map(|class| row[4] * class).collect();
                    [&row[..4], &scores].concat()
                };
                Ok(values.chunks_exact(width + 1).flat_map(merged).collect())
            }
            shape if shape == [images, width, rows] => {
                let at = |image: usize, row: usize, number: usize| (image * width + number) * rows + row;
                let row = |image, row| (0..width).map(move |number| at(image, row, number));
                let indices = (0..images).flat_map(|image| (0..rows).flat_map(move |r| row(image, r)));
                Ok(indices.map(|index| values[index]).collect())
            }
            found => Err(Disagreement::Shape { found, expected: [images, rows, width + 1] }),
        }
    }
}

/// Why a peer is not one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disagreement {
    /// Its output has another shape.
    #[error("its output is {found:?}, where {expected:?} is expected")]
    Shape { found: [usize; 3], expected: [usize; 3] },
    /// A number that two implementations of one network would not differ by.
    #[error(
        "it computes another network: image {image}, row {row}, number {number} is {their}, and {our} here; export the \
         network again"
    )]
    Number { image: usize, row: usize, number: usize, their: f32, our: f32 },
}

/// The largest differences between two networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Of coordinates, in pixels.
    pub pixels: f32,
    /// Of scores.
    pub score: f32,
}

/// Compares `theirs` with `ours`, images of rows of numbers in the given `shape`.
///
/// # Errors
///
/// They differ by more than two implementations of one network do.
pub(super) fn compare(ours: &[f32], shape: [usize; 3], theirs: &Output) -> Result<Agreement, Disagreement> {
    let [_, rows, width] = shape;
    let theirs = theirs.rows(shape)?;
    let mut agreement = Agreement { pixels: 0.0, score: 0.0 };
    for (index, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        let is_box = index % width < 4;
        let (floor, share) = if is_box { (BOX_PIXELS, BOX_SHARE) } else { (SCORE, SCORE_SHARE) };
        let difference = (our - their).abs();
        // A NaN on either side is a difference as well.
        let is_close = difference <= floor + share * our.abs();
        if !is_close {
            let (image, row, number) = (index / width / rows, index / width % rows, index % width);
            return Err(Disagreement::Number { image, row, number, their: *their, our: *our });
        }
        let largest = if is_box { &mut agreement.pixels } else { &mut agreement.score };
        *largest = largest.max(difference);
    }
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two rows with two classes.
    const OURS: [f32; 12] = [10.0, 20.0, 4.0, 8.0, 0.5, 0.125, 30.0, 40.0, 5.0, 9.0, 0.25, 0.75];
    const SHAPE: [usize; 3] = [1, 2, 6];

    fn output(shape: [usize; 3], values: &[f32]) -> Output {
        Output { shape, values: values.to_vec() }
    }

    #[test]
    fn rows_are_read_with_objectness_without_it_and_transposed() {
        let plain = output(SHAPE, &OURS);
        let objectness =
            output([1, 2, 7], &[10.0, 20.0, 4.0, 8.0, 0.5, 1.0, 0.25, 30.0, 40.0, 5.0, 9.0, 1.0, 0.25, 0.75]);
        let transposed =
            output([1, 6, 2], &[10.0, 30.0, 20.0, 40.0, 4.0, 5.0, 8.0, 9.0, 0.5, 0.25, 0.125, 0.75]);
        for theirs in [plain, objectness, transposed] {
            let agreement = compare(&OURS, SHAPE, &theirs).unwrap();
            assert_eq!(agreement, Agreement { pixels: 0.0, score: 0.0 }, "{:?}", theirs.shape);
        }
        let error = compare(&OURS, SHAPE, &output([1, 3, 4], &OURS)).unwrap_err().to_string();
        assert!(error.contains("[1, 3, 4]"), "{error}");
    }

    #[test]
    fn rounding_is_measured_and_another_number_refused() {
        let with = |index: usize, value: f32| {
            let mut values = OURS;
            values[index] = value;
            compare(&OURS, SHAPE, &output(SHAPE, &values))
        };
        assert!((with(6, 30.03).unwrap().pixels - 0.03).abs() < 1e-5);
        assert!((with(4, 0.501).unwrap().score - 0.001).abs() < 1e-6);
        for (index, value) in [(7, 40.2), (10, 0.26), (0, f32::NAN), (11, f32::INFINITY)] {
            let error = with(index, value).unwrap_err().to_string();
            let place = format!("row {}, number {} is {value}", index / 6, index % 6);
            assert!(error.contains(&place), "{error}");
        }
    }
}
