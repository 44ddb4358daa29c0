//! Random rotation, scale, shear, shift and perspective of an image and its boxes.

use rand::Rng;
use yolo_eval::Xyxy;

use super::polygon::{bounds_inside, resample};
use super::warp::{Matrix, warp_affine, warp_perspective};
use super::{Augmentation, LabelledImage, Object, symmetric};
use crate::image::RgbImage;

const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Points that an outline is resampled to before it is warped.
const OUTLINE_POINTS: usize = 1000;

/// Both sides of a box must exceed this, in pixels.
const MIN_SIDE: f32 = 2.0;
/// Minimum fraction of a box's area that must be left; lower for outlines, which give tighter boxes.
const MIN_AREA: f32 = 0.10;
const MIN_AREA_OUTLINED: f32 = 0.01;
/// Upper limit of the longer side over the shorter.
const MAX_ASPECT: f32 = 100.0;

/// The parameters of one warp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarpParams {
    /// Perspective terms along x and y, per pixel from the centre.
    pub perspective: [f64; 2],
    /// Rotation about the centre in degrees, anticlockwise as seen on the screen.
    pub degrees: f64,
    /// Scale about the centre.
    pub scale: f64,
    /// Shear of x by y and of y by x, in degrees.
    pub shear: [f64; 2],
    /// Where the centre of the input goes, as fractions of the output's width and height.
    pub centre: [f64; 2],
}

impl WarpParams {
    /// No change except the crop to the middle.
    pub const NONE: Self =
        Self { perspective: [0.0; 2], degrees: 0.0, scale: 1.0, shear: [0.0; 2], centre: [0.5; 2] };

    /// Draws perspective x and y, angle, scale, shear x and y, shift x and y: always eight numbers.
    pub fn draw(augmentation: &Augmentation, rng: &mut impl Rng) -> Self {
        let a = augmentation;
        Self {
            perspective: [symmetric(a.perspective, rng), symmetric(a.perspective, rng)],
            degrees: symmetric(a.degrees, rng),
            scale: 1.0 + symmetric(a.scale, rng),
            shear: [symmetric(a.shear, rng), symmetric(a.shear, rng)],
            centre: [0.5 + symmetric(a.translate, rng), 0.5 + symmetric(a.translate, rng)],
        }
    }

    /// The map from pixels of an input to pixels of an output, both sizes as `(width, height)`: move the centre
    /// to the origin, perspective, rotation and scale, shear, move to the centre of the output and shift.
    pub fn matrix(&self, input: (u32, u32), output: (u32, u32)) -> Matrix {
        let [half_w, half_h] = [input.0, input.1].map(|side| f64::from(side) / 2.0);
        let centred = [[1.0, 0.0, -half_w], [0.0, 1.0, -half_h], [0.0, 0.0, 1.0]];
        let [px, py] = self.perspective;
        let perspective = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [px, py, 1.0]];
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (sin, cos) = (self.scale * sin, self.scale * cos);
        let rotation = [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]];
        let [shear_x, shear_y] = self.shear.map(|degrees| degrees.to_radians().tan());
        let shear = [[1.0, shear_x, 0.0], [shear_y, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let (x, y) = (self.centre[0] * f64::from(output.0), self.centre[1] * f64::from(output.1));
        let shift = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
        [shear, rotation, perspective, centred].iter().fold(shift, product)
    }
}

/// Warps `sample` to an output of `size` = `(width, height)` pixels, and keeps its objects as
/// clipped boxes around their warped corners or outlines, if [`is_candidate`].
///
/// Outlines are warped with the image and not clipped. `memory` is reused for the new image; the memory of the old one
/// is returned for reuse.
pub fn random_perspective(
    sample: LabelledImage,
    params: &WarpParams,
    size: (u32, u32),
    memory: Vec<u8>,
) -> (LabelledImage, Vec<u8>) {
    let input = (sample.image.width, sample.image.height);
    let matrix = params.matrix(input, size);
    let objects =
        sample.objects.into_iter().filter_map(|o| warp_object(o, &matrix, params.scale, size)).collect();
    if matrix == IDENTITY && input == size {
        return (LabelledImage { image: sample.image, objects }, memory);
    }
    let mut image = RgbImage { pixels: memory, ..RgbImage::default() };
    if params.perspective == [0.0; 2] {
        warp_affine(&sample.image, &matrix, size, &mut image);
    } else {
        warp_perspective(&sample.image, &matrix, size, &mut image);
    }
    (LabelledImage { image, objects }, sample.image.pixels)
}

/// Whether enough of a box is left after a warp to train on it: `before` is the box before the warp, already multiplied
/// by its scale, `after` the clipped box, and `min_area` the minimum fraction of the area that must be left.
pub fn is_candidate(before: Xyxy, after: Xyxy, min_area: f32) -> bool {
    const EPSILON: f32 = 1e-16;
    let (w, h) = (after.x2 - after.x1, after.y2 - after.y1);
    let aspect = (w / (h + EPSILON)).max(h / (w + EPSILON));
    w > MIN_SIDE && h > MIN_SIDE && w * h / (before.area() + EPSILON) > min_area && aspect < MAX_ASPECT
}

/// `object` after the warp; `None` if too little is left.
fn warp_object(mut object: Object, matrix: &Matrix, scale: f64, size: (u32, u32)) -> Option<Object> {
    let (width, height) = (size.0 as f32, size.1 as f32);
    let b = object.bbox_px;
    let outlined = !object.polygon_px.is_empty();
    let after = if outlined {
        let points = resample(&object.polygon_px, OUTLINE_POINTS);
        bounds_inside(points.into_iter().map(|p| transform(matrix, p)), width, height)
    } else {
        let corners = [[b.x1, b.y1], [b.x2, b.y2], [b.x1, b.y2], [b.x2, b.y1]].map(|p| transform(matrix, p));
        let over = |axis: usize, pick: fn(f32, f32) -> f32, from: f32| {
            corners.iter().map(|c| c[axis]).fold(from, pick)
        };
        Xyxy {
            x1: over(0, f32::min, f32::INFINITY),
            y1: over(1, f32::min, f32::INFINITY),
            x2: over(0, f32::max, f32::NEG_INFINITY),
            y2: over(1, f32::max, f32::NEG_INFINITY),
        }
        .clip(width, height)
    };
    let scale = scale as f32;
    let before = b.scaled(scale, scale);
    let min_area = if outlined { MIN_AREA_OUTLINED } else { MIN_AREA };
    if !is_candidate(before, after, min_area) {
        return None;
    }
    object.bbox_px = after;
    for point in &mut object.polygon_px {
        *point = transform(matrix, *point);
    }
    Some(object)
}

/// A point after the map, with the division of homogeneous coordinates.
fn transform(m: &Matrix, [x, y]: [f32; 2]) -> [f32; 2] {
    let (x, y) = (f64::from(x), f64::from(y));
    let [u, v, w] = m.map(|row| row[0] * x + row[1] * y + row[2]);
    [(u / w) as f32, (v / w) as f32]
}

/// `a · b`.
fn product(a: Matrix, b: &Matrix) -> Matrix {
    a.map(|row| std::array::from_fn(|j| (0..3).map(|k| row[k] * b[k][j]).sum()))
}
