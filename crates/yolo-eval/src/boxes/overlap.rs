//! How much two boxes overlap: IoU, and three extensions that also measure the distance of boxes that do not overlap.

use std::f32::consts::PI;

use super::{Cxcywh, Xyxy};

/// Keeps denominators above 0.
const EPS: f32 = 1e-7;

/// Intersection over union, `I / (A + B − I + ε)` with ε = 1e-7, in `[0, 1)`.
pub fn iou(a: Cxcywh, b: Cxcywh) -> f32 {
    let intersection = Xyxy::from(a).intersection(b.into());
    intersection / union(a, b, intersection)
}

/// Generalised IoU, in `(−1, 1)`: `IoU − (C − U) / C`, with `C` the area of the smallest box around both and `U`
/// that of their union. Rezatofighi et al. 2019, <https://arxiv.org/abs/1902.09630>.
pub fn giou(a: Cxcywh, b: Cxcywh) -> f32 {
    let [width, height] = enclosing(a, b);
    let area = width * height + EPS;
    let union = union(a, b, Xyxy::from(a).intersection(b.into()));
    iou(a, b) - (area - union) / area
}

/// Distance IoU, in `(−1, 1)`: `IoU − ρ² / c²`, with `ρ` the distance between the centres and `c` the diagonal of the
/// smallest box around both. Zheng et al. 2020, <https://arxiv.org/abs/1911.08287>.
pub fn diou(a: Cxcywh, b: Cxcywh) -> f32 {
    iou(a, b) - distance(a, b)
}

/// Complete IoU, in `(−1.5, 1)`: `IoU − (ρ² / c² + α v)`, with `v = 4/π² (atan(w_b/h_b) − atan(w_a/h_a))²` and
/// `α = v / (v − IoU + 1 + ε)`. Same paper as [`diou`].
pub fn ciou(a: Cxcywh, b: Cxcywh) -> f32 {
    let iou = iou(a, b);
    let v = 4.0 / (PI * PI) * ((b.w / b.h).atan() - (a.w / a.h).atan()).powi(2);
    let alpha = v / (v - iou + (1.0 + EPS));
    iou - (distance(a, b) + v * alpha)
}

fn union(a: Cxcywh, b: Cxcywh, intersection: f32) -> f32 {
    a.w * a.h + b.w * b.h - intersection + EPS
}

/// Width and height of the smallest box around both.
fn enclosing(a: Cxcywh, b: Cxcywh) -> [f32; 2] {
    let (a, b) = (Xyxy::from(a), Xyxy::from(b));
    [a.x2.max(b.x2) - a.x1.min(b.x1), a.y2.max(b.y2) - a.y1.min(b.y1)]
}

/// `ρ² / c²`.
fn distance(a: Cxcywh, b: Cxcywh) -> f32 {
    let [width, height] = enclosing(a, b);
    let (a, b) = (Xyxy::from(a), Xyxy::from(b));
    let (dx, dy) = (b.x1 + b.x2 - a.x1 - a.x2, b.y1 + b.y2 - a.y1 - a.y2);
    (dx * dx + dy * dy) / 4.0 / (width * width + height * height + EPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden vectors B4.
    #[test]
    fn golden_overlaps() {
        let b = |cx, cy, w, h| Cxcywh { cx, cy, w, h };
        let same = b(0.5, 0.5, 1.0, 1.0);
        let cases = [
            (
                b(10.0, 10.0, 4.0, 6.0),
                b(11.0, 9.0, 5.0, 5.0),
                [0.473_684_22, 0.445_638, 0.446_098_03, 0.403_754_14],
            ),
            (same, same, [0.999_999_9; 4]),
            (b(3.0, 3.0, 2.0, 8.0), b(8.0, 8.0, 4.0, 1.0), [0.0, -0.476_283_16, -0.324_149_1, -0.736_842_1]),
            (b(5.0, 5.0, 2.0, 2.0), b(5.0, 5.0, 4.0, 4.0), [0.25; 4]),
        ];
        for (a, b, golden) in cases {
            for (value, expected) in [iou(a, b), ciou(a, b), diou(a, b), giou(a, b)].into_iter().zip(golden) {
                // The printed digits: two units in the last place of a single-precision number near 1.
                assert!((value - expected).abs() <= 1.2e-7, "{a:?} {b:?}: {value} {expected}");
            }
        }
    }
}
