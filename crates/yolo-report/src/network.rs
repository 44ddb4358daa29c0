//! What a network is, as lines of text: YOLOv5's summary, a table of its layers, its anchors, and its packed file.

use yolo_model::weights::Packing;
use yolo_model::{Architecture, LayerSummary};

use crate::comparison::LayerSparsity;
use crate::format::{bytes, thousands};

/// YOLOv5's summary line.
pub fn summary_line(architecture: &Architecture) -> String {
    let summary = architecture.summary();
    format!(
        "Model summary{}: {} layers, {} parameters, 0 gradients, {:.1} GFLOPs",
        if architecture.fused { " (fused)" } else { "" },
        summary.layers,
        summary.parameters,
        summary.gflops,
    )
}

/// A line per layer, with the zeros of its convolutions.
pub fn layer_table(architecture: &Architecture, convs: &[LayerSparsity]) -> Vec<String> {
    let header = ["layer", "from", "n", "module", "channels", "params", "GFLOPs", "zeros"];
    let line = |layer: &LayerSummary| {
        let (weights, zeros) = layer_zeros(layer, convs);
        row(&[
            layer.index.to_string(),
            layer.from.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
            layer.repeats.to_string(),
            layer.block.to_owned(),
            format!("{} → {}", layer.channels.0, layer.channels.1),
            thousands(layer.parameters),
            format!("{:.3}", layer.gflops),
            match weights {
                0 => String::new(),
                _ => format!("{:.1}%", 100.0 * zeros as f64 / weights as f64),
            },
        ])
    };
    let layers = architecture.layer_summaries();
    std::iter::once(row(&header.map(str::to_owned))).chain(layers.iter().map(line)).collect()
}

fn row([index, from, n, module, channels, params, gflops, zeros]: &[String; 8]) -> String {
    format!("{index:>5}{from:>12}{n:>4}  {module:<11}{channels:>14}{params:>12}{gflops:>9}{zeros:>8}")
}

/// Weights of the convolutions of a layer, and how many of them are zero.
fn layer_zeros(layer: &LayerSummary, convs: &[LayerSparsity]) -> (usize, usize) {
    let name = format!("model.{}", layer.index);
    let below = format!("{name}.");
    let own = convs.iter().filter(|conv| conv.name == name || conv.name.starts_with(&below));
    own.fold((0, 0), |(weights, zeros), conv| (weights + conv.weights, zeros + conv.zeros))
}

/// The anchors of every level: `[10×13 16×30] [30×61]`.
pub fn anchors(levels: &[Vec<[f32; 2]>]) -> String {
    let level = |level: &Vec<[f32; 2]>| {
        let sizes: Vec<String> = level.iter().map(|[w, h]| format!("{w}×{h}")).collect();
        format!("[{}]", sizes.join(" "))
    };
    levels.iter().map(level).collect::<Vec<_>>().join(" ")
}

/// The parts of a file of `size` bytes, each beside the whole of the dense one; `packing` is `None` if nothing in it is
/// packed.
pub fn packing_table(packing: Option<&Packing>, size: u64, dense: u64) -> Vec<String> {
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
    lines
}

/// The parts of a packed file, for scripts.
pub fn packing_json(packing: &Packing) -> serde_json::Value {
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
