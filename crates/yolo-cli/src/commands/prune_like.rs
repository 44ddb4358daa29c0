//! `prune --like`: put the zeros of one file back into another of the same network.

use std::path::Path;

use anyhow::{Context, Result, bail};
use yolo_measure::figures::{layers_json, model_figures};
use yolo_model::Checkpoint;
use yolo_prune::{Sparsity, zeros_like};
use yolo_report::format::{bytes, thousands};
use yolo_report::results::SCHEMA;

use crate::args::PruneArgs;
use crate::console::Output;
use crate::resolve::{Weights, is_same_file};
use crate::torch_file;

/// Writes `network`, which came from the file `source`, with the zeros of the file `like`.
pub(crate) fn run(
    args: &PruneArgs,
    like: &Path,
    network: &Checkpoint,
    source: &Path,
    output: &Output,
) -> Result<()> {
    let pattern = Weights::load(like, args.offline)?;
    if is_same_file(&args.out, &pattern.path) {
        bail!("{}: --out is the file of --like; input files are never changed", args.out.display());
    }
    let both = || format!("{} and {}", source.display(), pattern.path.display());
    let rezeroed = zeros_like(network, &pattern.checkpoint).with_context(both)?;
    torch_file::save(&rezeroed.model, &args.out, args.half, source)?;

    let sparsity = Sparsity::of(&rezeroed.model)?;
    output.line(format!(
        "Zeros of {}: {} of {} convolution weights, {} of which were other numbers in {}",
        pattern.path.display(),
        thousands(rezeroed.zeros),
        thousands(sparsity.conv_weights),
        thousands(rezeroed.grown),
        source.display(),
    ))?;
    let size = std::fs::metadata(&args.out)?.len();
    output.line(format!("Saved {} ({})", args.out.display(), bytes(size)))?;
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "model": model_figures(&rezeroed.model, &args.out, size)?,
        "layers": layers_json(&sparsity),
        "like": { "file": pattern.path.display().to_string(), "zeros": rezeroed.zeros, "grown": rezeroed.grown },
    }))
}
