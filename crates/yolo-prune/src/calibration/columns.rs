//! Samples of what a convolution's kernel sees: the columns of im2col at some positions of its output.

use rayon::prelude::*;
use yolo_model::architecture::ConvSpec;

/// Rows `[channels · taps]` × columns `[positions]`, row-major: row `c · taps + t` holds what tap `t` of input
/// channel `c` sees. A row's index is that of the weight in a kernel of PyTorch's layout `[in, kh, kw]`.
pub(crate) struct Columns {
    /// Row-major values.
    pub(crate) values: Vec<f32>,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Number of columns.
    pub(crate) positions: usize,
}

/// Indices `y · width + x` of at most `count` of the positions of an output of `[height, width]`, spread evenly;
/// `salt` shifts them, so that images do not all show the same places.
pub(crate) fn sample_positions(size: [usize; 2], count: usize, salt: usize) -> Vec<usize> {
    let all = size[0] * size[1];
    if count >= all {
        return (0..all).collect();
    }
    // A fraction of the golden ratio's is never near a fraction with a small denominator, so the shift of one
    // image after the other fills the gaps between positions.
    let step = all as f64 / count as f64;
    let shift = (salt as f64 * 0.618_033_988_749_894_9).fract();
    (0..count).map(|i| (((i as f64 + shift) * step) as usize).min(all - 1)).collect()
}

/// The columns of one image `[C, H, W]` at `positions` of the output of `spec`.
pub(crate) fn columns(image: &[f32], size: [usize; 2], spec: &ConvSpec, positions: &[usize]) -> Columns {
    let [height, width] = size;
    let [kernel_height, kernel_width] = spec.kernel;
    let taps = kernel_height * kernel_width;
    let out_width = spec.output_size(size)[1];
    let rows = spec.in_channels * taps;
    let mut values = vec![0.0; rows * positions.len()];
    let corners: Vec<[isize; 2]> = positions
        .iter()
        .map(|position| {
            let corner = |index: usize, axis: usize| {
                (index * spec.stride[axis]) as isize - spec.padding[axis] as isize
            };
            [corner(position / out_width, 0), corner(position % out_width, 1)]
        })
        .collect();
    let fill = |(row, out): (usize, &mut [f32])| {
        let (channel, tap) = (row / taps, row % taps);
        let plane = &image[channel * height * width..][..height * width];
        let dy = (tap / kernel_width * spec.dilation[0]) as isize;
        let dx = (tap % kernel_width * spec.dilation[1]) as isize;
        for (value, [top, left]) in out.iter_mut().zip(&corners) {
            let (y, x) = (top + dy, left + dx);
            let is_inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
            *value = if is_inside { plane[y as usize * width + x as usize] } else { 0.0 };
        }
    };
    values.par_chunks_mut(positions.len().max(1)).enumerate().for_each(fill);
    Columns { values, rows, positions: positions.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_what_the_kernel_sees() {
        // 2 channels of 3×4, kernel 3×3, stride 2, padding 1: output 2×2.
        let image: Vec<f32> = (1..=24).map(|v| v as f32).collect();
        let spec = ConvSpec::new(2, 1, 3, 2);
        let columns = columns(&image, [3, 4], &spec, &[0, 3]);
        assert_eq!((columns.rows, columns.positions), (18, 2));
        let column = |p: usize| (0..18).map(|row| columns.values[row * 2 + p]).collect::<Vec<f32>>();
        let first = [0., 0., 0., 0., 1., 2., 0., 5., 6., 0., 0., 0., 0., 13., 14., 0., 17., 18.];
        assert_eq!(column(0), first);
        let last = [6., 7., 8., 10., 11., 12., 0., 0., 0., 18., 19., 20., 22., 23., 24., 0., 0., 0.];
        assert_eq!(column(1), last);
    }

    #[test]
    fn positions_are_distinct_sorted_and_spread() {
        for (count, salt) in [(5, 0), (17, 3), (100, 1), (400, 2), (1000, 9)] {
            let positions = sample_positions([20, 20], count, salt);
            assert_eq!(positions.len(), count.min(400));
            assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(positions.iter().all(|&p| p < 400));
        }
        assert_ne!(sample_positions([20, 20], 5, 0), sample_positions([20, 20], 5, 1));
    }
}
