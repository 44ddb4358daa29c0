//! One image: shapes placed on a ground, drawn with smooth edges, and the visible part of each.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::DemoOptions;
use super::ground::{Canvas, direction};
use super::shape::Shape;
use crate::dataset::Split;
use crate::image::RgbImage;

/// Every image whose index leaves `BACKGROUND_PERIOD - 1` when divided by this has no objects.
const BACKGROUND_PERIOD: u32 = 16;
/// Most objects in an image.
const MAX_OBJECTS: u32 = 6;
/// Diameter in pixels of the circle around the smallest shapes; the largest are half as wide as the image.
const MIN_DIAMETER: f32 = 14.0;
/// Largest fraction of an object that later ones may hide.
const MAX_HIDDEN: f32 = 0.3;
/// Number of places that are tried for an object before it is left out.
const MAX_PLACES: u32 = 20;
/// Number of colours that are tried before the one with most contrast is used.
const MAX_COLOURS: u32 = 40;
/// Contrast (see [`contrast`]) that a colour should have with the ground and with the other objects.
const MIN_CONTRAST: f32 = 85.0;
/// The index for pixels of the ground, which show no object.
const NO_OBJECT: u8 = u8::MAX;

/// An image and its objects.
pub(super) struct Scene {
    pub(super) image: RgbImage,
    /// In the order they were drawn.
    pub(super) objects: Vec<Object>,
}

/// The visible part of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) class: u32,
    /// First column, first row, and the column and row after the last, in pixels.
    pub(super) edges: [u32; 4],
    /// Visible pixels.
    pub(super) area: u32,
}

impl Scene {
    /// Draws image `index` of `split`.
    pub(super) fn draw(options: &DemoOptions, split: Split, index: u32) -> Self {
        let drawing = Drawing::draw(options, split, index);
        let image = RgbImage {
            width: options.image_size,
            height: options.image_size,
            pixels: drawing.canvas.to_bytes(),
        };
        Self { image, objects: drawing.objects() }
    }
}

/// A separate generator for every image, so that an image does not depend on the number of others.
fn image_rng(seed: u64, split: Split, index: u32) -> StdRng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&index.to_le_bytes());
    key[12] = match split {
        Split::Train => 0,
        Split::Val => 1,
        Split::Test => 2,
    };
    StdRng::from_seed(key)
}

/// An image that is being drawn.
struct Drawing {
    canvas: Canvas,
    /// For each pixel the index of the object on top, or [`NO_OBJECT`].
    top_objects: Vec<u8>,
    placed: Vec<Placed>,
}

struct Placed {
    shape: Shape,
    colour: [f32; 3],
    /// Pixels of the whole shape, hidden or not.
    full_area: u32,
}

/// Position, size and orientation of a shape.
struct Pose {
    centre: [f32; 2],
    radius: f32,
    /// Cosine and sine of the rotation.
    turn: [f32; 2],
    /// Height over width before the rotation, 0.8 to 1.
    squeeze: f32,
}

/// The part of a shape in one pixel.
struct Covered {
    pixel: [usize; 2],
    /// Share of the pixel that is covered, above 0.
    share: f32,
    /// Position across the shape, −1 to 1, for shading.
    height: f32,
}

impl Covered {
    /// A pixel belongs to a shape if at least half of it is covered.
    fn is_inside(&self) -> bool {
        self.share >= 0.5
    }
}

impl Drawing {
    fn draw(options: &DemoOptions, split: Split, index: u32) -> Self {
        let mut rng = image_rng(options.seed, split, index);
        let size = options.image_size as usize;
        let mut drawing = Drawing {
            canvas: Canvas::ground(size, &mut rng),
            top_objects: vec![NO_OBJECT; size * size],
            placed: vec![],
        };
        if index % BACKGROUND_PERIOD != BACKGROUND_PERIOD - 1 {
            for _ in 0..rng.random_range(1..=MAX_OBJECTS) {
                drawing.add_object(&mut rng);
            }
        }
        drawing
    }

    fn add_object(&mut self, rng: &mut impl Rng) {
        let shape = Shape::ALL[rng.random_range(0..Shape::ALL.len() as u32) as usize];
        let radius = log_uniform(MIN_DIAMETER, self.canvas.size as f32 / 2.0, rng) / 2.0;
        for _ in 0..MAX_PLACES {
            let pose = Pose::random(self.canvas.size, radius, rng);
            let covered = pose.cover(shape, self.canvas.size);
            if self.is_free(&covered) {
                return self.paint(shape, &covered, rng);
            }
        }
    }

