//! `info`: what a checkpoint holds.

use anyhow::Result;
use yolo_model::{Checkpoint, LayerSummary};
use yolo_prune::Sparsity;

use super::pack::packing_json;
use super::prune::layers_json;
use crate::args::InfoArgs;
use crate::console::Output;
use crate::format::{bytes, general, thousands};
use crate::resolve::Weights;
use crate::results::{ModelFigures, SCHEMA};

/// Prints the layer table of a checkpoint, its zeros and its classes.
pub(crate) fn run(args: &InfoArgs) -> Result<()> {
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    let packing = Checkpoint::packing(&weights.path)?;
    let checkpoint = weights.checkpoint;
    let checkpoint = if args.fuse { checkpoint.into_fused()?.into_checkpoint() } else { checkpoint };
    let sparsity = Sparsity::of(&checkpoint)?;
    print_layers(&output, &checkpoint, &sparsity)?;
    output.line(summary_line(&checkpoint))?;
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
    let detect = checkpoint.architecture.detect();
    output.line(format!("Strides: {:?}, anchors: {}", detect.strides, anchors(&detect.anchors)))?;
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
        "model": ModelFigures::of(&checkpoint, &weights.path, weights.file_bytes)?,
        "fused": checkpoint.architecture.fused,
        "classes": checkpoint.class_names,
        "strides": detect.strides,
        "anchors": detect.anchors,
        "pruning": checkpoint.pruning,
        "packing": packing.as_ref().map(packing_json),
        "layers": layers_json(&sparsity),
        "architecture": checkpoint.architecture,
    }))
}

/// YOLOv5's summary line.
pub(crate) fn summary_line(checkpoint: &Checkpoint) -> String {
    let summary = checkpoint.architecture.summary();
    format!(
        "Model summary{}: {} layers, {} parameters, 0 gradients, {:.1} GFLOPs",
        if checkpoint.architecture.fused { " (fused)" } else { "" },
        summary.layers,
        summary.parameters,
        summary.gflops,
    )
}

fn print_layers(output: &Output, checkpoint: &Checkpoint, sparsity: &Sparsity) -> Result<()> {
    let header = ["layer", "from", "n", "module", "channels", "params", "GFLOPs", "zeros"];
    output.line(row(&header.map(str::to_owned)))?;
    for layer in checkpoint.architecture.layer_summaries() {
        let (weights, zeros) = layer_zeros(&layer, sparsity);
        output.line(row(&[
            layer.index.to_string(),
            layer.from.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
            layer.repeats.to_string(),
            layer.block.to_owned(),
            format!("{} → {}", layer.channels.0, layer.channels.1),
            thousands(layer.parameters),
            format!("{:.3}", layer.gflops),
            if weights == 0 {
                String::new()
            } else {
                format!("{:.1}%", 100.0 * zeros as f64 / weights as f64)
            },
        ]))?;
    }
    Ok(())
}

fn row([index, from, n, module, channels, params, gflops, zeros]: &[String; 8]) -> String {
    format!("{index:>5}{from:>12}{n:>4}  {module:<11}{channels:>14}{params:>12}{gflops:>9}{zeros:>8}")
}

/// Weights of the convolutions of a layer, and how many of them are zero.
fn layer_zeros(layer: &LayerSummary, sparsity: &Sparsity) -> (usize, usize) {
    let name = format!("model.{}", layer.index);
    let below = format!("{name}.");
    let own = sparsity.layers.iter().filter(|conv| conv.name == name || conv.name.starts_with(&below));
    own.fold((0, 0), |(weights, zeros), conv| (weights + conv.weights, zeros + conv.zeros))
}

fn anchors(levels: &[Vec<[f32; 2]>]) -> String {
    let level = |level: &Vec<[f32; 2]>| {
        let sizes: Vec<String> = level.iter().map(|[w, h]| format!("{w}×{h}")).collect();
        format!("[{}]", sizes.join(" "))
    };
    levels.iter().map(level).collect::<Vec<_>>().join(" ")
}
