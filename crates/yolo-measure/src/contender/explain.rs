//! What every convolution runs on, and why.

use serde_json::{Value, json};
use yolo_report::format::bytes;
use yolo_runtime::{ConvReport, KernelId};

use super::Contender;

/// A table with a line per convolution; nothing for a network that is not compiled.
pub fn lines(contender: &Contender) -> Vec<String> {
    let Some(plan) = contender.plan() else { return Vec::new() };
    let mut lines = vec![String::new(), format!("{} (batch {})", contender.name, contender.batch)];
    let longest = plan.convolutions().iter().map(|report| report.name.len()).max().unwrap_or(0).max(11);
    lines.push(format!(
        "{:<longest$}{:>16}{:>4}{:>10}{:>8}{:>10}{:>10}  {}",
        "convolution", "out×in×kernel", "s", "output", "zeros", "dense ms", "sparse ms", "kernel"
    ));
    let mut sums = [0.0; 3];
    for report in plan.convolutions() {
        let [dense, sparse] = [false, true].map(|sparse| fastest(report, sparse));
        let time = |best: Option<(KernelId, f64)>| best.map_or("-".to_owned(), |(_, ms)| format!("{ms:.3}"));
        let [out, inputs, rows, columns] = report.weight;
        lines.push(format!(
            "{:<longest$}{:>16}{:>4}{:>10}{:>8}{:>10}{:>10}  {}",
            report.name,
            format!("{out}×{inputs}×{rows}×{columns}"),
            report.stride[0],
            format!("{}×{}", report.size[0], report.size[1]),
            format!("{:.1} %", 100.0 * report.sparsity),
            time(dense),
            time(sparse),
            report.chosen
        ));
        let chosen = report.candidates.iter().find(|(kernel, _)| *kernel == report.chosen);
        let parts = [dense, sparse.or(dense), chosen.copied()];
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.map_or(0.0, |(_, ms)| ms));
    }
    let [dense, sparse, chosen] = sums;
    lines.push(format!(
        "All convolutions: {dense:.2} ms dense, {sparse:.2} ms sparse where there are zeros, {chosen:.2} ms as chosen"
    ));
    lines
}

/// The memory of a network, in one line; nothing for one that is not compiled.
pub fn memory_line(contender: &Contender) -> Option<String> {
    let memory = contender.plan()?.memory();
    let size = |n: usize| bytes(n as u64);
    Some(format!(
        "{} (batch {}): {} of memory: weights {}, activations {} (live at once: {}), lists {}, scratch {}",
        contender.name,
        contender.batch,
        size(memory.total()),
        size(memory.weights),
        size(memory.arena),
        size(memory.live),
        size(memory.indices),
        size(memory.scratch)
    ))
}

/// The table and the memory as JSON; nothing for a network that is not compiled.
pub fn json(contender: &Contender) -> Option<Value> {
    let plan = contender.plan()?;
    let memory = plan.memory();
    let layer = |report: &ConvReport| {
        let candidates: Vec<Value> = report
            .candidates
            .iter()
            .map(|(kernel, ms)| json!({"kernel": kernel.to_string(), "ms": ms}))
            .collect();
        json!({
            "name": report.name,
            "weight": report.weight,
            "stride": report.stride,
            "output": report.size,
            "sparsity": report.sparsity,
            "gflop": report.gflop,
            "candidates": candidates,
            "chosen": report.chosen.to_string(),
        })
    };
    Some(json!({
        "weights": contender.name,
        "batch_size": contender.batch,
        "memory_bytes": {
            "total": memory.total(),
            "weights": memory.weights,
            "activations": memory.arena,
            "live_activations": memory.live,
            "lists": memory.indices,
            "scratch": memory.scratch,
        },
        "layers": plan.convolutions().iter().map(layer).collect::<Vec<_>>(),
    }))
}

/// The fastest dense, or the fastest sparse, kernel of those that were timed.
fn fastest(report: &ConvReport, sparse: bool) -> Option<(KernelId, f64)> {
    let kernels = report.candidates.iter().filter(|(kernel, _)| kernel.family.skips_zeros() == sparse);
    kernels.min_by(|a, b| a.1.total_cmp(&b.1)).copied()
}
