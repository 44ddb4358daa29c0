//! Rectangular batches: images of similar shape share a batch, so that little of it is border.

mod argsort;

use argsort::numpy_argsort;

/// How images are put into batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchOptions {
    /// Longer side of a loaded image, in pixels.
    pub image_size: u32,
    /// Images per batch; 0 counts as 1.
    pub batch_size: usize,
    /// Height and width of a batch are multiples of this; 0 counts as 1.
    pub stride: u32,
    /// Border, in strides, that is added before rounding up: 0.5 in validation, 0 in training.
    pub pad: f64,
    /// Whether batches take the shape of their images; otherwise all are `image_size` square, in the given order.
    pub rect: bool,
}

/// One batch to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Which images, in order.
    pub indices: Vec<usize>,
    /// Height of the network input in pixels.
    pub height: usize,
    /// Width of the network input in pixels.
    pub width: usize,
}

/// Splits images of the given original `sizes` (`(width, height)`, upright, no side 0) into batches.
///
/// With `rect`, images are first sorted by height over width. Many images share a ratio. Which of them share a batch
/// decides their borders, and with it the third decimal of the metrics; so equal ratios stay in the order in which the
/// reference's sort leaves them. The last batch may be smaller. No images give no batches.
pub fn plan_batches(sizes: &[(u32, u32)], options: &BatchOptions) -> Vec<BatchPlan> {
    let aspect: Vec<f64> = sizes.iter().map(|&(w, h)| f64::from(h) / f64::from(w)).collect();
    let order = if options.rect { numpy_argsort(&aspect) } else { (0..sizes.len()).collect() };
    let batches = order.chunks(options.batch_size.max(1));
    batches
        .map(|indices| {
            let (height, width) = if options.rect {
                // Sorted, so the extremes are at the ends.
                let (first, last) = (indices[0], indices[indices.len() - 1]);
                batch_shape(aspect[first], aspect[last], options)
            } else {
                (options.image_size as usize, options.image_size as usize)
            };
            BatchPlan { indices: indices.to_vec(), height, width }
        })
        .collect()
}

/// `(height, width)` of a batch whose images have aspects (h/w) from `min` to `max`.
fn batch_shape(min: f64, max: f64, options: &BatchOptions) -> (usize, usize) {
    let (height, width) = if max < 1.0 {
        (max, 1.0)
    } else if min > 1.0 {
        (1.0, 1.0 / min)
    } else {
        (1.0, 1.0)
    };
    let stride = options.stride.max(1);
    let side = |fraction: f64| {
        let strides = (fraction * f64::from(options.image_size) / f64::from(stride) + options.pad).ceil();
        (strides as usize).max(1) * stride as usize
    };
    (side(height), side(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(batch_size: usize) -> BatchOptions {
        BatchOptions { image_size: 640, batch_size, stride: 32, pad: 0.5, rect: true }
    }

    #[test]
    fn batches_are_sorted_by_aspect_and_ties_keep_their_order() {
        let sizes = [(480, 640), (640, 480), (640, 427), (320, 240), (640, 640)];
        let plans = plan_batches(&sizes, &options(2));
        let indices: Vec<_> = plans.iter().map(|p| p.indices.clone()).collect();
        assert_eq!(indices, [vec![2, 1], vec![3, 4], vec![0]]);
        // The tallest of each batch sets its shape; the long side has half a stride of border: 672, not 640.
        let shapes: Vec<_> = plans.iter().map(|p| (p.height, p.width)).collect();
        assert_eq!(shapes, [(512, 672), (672, 672), (672, 512)]);
    }

    #[test]
    fn without_rect_batches_are_square_and_in_order() {
        let sizes = [(480, 640), (640, 480), (640, 427)];
        let plans = plan_batches(&sizes, &BatchOptions { rect: false, pad: 0.0, ..options(2) });
        assert_eq!(
            plans,
            [
                BatchPlan { indices: vec![0, 1], height: 640, width: 640 },
                BatchPlan { indices: vec![2], height: 640, width: 640 }
            ]
        );
    }

    #[test]
    fn training_batches_have_no_border() {
        let plans = plan_batches(&[(640, 480)], &BatchOptions { pad: 0.0, ..options(1) });
        assert_eq!((plans[0].height, plans[0].width), (480, 640));
    }

    #[test]
    fn no_images_give_no_batches() {
        assert_eq!(plan_batches(&[], &options(16)), []);
    }
}
