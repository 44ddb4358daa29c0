//! Change of colour in 8-bit HSV, with the arithmetic of OpenCV's `cvtColor` in both directions.
//!
//! Hue is in steps of 2 degrees, `0..180`. The conversion to HSV is in 12-bit fixed point; the conversion back is in
//! `f32` with fused multiply-adds and truncates, as OpenCV's vector code does. Both equal its results for all 2²⁴
//! colours and all 180·2¹⁶ HSV triples.

use std::sync::LazyLock;

use rand::Rng;
use yolo_eval::Convention;

use super::{Augmentation, symmetric};
use crate::image::RgbImage;

/// Number of pixels that go through each step together, so that each step is a short loop.
const BLOCK: usize = 64;

/// Number of 8-bit hues.
const HUES: usize = 180;

/// Changes of hue, saturation and value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HsvGains {
    /// Factor on the hue, which then wraps around.
    pub hue: f64,
    /// What is added to the hue as well, in steps of 2 degrees.
    pub hue_shift: f64,
    /// Factor on the saturation, limited to its range.
    pub saturation: f64,
    /// Factor on the value (brightness), limited to its range.
    pub value: f64,
}

impl HsvGains {
    /// Draws hue, saturation, value, each uniform in 1 ± its limit. By Ultralytics the hue moves by that fraction
    /// of the circle.
    pub fn draw(augmentation: &Augmentation, rng: &mut impl Rng) -> Self {
        let drawn = symmetric(augmentation.hsv_h, rng);
        let (hue, hue_shift) = match augmentation.convention {
            Convention::Yolov5 => (1.0 + drawn, 0.0),
            Convention::Ultralytics => (1.0, drawn * HUES as f64),
        };
        Self {
            hue,
            hue_shift,
            saturation: 1.0 + symmetric(augmentation.hsv_s, rng),
            value: 1.0 + symmetric(augmentation.hsv_v, rng),
        }
    }
}

/// Changes hue, saturation and value of every pixel by `gains`, by way of look-up tables on 8 bits.
///
/// Gains of 1 also change an image a little, because HSV has fewer colours than RGB.
pub fn scale_hsv(image: &mut RgbImage, gains: HsvGains) {
    let forward = &*FORWARD;
    let back = &*BACK;
    let lut = Luts::new(gains);
    let mut factors = [Factors::default(); BLOCK];
    let mut channels = [[0_u32; 3]; BLOCK];
    for block in image.pixels.as_chunks_mut::<3>().0.chunks_mut(BLOCK) {
        for (factors, pixel) in factors.iter_mut().zip(&*block) {
            let [h, s, v] = forward.hsv(*pixel).map(usize::from);
            *factors = back.factors([lut.hue[h], lut.saturation[s], lut.value[v]]);
        }
        for (channels, factors) in channels.iter_mut().zip(&factors) {
            *channels = factors.channels();
        }
        for ((pixel, channels), factors) in block.iter_mut().zip(&channels).zip(&factors) {
            *pixel = factors.arrange(*channels);
        }
    }
}

/// Hue, saturation and value in 8 bits of an RGB colour.
pub fn rgb_to_hsv(rgb: [u8; 3]) -> [u8; 3] {
    FORWARD.hsv(rgb)
}

/// The RGB colour of 8-bit hue (below 180), saturation and value; higher hues wrap around.
pub fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    let factors = BACK.factors([h % HUES as u8, s, v]);
    factors.arrange(factors.channels())
}

/// New hue, saturation and value for every old one.
struct Luts {
    hue: [u8; 256],
    saturation: [u8; 256],
    value: [u8; 256],
}

impl Luts {
    fn new(gains: HsvGains) -> Self {
        let limited = |gain: f64| std::array::from_fn(|x| (x as f64 * gain).clamp(0.0, 255.0) as u8);
        Self {
            hue: std::array::from_fn(|x| {
                (x as f64 * gains.hue + gains.hue_shift).rem_euclid(HUES as f64) as u8
            }),
            saturation: limited(gains.saturation),
            value: limited(gains.value),
        }
    }
}

/// Reciprocals in 12-bit fixed point, for the conversion from RGB to HSV.
struct Forward {
    /// `255 / i`.
    saturation: [i32; 256],
    /// `180 / (6 i)`.
    hue: [i32; 256],
}

/// Fractional bits of [`Forward`].
const SHIFT: i32 = 12;
const HALF: i32 = 1 << (SHIFT - 1);

