//! Networks compiled for this processor.

use yolo_model::Architecture;
use yolo_runtime::CompiledNetwork;

use super::{Executor, Images, Pending, Uploaded};
use crate::error::Result;
use crate::logits::Logits;
use crate::pass::Pass;

/// Runs compiled networks, one image at a time: on a CPU a batch saves no time, and one image needs a fraction of the
/// memory.
pub struct CompiledExecutor {
    networks: Vec<CompiledNetwork>,
}

/// Images `[N, 3, height, width]` in `[0, 1]`.
struct Floats<'a> {
    networks: &'a [CompiledNetwork],
    values: Vec<f32>,
    size: [usize; 2],
}

impl CompiledExecutor {
    /// Runs one network, or the networks of an ensemble.
    pub fn new(networks: Vec<CompiledNetwork>) -> Self {
        Self { networks }
    }
}

impl Executor for CompiledExecutor {
    fn networks(&self) -> Vec<&Architecture> {
        self.networks.iter().map(CompiledNetwork::architecture).collect()
    }

    fn prepare(&self, size: [usize; 2], passes: &[Pass]) -> Result<()> {
        for network in &self.networks {
            if passes.len() > 1 {
                network.keep_plans(passes.len());
            }
            for pass in passes {
                let [_, padded] = pass.sizes(size, network.architecture().max_stride());
                network.plan(1, padded)?;
            }
        }
        Ok(())
    }

    fn upload<'a>(&'a self, images: Images<'_>) -> Result<Box<dyn Uploaded + 'a>> {
        let (values, size) = (scaled(images.pixels()), images.size());
        Ok(Box::new(Floats { networks: &self.networks, values, size }))
    }
}

impl Uploaded for Floats<'_> {
    /// Computes the logits at once.
    fn launch(&self, network: usize, pass: &Pass) -> Result<Pending> {
        let network = &self.networks[network];
        let stride = network.architecture().max_stride();
        let [_, padded] = pass.sizes(self.size, stride);
        let values = pass.transform(&self.values, self.size, stride);
        let images = values.chunks_exact(3 * padded[0] * padded[1]);
        let logits = images.map(|image| Logits::new(network.run(image, 1, padded)?));
        let logits = Logits::concat(logits.collect::<Result<Vec<_>>>()?);
        Ok(Pending::new(|| Ok(logits)))
    }
}

/// `pixel / 255` of every byte.
pub(crate) fn scaled(pixels: &[u8]) -> Vec<f32> {
    let scaled: [f32; 256] = std::array::from_fn(|pixel| pixel as f32 / 255.0);
    pixels.iter().map(|&pixel| scaled[usize::from(pixel)]).collect()
}
