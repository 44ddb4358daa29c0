//! Functions on single vectors against f64.

use super::math::Activate;
use super::{Kernels, Span};
use yolo_simd::Isa;

#[test]
fn silu_is_within_a_millionth_on_every_unit() {
    let mut x: Vec<f32> = (-60_000..60_000).map(|i| i as f32 * 1.3e-3).collect();
    x.extend((-300..300).map(|i| i as f32 * 0.31));
    x.extend([0.0, -0.0, 1e-30, -1e-30, 88.0, 200.0, 1e30, -1e30]);
    x.resize(x.len().next_multiple_of(16), 0.5);
    for isa in Isa::ALL {
        let Some(kernels) = Kernels::of(isa) else { continue };
        let mut found = x.clone();
        let span = Span::of_mut(&mut found);
        // SAFETY: the processor has the unit, and the span holds these vectors.
        unsafe { (kernels.activate)(span, x.len() / kernels.lanes, Activate::Silu) };
        for (&x, &found) in x.iter().zip(&found) {
            let expected = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(found) - expected).abs();
            // Below −87 the clamp of the exponent leaves something of the order of 1e-36 · x.
            assert!(error <= 1e-6 * expected.abs() || (x < -87.0 && error < 1e-5), "{isa}: {found} for {x}");
        }
    }
}

/// The normal distribution's Φ, by its Taylor series around 0 and its continued fraction far from it.
fn phi(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..200 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn activations_are_within_a_millionth_on_every_unit() {
    let mut x: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 1.3e-3).collect();
    x.extend([0.0, -0.0, 1e-30, -1e-30, 88.0, 200.0, -200.0, 1e10, -1e10]);
    x.resize(x.len().next_multiple_of(16), 0.5);
    type Exact = fn(f64) -> f64;
    let cases: [(Activate, Exact); 6] = [
        (Activate::Leaky(0.1), |x| if x > 0.0 { x } else { f64::from(0.1_f32) * x }),
        (Activate::Relu6, |x| x.clamp(0.0, 6.0)),
        (Activate::Hardswish, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        (Activate::Mish, |x| x * x.exp().ln_1p().min(1e3).tanh()),
        (Activate::Elu(0.7), |x| if x > 0.0 { x } else { f64::from(0.7_f32) * x.exp_m1() }),
        (Activate::Gelu, |x| x * phi(x)),
    ];
    for isa in Isa::ALL {
        let Some(kernels) = Kernels::of(isa) else { continue };
        for (activate, expected) in cases {
            let mut found = x.clone();
            let span = Span::of_mut(&mut found);
            // SAFETY: the processor has the unit, and the span holds these vectors.
            unsafe { (kernels.activate)(span, x.len() / kernels.lanes, activate) };
            for (&x, &found) in x.iter().zip(&found) {
                let expected = expected(f64::from(x));
                let error = (f64::from(found) - expected).abs();
                assert!(error <= 1e-6 * expected.abs().max(1.0), "{isa} {activate:?}: {found} for {x}");
            }
        }
    }
}
