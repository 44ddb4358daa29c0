//! Textured grounds: a gradient, value noise at three scales, and marks that belong to no class.

use rand::Rng;

use super::shape::{norm, segment_distance_squared};

/// Cell of each noise in pixels, and its largest amplitude in steps of the colour (0 to 255).
const NOISES: [(f32, f32); 3] = [(61.0, 30.0), (17.0, 18.0), (5.0, 10.0)];

/// An image of real colours, `[height, width]` pixels of R, G, B in 0 to 255, rows from top to bottom.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub(super) size: usize,
    pub(super) pixels: Vec<[f32; 3]>,
}

impl Canvas {
    /// A square ground with everything but objects.
    pub(super) fn ground(size: usize, rng: &mut impl Rng) -> Self {
        let mut canvas = Self { size, pixels: vec![[0.0; 3]; size * size] };
        canvas.gradient(rng);
        for (cell, amplitude) in NOISES {
            canvas.noise(cell, amplitude * rng.random_range(0.3..1.0), rng);
        }
        for _ in 0..rng.random_range(0..4u32) {
            canvas.blob(rng);
        }
        for _ in 0..rng.random_range(0..4u32) {
            canvas.line(rng);
        }
        canvas
    }

    /// The colours as bytes, row after row.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.pixels.as_flattened().iter().map(|value| (value.clamp(0.0, 255.0) + 0.5) as u8).collect()
    }

    /// Blends `colour` into the pixel of row `y` and column `x`; a `share` of 1 replaces the pixel.
    pub(super) fn mix(&mut self, [x, y]: [usize; 2], colour: [f32; 3], share: f32) {
        let pixel = &mut self.pixels[y * self.size + x];
        for (value, new) in pixel.iter_mut().zip(colour) {
            *value += (new - *value) * share;
        }
    }

    fn gradient(&mut self, rng: &mut impl Rng) {
        let from: [f32; 3] = std::array::from_fn(|_| rng.random_range(40.0..215.0));
        let to = from.map(|value: f32| value + rng.random_range(-45.0..45.0));
        let [dx, dy] = direction(rng);
        let size = self.size as f32;
        self.each(|[x, y], pixel| {
            // From 0 in one corner or side of the image to 1 in the opposite one.
            let along = 0.5 + ((x / size - 0.5) * dx + (y / size - 0.5) * dy) / (dx.abs() + dy.abs());
            *pixel = std::array::from_fn(|c| from[c] + (to[c] - from[c]) * along);
        });
    }

    /// Adds random values at the corners of cells, smoothly interpolated between them, mostly the same to all channels.
    fn noise(&mut self, cell: f32, amplitude: f32, rng: &mut impl Rng) {
        let tint: [f32; 3] = std::array::from_fn(|_| rng.random_range(0.5..1.0));
        let n = (self.size as f32 / cell) as usize + 2;
        let corners: Vec<f32> = (0..n * n).map(|_| rng.random_range(-amplitude..amplitude)).collect();
        self.each(|[x, y], pixel| {
            let (column, tx) = cell_and_share(x / cell);
            let (row, ty) = cell_and_share(y / cell);
            let [upper, lower] = [row, row + 1].map(|row| {
                let (left, right) = (corners[row * n + column], corners[row * n + column + 1]);
                left + (right - left) * tx
            });
            let value = upper + (lower - upper) * ty;
            *pixel = std::array::from_fn(|c| pixel[c] + value * tint[c]);
        });
    }

    /// A spot without an edge.
    fn blob(&mut self, rng: &mut impl Rng) {
        let size = self.size as f32;
        let centre: [f32; 2] = std::array::from_fn(|_| rng.random_range(0.0..size));
        let radius = rng.random_range(size / 16.0..size / 4.0);
        let shift = colour_shift(rng);
        self.each(|[x, y], pixel| {
            let distance = norm([x - centre[0], y - centre[1]]) / radius;
            if distance < 1.0 {
                let share = (1.0 - distance * distance) * (1.0 - distance * distance);
                *pixel = std::array::from_fn(|c| pixel[c] + shift[c] * share);
            }
        });
    }

    /// A thin line from one place to another.
    fn line(&mut self, rng: &mut impl Rng) {
        let size = self.size as f32;
        let [from, to]: [[f32; 2]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(-0.2 * size..1.2 * size)));
        let half_width = rng.random_range(0.4..1.3f32);
        let shift = colour_shift(rng);
        self.each(|point, pixel| {
            let squared = segment_distance_squared(point, from, to);
            if squared < (half_width + 0.5) * (half_width + 0.5) {
                let share = (half_width + 0.5 - squared.sqrt()).clamp(0.0, 1.0);
                *pixel = std::array::from_fn(|c| pixel[c] + shift[c] * share);
            }
        });
    }

    /// Runs `change` on every pixel with the position of its centre.
    fn each(&mut self, mut change: impl FnMut([f32; 2], &mut [f32; 3])) {
        for (y, row) in self.pixels.chunks_exact_mut(self.size).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                change([x as f32 + 0.5, y as f32 + 0.5], pixel);
            }
        }
    }
}

/// A direction, all equally likely: a point of the disc, moved onto the circle. Without sine and cosine, whose
/// last bits depend on the system's library.
pub(super) fn direction(rng: &mut impl Rng) -> [f32; 2] {
    loop {
        let [x, y]: [f32; 2] = std::array::from_fn(|_| rng.random_range(-1.0..1.0f32));
        let length = norm([x, y]);
        if (0.1..=1.0).contains(&length) {
            return [x / length, y / length];
        }
    }
}

/// The cell that `position` (not negative) is in, and the smooth share of its right or lower neighbour.
fn cell_and_share(position: f32) -> (usize, f32) {
    let cell = position as usize;
    let t = position - cell as f32;
    (cell, t * t * (3.0 - 2.0 * t))
}

fn colour_shift(rng: &mut impl Rng) -> [f32; 3] {
    std::array::from_fn(|_| rng.random_range(-50.0..50.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn directions_have_length_one_and_go_everywhere() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut quadrants = [0; 4];
        for _ in 0..400 {
            let [x, y] = direction(&mut rng);
            assert!((norm([x, y]) - 1.0).abs() < 1e-6);
            quadrants[usize::from(x > 0.0) + 2 * usize::from(y > 0.0)] += 1;
        }
        assert!(quadrants.iter().all(|&n| n > 60), "{quadrants:?}");
    }

    #[test]
    fn noise_is_as_strong_as_asked_and_has_no_steps() {
        let mut canvas = Canvas { size: 100, pixels: vec![[100.0; 3]; 100 * 100] };
        canvas.noise(17.0, 20.0, &mut StdRng::seed_from_u64(2));
        let red = |x: usize, y: usize| canvas.pixels[y * 100 + x][0];
        assert!(canvas.pixels.iter().all(|p| (80.0..=120.0).contains(&p[0])));
        let range = (0..100).map(|i| red(i, i)).fold(0f32, |most, v| most.max((v - 100.0).abs()));
        assert!(range > 5.0, "{range}");
        for i in 1..100 {
            // The steepest slope is 1.5 times the difference of two corners over a cell.
            assert!((red(i, 30) - red(i - 1, 30)).abs() < 1.5 * 40.0 / 17.0 + 0.1);
            assert!((red(30, i) - red(30, i - 1)).abs() < 1.5 * 40.0 / 17.0 + 0.1);
        }
    }
}
