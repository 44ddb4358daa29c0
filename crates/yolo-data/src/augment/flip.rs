//! Mirroring, left to right and upside down.

use yolo_eval::Xyxy;

use super::{LabelledImage, Object};

/// Mirrors `sample` left to right: x becomes width − x.
pub fn flip_left_right(sample: &mut LabelledImage) {
    let width = sample.image.width as usize;
    if width > 0 {
        for row in sample.image.pixels.chunks_exact_mut(width * 3) {
            row.as_chunks_mut::<3>().0.reverse();
        }
    }
    for object in &mut sample.objects {
        mirror_object(object, width as f32);
    }
}

/// Flips `sample` upside down: y becomes height − y.
pub fn flip_upside_down(sample: &mut LabelledImage) {
    let (stride, height) = (sample.image.width as usize * 3, sample.image.height as usize);
    let (upper, lower) = sample.image.pixels.split_at_mut(stride * (height / 2));
    if stride > 0 {
        // The middle row of an odd number stays: `zip` ends before it.
        let from_below = lower.chunks_exact_mut(stride).rev();
        for (a, b) in upper.chunks_exact_mut(stride).zip(from_below) {
            a.swap_with_slice(b);
        }
    }
    let height = height as f32;
    for object in &mut sample.objects {
        let b = object.bbox_px;
        object.bbox_px = Xyxy { y1: height - b.y2, y2: height - b.y1, ..b };
        for [_, y] in &mut object.polygon_px {
            *y = height - *y;
        }
    }
}

/// Mirrors an object of an image that is `width` pixels wide.
pub(super) fn mirror_object(object: &mut Object, width: f32) {
    let b = object.bbox_px;
    object.bbox_px = Xyxy { x1: width - b.x2, x2: width - b.x1, ..b };
    for [x, _] in &mut object.polygon_px {
        *x = width - *x;
    }
}