    /// Whether enough stays visible of every object.
    fn is_free(&self, covered: &[Covered]) -> bool {
        let mut visible = vec![0u32; self.placed.len()];
        self.top_objects.iter().filter(|&&top| top != NO_OBJECT).for_each(|&top| visible[top as usize] += 1);
        for c in covered.iter().filter(|c| c.is_inside()) {
            if let Some(count) = visible.get_mut(self.top_objects[self.position(c.pixel)] as usize) {
                *count -= 1;
            }
        }
        let enough = |placed: &Placed| placed.full_area as f32 * (1.0 - MAX_HIDDEN);
        self.placed.iter().zip(visible).all(|(placed, visible)| visible as f32 >= enough(placed))
    }

    fn paint(&mut self, shape: Shape, covered: &[Covered], rng: &mut impl Rng) {
        let colour = self.colour(covered, rng);
        let shading = rng.random_range(-20.0..20.0f32);
        let index = self.placed.len() as u8;
        let mut full_area = 0;
        for c in covered {
            self.canvas.mix(c.pixel, colour.map(|value| value + shading * c.height), c.share);
            if c.is_inside() {
                let position = self.position(c.pixel);
                self.top_objects[position] = index;
                full_area += 1;
            }
        }
        self.placed.push(Placed { shape, colour, full_area });
    }

    /// A colour with enough contrast to the pixels below and to the other objects, or the best of those that were
    /// tried.
    fn colour(&self, covered: &[Covered], rng: &mut impl Rng) -> [f32; 3] {
        let below = self.mean_below(covered);
        let mut best = ([0.0; 3], f32::NEG_INFINITY);
        for _ in 0..MAX_COLOURS {
            let colour: [f32; 3] = std::array::from_fn(|_| rng.random_range(15.0..240.0));
            let others = self.placed.iter().map(|placed| 1.5 * contrast(placed.colour, colour));
            let least = others.fold(contrast(below, colour), f32::min);
            if least > best.1 {
                best = (colour, least);
            }
            if least >= MIN_CONTRAST {
                break;
            }
        }
        best.0
    }

    fn mean_below(&self, covered: &[Covered]) -> [f32; 3] {
        let mut sum = [0.0; 3];
        for c in covered {
            let pixel = self.canvas.pixels[self.position(c.pixel)];
            sum = std::array::from_fn(|channel| sum[channel] + pixel[channel]);
        }
        sum.map(|channel| channel / covered.len().max(1) as f32)
    }

    fn position(&self, [x, y]: [usize; 2]) -> usize {
        y * self.canvas.size + x
    }

    fn objects(&self) -> Vec<Object> {
        let class = |shape: Shape| Shape::ALL.iter().position(|s| *s == shape).unwrap_or_default() as u32;
        let invisible = |placed: &Placed| Object {
            class: class(placed.shape),
            edges: [u32::MAX, u32::MAX, 0, 0],
            area: 0,
        };
        let mut objects: Vec<Object> = self.placed.iter().map(invisible).collect();
        for (position, &top) in self.top_objects.iter().enumerate() {
            let Some(object) = objects.get_mut(top as usize) else { continue };
            let (x, y) = ((position % self.canvas.size) as u32, (position / self.canvas.size) as u32);
            let [left, top, right, bottom] = object.edges;
            object.edges = [left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)];
            object.area += 1;
        }
        objects
    }
}

impl Pose {
    /// A place where the shape is inside the image.
    fn random(size: usize, radius: f32, rng: &mut impl Rng) -> Self {
        let centre = std::array::from_fn(|_| rng.random_range(radius..=size as f32 - radius));
        Self { centre, radius, turn: direction(rng), squeeze: rng.random_range(0.8..1.0) }
    }

    /// The pixels of the shape, in rows.
    fn cover(&self, shape: Shape, size: usize) -> Vec<Covered> {
        let [columns, rows] = self.centre.map(|centre| {
            let first = (centre - self.radius - 1.0).max(0.0) as usize;
            first..((centre + self.radius + 2.0) as usize).min(size)
        });
        let pixels = rows.flat_map(|y| columns.clone().map(move |x| [x, y]));
        pixels.filter_map(|pixel| self.covered(shape, pixel)).collect()
    }

