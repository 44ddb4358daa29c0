//! `pack`: a checkpoint without its zeros, and back.

use std::path::Path;

use anyhow::{Result, bail};
use yolo_model::Checkpoint;
use yolo_model::weights::{FloatFormat, PackOptions, Packing};
use yolo_prune::Sparsity;
use yolo_report::format::{bytes, thousands};
use yolo_report::results::SCHEMA;

use crate::args::PackArgs;
use crate::console::Output;
use crate::figures::model_figures;
use crate::resolve::Weights;

/// Packs a checkpoint, or expands a packed one, and says what that saves.
pub(crate) fn run(args: &PackArgs) -> Result<()> {
    if !args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
        bail!("{}: --out must end in .safetensors, the only format that is written", args.out.display());
    }
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if real(&args.out).is_some_and(|out| real(&weights.path) == Some(out)) {
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
    for line in table(packing.as_ref(), &after, size, dense) {
        output.line(line)?;
    }
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
    let tensors = &weights.checkpoint.weights;
    let format = if args.half { FloatFormat::F16 } else { FloatFormat::lossless_for(tensors) };
    Ok(weights.checkpoint.save(&args.out, format)?)
}

/// The parts of the file, each beside the whole of the dense one.
fn table(packing: Option<&Packing>, sparsity: &Sparsity, size: u64, dense: u64) -> Vec<String> {
    let line = |what: &str, size: u64| {
        format!("  {what:<28}{:>11}{:>9.3}", bytes(size), size as f64 / dense.max(1) as f64)
    };
    let mut lines =
        vec![format!("  {:<28}{:>11}{:>9}", "", "size", "of dense"), line("dense file, f16", dense)];
    if let Some(packing) = packing {
        let parts = [
            ("masks", packing.mask_bytes),
            ("values, f16", packing.f16_bytes),
            ("values, f32", packing.f32_bytes),
            ("values, int8", packing.i8_bytes),
            ("scales, f32", packing.scale_bytes),
            ("tensors that stay plain", packing.plain_bytes),
            ("names, shapes, metadata", packing.header_bytes),
        ];
        lines.extend(parts.iter().filter(|(_, size)| *size > 0).map(|(what, size)| line(what, *size as u64)));
    }
    lines.push(line("this file", size));
    if let Some(packing) = packing {
        lines.push(format!(
            "{} tensors are packed: {} of their {} elements are stored",
            packing.tensors,
            thousands(packing.kept),
            thousands(packing.elements)
        ));
    }
    lines.push(format!(
        "Zeros: {} of {} convolution weights, before and after",
        thousands(sparsity.conv_zeros),
        thousands(sparsity.conv_weights)
    ));
    lines
}

/// The account of a packed file, for scripts.
pub(crate) fn packing_json(packing: &Packing) -> serde_json::Value {
    serde_json::json!({
        "tensors": packing.tensors,
        "elements": packing.elements,
        "kept": packing.kept,
        "mask_bytes": packing.mask_bytes,
        "f16_bytes": packing.f16_bytes,
        "f32_bytes": packing.f32_bytes,
        "i8_bytes": packing.i8_bytes,
        "scale_bytes": packing.scale_bytes,
        "plain_bytes": packing.plain_bytes,
        "header_bytes": packing.header_bytes,
    })
}
