//! Prunes a checkpoint by magnitude over all layers together, prints what each layer lost, and writes the result:
//!
//!     cargo run --example prune_layers -- yolov5n.pt 0.5 pruned.safetensors

use std::error::Error;
use std::path::Path;

use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;
use yolo_prune::{Method, PruneOptions, Sparsity, apply, nonzero_gflops, plan};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, amount, out] = arguments.as_slice() else {
        return Err("usage: prune_layers WEIGHTS AMOUNT OUT.safetensors, AMOUNT from 0 to 1".into());
    };
    let dense = Checkpoint::load(Path::new(weights))?;
    let plan = plan(&dense, &PruneOptions::new(Method::Global, amount.parse()?))?;
    let pruned = apply(&dense, &plan)?;
    let sparsity = Sparsity::of(&pruned)?;
    for layer in &sparsity.layers {
        let share = 100.0 * layer.zeros as f64 / layer.weights.max(1) as f64;
        println!("{:<24}{:>10} weights{share:>7.1} % zero", layer.name, layer.weights);
    }
    let left = nonzero_gflops(&pruned.architecture, &sparsity);
    println!("{:.2} of {:.2} GFLOPs are left at 640 px", left, pruned.architecture.summary().gflops);
    pruned.save(Path::new(out), FloatFormat::lossless_for(&pruned.weights))?;
    Ok(())
}