    fn covered(&self, shape: Shape, [column, row]: [usize; 2]) -> Option<Covered> {
        let (x, y) = (column as f32 + 0.5 - self.centre[0], row as f32 + 0.5 - self.centre[1]);
        let [cos, sin] = self.turn;
        let unturned =
            [(cos * x + sin * y) / self.radius, (cos * y - sin * x) / (self.radius * self.squeeze)];
        // Exact without squeeze, otherwise a little too soft.
        let distance_px = shape.signed_distance(unturned) * self.radius * self.squeeze;
        let share = (0.5 - distance_px).clamp(0.0, 1.0);
        (share > 0.0).then(|| Covered { pixel: [column, row], share, height: y / self.radius })
    }
}

/// A number from `low` to `high`, its logarithm uniform: density 1/v, by rejection.
fn log_uniform(low: f32, high: f32, rng: &mut impl Rng) -> f32 {
    loop {
        let value = rng.random_range(low..=high);
        if rng.random_range(0.0..1.0f32) * value < low {
            return value;
        }
    }
}

/// How far two colours are apart, in steps of 0 to 255; half of it in brightness, which JPEG keeps best.
fn contrast(a: [f32; 3], b: [f32; 3]) -> f32 {
    let difference: [f32; 3] = std::array::from_fn(|c| a[c] - b[c]);
    let brightness = 0.3 * difference[0] + 0.6 * difference[1] + 0.1 * difference[2];
    brightness.abs() + difference.iter().map(|d| d.abs()).sum::<f32>() / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_three_tenths_of_an_object_are_hidden_and_some_are_hidden_at_all() {
        let mut n_hidden = 0;
        for index in 0..100 {
            let drawing = Drawing::draw(&DemoOptions::default(), Split::Train, index);
            for (placed, object) in drawing.placed.iter().zip(drawing.objects()) {
                let visible = object.area as f32 / placed.full_area as f32;
                assert!((0.699..=1.0).contains(&visible), "image {index}: {visible}");
                n_hidden += u32::from(visible < 1.0);
            }
        }
        assert!(n_hidden > 20, "{n_hidden}");
    }

    #[test]
    fn sizes_are_as_many_in_every_octave() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut octaves = [0; 3];
        for _ in 0..3000 {
            let size = log_uniform(16.0, 128.0, &mut rng);
            octaves[((size / 16.0).log2() as usize).min(2)] += 1;
        }
        assert!(octaves.iter().all(|n| (900..1100).contains(n)), "{octaves:?}");
    }

    #[test]
    fn a_turned_and_squeezed_square_covers_the_pixels_it_should() {
        // Turned by 90°: the squeezed axis is the horizontal one.
        let pose = Pose { centre: [20.0, 30.0], radius: 10.0, turn: [0.0, 1.0], squeeze: 0.8 };
        let inside = pose.cover(Shape::Square, 64).into_iter().filter(Covered::is_inside);
        let edges = inside.fold([usize::MAX, usize::MAX, 0, 0], |[l, t, r, b], c| {
            [l.min(c.pixel[0]), t.min(c.pixel[1]), r.max(c.pixel[0]), b.max(c.pixel[1])]
        });
        // Half the sides are 7.07 · 0.8 = 5.66 across and 7.07 down.
        assert_eq!(edges, [14, 23, 25, 36]);
    }

    #[test]
    fn objects_stand_out_from_what_they_cover() {
        let black_on_white = contrast([0.0; 3], [255.0; 3]);
        assert!((black_on_white - 510.0).abs() < 1e-3);
        assert!(contrast([0.0, 0.0, 200.0], [0.0; 3]) < contrast([0.0, 200.0, 0.0], [0.0; 3]));
        for index in 0..50 {
            let drawing = Drawing::draw(&DemoOptions::default(), Split::Train, index);
            for (i, a) in drawing.placed.iter().enumerate() {
                for b in &drawing.placed[..i] {
                    let found = contrast(a.colour, b.colour);
                    assert!(found > 0.4 * MIN_CONTRAST, "image {index}: {found}");
                }
            }
        }
    }
}
