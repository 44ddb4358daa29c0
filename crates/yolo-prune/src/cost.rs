//! Operations that zeros save: the arithmetic of a network without multiplications by zero.

use yolo_model::Layout;

use crate::sparsity::Sparsity;

/// Billions of floating-point operations for one image ([`Layout::image_size`]), two per multiply-add, without those by a
/// weight that is zero: [`Layout::gflops`] less `2 · zeros · height · width` of every convolution's output.
/// `sparsity` is that of a model of this layout; convolutions that it does not have count as dense.
///
/// A runtime that skips zeros can come close to it; dense kernels gain nothing.
pub fn nonzero_gflops(layout: &dyn Layout, sparsity: &Sparsity) -> f64 {
    let program = layout.program();
    let sizes = program.sizes(layout.profiled_size());
    let saved: usize = program
        .convs()
        .map(|(index, conv)| {
            let [height, width] = sizes[index + 1];
            let layer = sparsity.layers.iter().find(|layer| layer.name == conv.name);
            layer.map_or(0, |layer| layer.zeros) * height * width
        })
        .sum();
    layout.gflops() - saved as f64 * layout.gigaflops_per_multiply_add()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::SeedableRng;
    use yolo_model::{Architecture, Checkpoint};

    use super::*;
    use crate::{Method, PruneOptions, apply, plan};

    fn network() -> Checkpoint {
        let architecture = Architecture::variant("yolov5n", None).unwrap();
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        Checkpoint::random(architecture, &mut rng).unwrap().into_fused().unwrap().into_checkpoint()
    }

    fn gflops(checkpoint: &Checkpoint) -> f64 {
        nonzero_gflops(&checkpoint.architecture, &Sparsity::of(checkpoint).unwrap())
    }

    #[test]
    fn without_zeros_nothing_is_saved() {
        let dense = network();
        assert_eq!(gflops(&dense), dense.architecture.summary().gflops);
    }

    #[test]
    fn a_convolution_saves_its_zeros_times_its_outputs() {
        let mut pruned = network();
        // 32×16×3×3 weights at stride 4.
        pruned.weights.get_mut("model.1.conv.weight").unwrap().f32s_mut().unwrap()[..1000].fill(0.0);
        let saved = network().architecture.summary().gflops - gflops(&pruned);
        assert!((saved - 2.0 * 1000.0 * 160.0 * 160.0 / 1e9).abs() < 1e-12, "{saved}");
    }

    #[test]
    fn half_of_every_convolution_saves_half_of_the_multiply_adds() {
        let dense = network();
        let plan = plan(&dense, &PruneOptions::new(Method::Layer, 0.5)).unwrap();
        let saved = dense.architecture.summary().gflops - gflops(&apply(&dense, &plan).unwrap());
        // 2.2341 billion multiply-adds of convolutions.
        assert!((saved - 2.2341).abs() < 5e-5, "{saved}");
    }
}
