//! `pack`: a checkpoint without its zeros, and back.

use anyhow::{Result, bail};
use yolo_measure::figures::model_figures;
use yolo_model::Checkpoint;
use yolo_model::weights::{FloatFormat, PackOptions};
use yolo_prune::Sparsity;
use yolo_report::format::{bytes, thousands};
use yolo_report::network::{packing_json, packing_table};
use yolo_report::results::SCHEMA;

use crate::args::PackArgs;
use crate::console::Output;
use crate::resolve::{Weights, is_same_file};
use crate::torch_file::{self, FileFormat};

/// Packs a checkpoint, or expands a packed one, and says what that saves.
pub(crate) fn run(args: &PackArgs) -> Result<()> {
    if FileFormat::of(&args.out)? == FileFormat::Torch && !args.expand {
        bail!(
            "{}: a packed file is a .safetensors; --expand writes a .pt of one, and `yolo-cli export --format pt` of any",
            args.out.display()
        );
    }
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    if is_same_file(&args.out, &weights.path) {
        bail!("{}: --out is the checkpoint that is read; input files are never changed", args.out.display());
    }
    let checkpoint = &weights.checkpoint;
    let before = Sparsity::of(checkpoint)?;
    if args.expand {
        expand(args, &weights)?;
    } else {
        checkpoint.save_packed(&args.out, PackOptions { int8: args.int8, half: args.half })?;
    }
    let written = Checkpoint::load(&args.out)?;
    let after = Sparsity::of(&written)?;
    if before.conv_zeros != after.conv_zeros {
        bail!(
            "{}: it has {} zeros where {} has {}; please report this",
            args.out.display(),
            after.conv_zeros,
            weights.path.display(),
            before.conv_zeros
        );
    }
    let size = std::fs::metadata(&args.out)?.len();
    let dense = checkpoint.file_bytes(FloatFormat::F16)?;
    let packing = Checkpoint::packing(&args.out)?;
    for line in packing_table(packing.as_ref(), size, dense) {
        output.line(line)?;
    }
    output.line(format!(
        "Zeros: {} of {} convolution weights, before and after",
        thousands(after.conv_zeros),
        thousands(after.conv_weights)
    ))?;
    output.line(format!("Saved {} ({})", args.out.display(), bytes(size)))?;
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "model": model_figures(&written, &args.out, size)?,
        "dense_f16_bytes": dense,
        "ratio": size as f64 / dense as f64,
        "packing": packing.as_ref().map(packing_json),
    }))
}

/// Writes the plain file of a packed one.
fn expand(args: &PackArgs, weights: &Weights) -> Result<()> {
    if Checkpoint::packing(&weights.path)?.is_none() {
        bail!("{}: it is not packed; there is nothing to expand", weights.path.display());
    }
    torch_file::save(&weights.checkpoint, &args.out, args.half, &weights.path)
}
