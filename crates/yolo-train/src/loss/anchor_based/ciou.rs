//! Complete intersection over union, differentiable.

use burn::tensor::Tensor;

/// Keeps quotients finite.
const EPSILON: f64 = 1e-7;

/// CIoU of boxes `[n, 4]` (centre x, centre y, width, height), row by row, as `[n, 1]`.
///
/// `IoU − ρ²/c² − α·v` with `v = 4/π²·(atan(w₂/h₂) − atan(w₁/h₁))²` and `α = v / (v − IoU + 1 + ε)`, through
/// which no gradient flows (Zheng et al. 2020).
pub fn ciou(predicted: Tensor<2>, target: Tensor<2>) -> Tensor<2> {
    let a = Sides::of(predicted);
    let b = Sides::of(target);
    let overlap = |a1: &Tensor<2>, a2: &Tensor<2>, b1: &Tensor<2>, b2: &Tensor<2>| {
        (a2.clone().min_pair(b2.clone()) - a1.clone().max_pair(b1.clone())).clamp_min(0.0)
    };
    let intersection = overlap(&a.x1, &a.x2, &b.x1, &b.x2) * overlap(&a.y1, &a.y2, &b.y1, &b.y2);
    let areas = a.w.clone() * a.h.clone() + b.w.clone() * b.h.clone();
    let iou = intersection.clone() / (areas - intersection).add_scalar(EPSILON);

    let enclosing = |a1: &Tensor<2>, a2: &Tensor<2>, b1: &Tensor<2>, b2: &Tensor<2>| {
        a2.clone().max_pair(b2.clone()) - a1.clone().min_pair(b1.clone())
    };
    let c_w = enclosing(&a.x1, &a.x2, &b.x1, &b.x2);
    let c_h = enclosing(&a.y1, &a.y2, &b.y1, &b.y2);
    let c_squared = (c_w.square() + c_h.square()).add_scalar(EPSILON);
    let dx = b.x1 + b.x2 - a.x1 - a.x2;
    let dy = b.y1 + b.y2 - a.y1 - a.y2;
    let rho_squared = (dx.square() + dy.square()).div_scalar(4.0);

    let angle = (b.w / b.h).atan() - (a.w / a.h).atan();
    let v = angle.square().mul_scalar(4.0 / std::f64::consts::PI.powi(2));
    let (v_fixed, iou_fixed) = (v.clone().detach(), iou.clone().detach());
    let alpha = v_fixed.clone() / (v_fixed - iou_fixed).add_scalar(1.0 + EPSILON);
    iou - (rho_squared / c_squared + v * alpha)
}

/// A column `[n, 1]` for each number of a box.
struct Sides {
    x1: Tensor<2>,
    y1: Tensor<2>,
    x2: Tensor<2>,
    y2: Tensor<2>,
    w: Tensor<2>,
    h: Tensor<2>,
}

impl Sides {
    fn of(boxes: Tensor<2>) -> Self {
        let column = |index: usize| boxes.clone().narrow(1, index, 1);
        let (x, y, w, h) = (column(0), column(1), column(2), column(3));
        let (half_w, half_h) = (w.clone().div_scalar(2.0), h.clone().div_scalar(2.0));
        Self {
            x1: x.clone() - half_w.clone(),
            x2: x + half_w,
            y1: y.clone() - half_h.clone(),
            y2: y + half_h,
            w,
            h,
        }
    }
}
