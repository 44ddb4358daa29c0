//! Functions on single vectors against f64.

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
        unsafe { (kernels.silu)(span, x.len() / kernels.lanes) };
        for (&x, &found) in x.iter().zip(&found) {
            let expected = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(found) - expected).abs();
            // Below −87 the clamp of the exponent leaves something of the order of 1e-36 · x.
            assert!(error <= 1e-6 * expected.abs() || (x < -87.0 && error < 1e-5), "{isa}: {found} for {x}");
        }
    }
}
