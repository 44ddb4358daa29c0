//! Writes a detector with random weights, to time a size whose released weights are not at hand:
//!
//!     cargo run --example random_checkpoint -- yolov5s s.safetensors
//!
//! Batch normalisation is drawn as well, so that activations keep their size from layer to layer.

use std::error::Error;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [variant, file] = arguments.as_slice() else {
        return Err("usage: random_checkpoint VARIANT FILE.safetensors, VARIANT such as yolov5s".into());
    };
    let mut rng = StdRng::seed_from_u64(0);
    let mut checkpoint = Checkpoint::random(Architecture::variant(variant, Some(80))?, &mut rng)?;
    let names: Vec<String> = checkpoint.weights.names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| name.contains(".bn.")) {
        let range = match name.rsplit('.').next() {
            Some("weight") => 0.8..1.6,
            Some("running_var") => 0.3..1.0,
            Some("bias" | "running_mean") => -0.2..0.2,
            _ => continue,
        };
        if let Some(tensor) = checkpoint.weights.get_mut(name) {
            tensor.f32s_mut()?.iter_mut().for_each(|value| *value = rng.random_range(range.clone()));
        }
    }
    checkpoint.save(Path::new(file), FloatFormat::F32)?;
    Ok(())
}