static FORWARD: LazyLock<Forward> = LazyLock::new(|| {
    let reciprocal = |one: f64, i: usize| {
        if i == 0 { 0 } else { (one * f64::from(1 << SHIFT) / i as f64).round_ties_even() as i32 }
    };
    Forward {
        saturation: std::array::from_fn(|i| reciprocal(255.0, i)),
        hue: std::array::from_fn(|i| reciprocal(HUES as f64 / 6.0, i)),
    }
});

impl Forward {
    #[inline]
    fn hsv(&self, [r, g, b]: [u8; 3]) -> [u8; 3] {
        let value = r.max(g).max(b);
        let spread = value - r.min(g).min(b);
        let [r, g, b, wide] = [r, g, b, spread].map(i32::from);
        let top = i32::from(value);
        // Masks instead of branches, because noise in an image makes branches unpredictable.
        let red = -i32::from(top == r);
        let green = !red & -i32::from(top == g);
        let sixths = (red & (g - b)) | (green & (b - r + 2 * wide)) | (!red & !green & (r - g + 4 * wide));
        let hue = (sixths * self.hue[usize::from(spread)] + HALF) >> SHIFT;
        let hue = hue + ((hue >> 31) & HUES as i32);
        let saturation = (wide * self.saturation[usize::from(value)] + HALF) >> SHIFT;
        [hue as u8, saturation as u8, value]
    }
}

/// Factors for the conversion back. A colour has a largest, a middle and a smallest channel; the hue decides which is
/// which, and the value of the middle one.
struct Back {
    /// Value as a fraction.
    value: [f32; 256],
    /// Smallest channel over the largest, by saturation.
    smallest: [f32; 256],
    /// `[hue, saturation]`: middle channel over the largest.
    middle: Vec<f32>,
    /// By hue: bit positions of the largest, middle and smallest channel in a little-endian RGB word.
    shifts: [[u8; 3]; 256],
}

static BACK: LazyLock<Back> = LazyLock::new(Back::new);

impl Back {
    fn new() -> Self {
        let fraction = |x: usize| x as f32 * (1.0 / 255.0);
        let mut middle = Vec::with_capacity(HUES * 256);
        let mut shifts = [[0; 3]; 256];
        for (hue, shifts) in shifts.iter_mut().enumerate().take(HUES) {
            let sixths = hue as f32 * (6.0_f32 / 180.0);
            let sector = sixths as usize % 6;
            let within = sixths - sixths.trunc();
            // The middle channel rises in even sectors and falls in odd ones.
            let distance = if sector.is_multiple_of(2) { 1.0 - within } else { within };
            middle.extend((0..256).map(|s| (-fraction(s)).mul_add(distance, 1.0)));
            *shifts = match sector {
                0 => [0, 8, 16],
                1 => [8, 0, 16],
                2 => [8, 16, 0],
                3 => [16, 8, 0],
                4 => [16, 0, 8],
                _ => [0, 16, 8],
            };
        }
        Self {
            value: std::array::from_fn(fraction),
            smallest: std::array::from_fn(|s| 1.0 - fraction(s)),
            middle,
            shifts,
        }
    }

    /// `h` below [`HUES`].
    #[inline]
    fn factors(&self, [h, s, v]: [u8; 3]) -> Factors {
        let (h, s) = (usize::from(h), usize::from(s));
        Factors {
            value: self.value[usize::from(v)],
            middle: self.middle[h * 256 + s],
            smallest: self.smallest[s],
            shifts: self.shifts[h],
        }
    }
}

/// A colour during the conversion back to RGB.
#[derive(Clone, Copy, Default)]
struct Factors {
    value: f32,
    middle: f32,
    smallest: f32,
    shifts: [u8; 3],
}

impl Factors {
    /// Largest, middle and smallest channel. They are at most 255, and `as i32` takes fewer steps than `as u8`,
    /// which would limit them.
    #[inline]
    fn channels(&self) -> [u32; 3] {
        [self.value, self.value * self.middle, self.value * self.smallest].map(|x| (x * 255.0) as i32 as u32)
    }

    /// The channels as R, G, B.
    #[inline]
    fn arrange(&self, channels: [u32; 3]) -> [u8; 3] {
        let [largest, middle, smallest] = self.shifts;
        let word = (channels[0] << largest) | (channels[1] << middle) | (channels[2] << smallest);
        let [r, g, b, _] = word.to_le_bytes();
        [r, g, b]
    }
}
