//! `info`: what a checkpoint holds.

use anyhow::Result;
use yolo_measure::figures::{layer_sparsity, layers_json, model_figures};
use yolo_model::{Checkpoint, Head};
use yolo_prune::Sparsity;
use yolo_report::format::{bytes, general, thousands};
use yolo_report::network::{anchors, layer_table, packing_json, summary_line};
use yolo_report::results::SCHEMA;

use crate::args::InfoArgs;
use crate::console::Output;
use crate::resolve::Weights;

/// Prints the layer table of a checkpoint, its zeros and its classes.
pub(crate) fn run(args: &InfoArgs) -> Result<()> {
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    let packing = Checkpoint::packing(&weights.path)?;
    let checkpoint = weights.checkpoint;
    let checkpoint = if args.fuse { checkpoint.into_fused()?.into_checkpoint() } else { checkpoint };
    let sparsity = Sparsity::of(&checkpoint)?;
    for line in layer_table(&checkpoint.architecture, &layer_sparsity(&sparsity)) {
        output.line(line)?;
    }
    output.line(summary_line(&checkpoint.architecture))?;
    output.line(format!(
        "Zeros: {} of {} parameters ({}), {} of {} convolution weights ({})",
        thousands(sparsity.zeros),
        thousands(sparsity.parameters),
        general(sparsity.sparsity(), 3),
        thousands(sparsity.conv_zeros),
        thousands(sparsity.conv_weights),
        general(sparsity.conv_sparsity(), 3),
    ))?;
    if let Some(pruning) = &checkpoint.pruning {
        output.line(format!("Pruning: {pruning}"))?;
    }
    let head = checkpoint.architecture.head();
    output.line(format!("Strides: {:?}, {}", head.strides(), about_boxes(head)))?;
    output.line(format!(
        "Classes ({}): {}",
        checkpoint.class_names.len(),
        checkpoint.class_names.join(", ")
    ))?;
    output.line(format!("File: {} ({})", weights.path.display(), bytes(weights.file_bytes)))?;
    if let Some(packing) = &packing {
        output.line(format!(
            "Packed: {} tensors, {} of their {} elements are stored",
            packing.tensors,
            thousands(packing.kept),
            thousands(packing.elements)
        ))?;
    }
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "model": model_figures(&checkpoint, &weights.path, weights.file_bytes)?,
        "fused": checkpoint.architecture.fused,
        "classes": checkpoint.class_names,
        "strides": head.strides(),
        "anchors": head.anchors(),
        "pruning": checkpoint.pruning,
        "packing": packing.as_ref().map(packing_json),
        "layers": layers_json(&sparsity),
        "architecture": checkpoint.architecture,
    }))
}

/// How the head gives boxes.
fn about_boxes(head: Head<'_>) -> String {
    match head {
        Head::AnchorBased(detect) => format!("anchors: {}", anchors(&detect.anchors)),
        Head::AnchorFree(detect) => {
            let distances = match detect.bins {
                1 => "no anchors, distances as they are".to_owned(),
                bins => format!("no anchors, distances in {bins} bins"),
            };
            match (&detect.one2many, &detect.one2one) {
                (Some(_), Some(_)) => format!("{distances}, one-to-many and one-to-one branches"),
                (None, _) => format!("{distances}, one-to-one branches"),
                _ => distances,
            }
        }
    }
}
