//! Complete intersection over union of boxes given by their corners, on the host and on a device.
//!
//! ```text
//! w = x2 − x1, h = y2 − y1 + ε                       (the height alone has the ε)
//! IoU − (ρ²/c² + α·v),   v = 4/π²·(atan(w₂/h₂) − atan(w₁/h₁))²,   α = v / (v − IoU + 1 + ε)
//! ```
//!
//! The form for centres and sizes, [`ciou`](crate::loss::ciou), differs from it in where ε is.

use burn::tensor::Tensor;
use yolo_eval::Xyxy;

/// Keeps quotients finite.
const EPSILON: f32 = 1e-7;
/// `4/π²`.
const ANGLE: f32 = (4.0 / (std::f64::consts::PI * std::f64::consts::PI)) as f32;

/// CIoU of two boxes.
pub fn ciou_of_corners(a: Xyxy, b: Xyxy) -> f32 {
    let size = |b: Xyxy| (b.x2 - b.x1, b.y2 - b.y1 + EPSILON);
    let ((w1, h1), (w2, h2)) = (size(a), size(b));
    let across = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let down = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let intersection = across * down;
    let iou = intersection / (w1 * h1 + w2 * h2 - intersection + EPSILON);
    let c_w = a.x2.max(b.x2) - a.x1.min(b.x1);
    let c_h = a.y2.max(b.y2) - a.y1.min(b.y1);
    let c_squared = c_w * c_w + c_h * c_h + EPSILON;
    let (dx, dy) = (b.x1 + b.x2 - a.x1 - a.x2, b.y1 + b.y2 - a.y1 - a.y2);
    let rho_squared = (dx * dx + dy * dy) / 4.0;
    let angle = (w2 / h2).atan() - (w1 / h1).atan();
    let v = ANGLE * angle * angle;
    let alpha = v / (v - iou + (1.0 + EPSILON));
    iou - (rho_squared / c_squared + v * alpha)
}

/// CIoU of boxes `[n, 4]`, row by row, as `[n, 1]`. No gradient flows through α.
pub fn ciou_of_corner_rows(predicted: Tensor<2>, target: Tensor<2>) -> Tensor<2> {
    let epsilon = f64::from(EPSILON);
    let (a, b) = (Corners::of(&predicted), Corners::of(&target));
    let (w1, h1) = (a.x2.clone() - a.x1.clone(), (a.y2.clone() - a.y1.clone()).add_scalar(epsilon));
    let (w2, h2) = (b.x2.clone() - b.x1.clone(), (b.y2.clone() - b.y1.clone()).add_scalar(epsilon));
    let least = |a: &Tensor<2>, b: &Tensor<2>| a.clone().min_pair(b.clone());
    let most = |a: &Tensor<2>, b: &Tensor<2>| a.clone().max_pair(b.clone());
    let across = (least(&a.x2, &b.x2) - most(&a.x1, &b.x1)).clamp_min(0.0);
    let down = (least(&a.y2, &b.y2) - most(&a.y1, &b.y1)).clamp_min(0.0);
    let intersection = across * down;
    let areas = w1.clone() * h1.clone() + w2.clone() * h2.clone();
    let iou = intersection.clone() / (areas - intersection).add_scalar(epsilon);
    let c_w = most(&a.x2, &b.x2) - least(&a.x1, &b.x1);
    let c_h = most(&a.y2, &b.y2) - least(&a.y1, &b.y1);
    let c_squared = (c_w.square() + c_h.square()).add_scalar(epsilon);
    let dx = b.x1 + b.x2 - a.x1 - a.x2;
    let dy = b.y1 + b.y2 - a.y1 - a.y2;
    let rho_squared = (dx.square() + dy.square()).div_scalar(4.0);
    let angle = (w2 / h2).atan() - (w1 / h1).atan();
    let v = angle.square().mul_scalar(4.0 / std::f64::consts::PI.powi(2));
    let (v_fixed, iou_fixed) = (v.clone().detach(), iou.clone().detach());
    let alpha = v_fixed.clone() / (v_fixed - iou_fixed).add_scalar(1.0 + epsilon);
    iou - (rho_squared / c_squared + v * alpha)
}

/// A column `[n, 1]` for each number of a box.
struct Corners {
    x1: Tensor<2>,
    y1: Tensor<2>,
    x2: Tensor<2>,
    y2: Tensor<2>,
}

impl Corners {
    fn of(boxes: &Tensor<2>) -> Self {
        let column = |index: usize| boxes.clone().narrow(1, index, 1);
        Self { x1: column(0), y1: column(1), x2: column(2), y2: column(3) }
    }
}
