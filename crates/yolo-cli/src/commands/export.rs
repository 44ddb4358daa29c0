//! `export`: write a detector in a format that other runtimes read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use yolo_model::onnx::{Axes, OnnxOptions, OnnxSummary, Outputs};
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Family, Selection};
use yolo_report::format::{bytes, thousands};
use yolo_report::network::summary_line;
use yolo_report::results::SCHEMA;

use crate::args::{ExportArgs, ExportFormat};
use crate::console::Output;
use crate::image_size::fitted;
use crate::resolve::{Weights, is_same_file};

/// Writes the file, and prints what is in it and how to run it.
pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    let output = Output::new(args.json);
    say_what_changes_nothing(args);
    refuse_flags_of_others(args)?;
    let weights = Weights::load_as(&args.weights, args.offline, args.cfg.as_deref())?;
    let weights = weights.answering(args.branches.end2end)?;
    weights.checkpoint.check_values().with_context(|| weights.path.display().to_string())?;
    let out = out_path(args, &weights.path)?;
    match args.format {
        ExportFormat::Onnx => onnx(args, weights, &out, &output),
        ExportFormat::Pt | ExportFormat::StateDict => super::export_torch::run(args, &weights, &out, &output),
    }
}

fn onnx(args: &ExportArgs, weights: Weights, out: &Path, output: &Output) -> Result<()> {
    let checkpoint = weights.checkpoint.fuse()?;
    let options = options(args, checkpoint.architecture.max_stride());
    let summary = checkpoint.export_onnx(out, &options)?;

    output.line(summary_line(&checkpoint.architecture))?;
    output.line(format!(
        "Saved {} ({}): ONNX opset {}, {}{} nodes, {} parameters",
        out.display(),
        bytes(summary.bytes),
        options.opset,
        if args.half { "half precision, " } else { "" },
        summary.nodes,
        thousands(summary.parameters),
    ))?;
    print_interface(output, &summary, &options, &checkpoint.architecture)?;
    print_use(output, out, &options, &checkpoint.architecture)?;
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "file": out.display().to_string(),
        "format": "onnx",
        "opset": options.opset,
        "head": if args.raw { "raw" } else { "decoded" },
        "dynamic": args.dynamic,
        "stride": checkpoint.architecture.max_stride(),
        "classes": checkpoint.class_names,
        "model": summary,
    }))
}

/// Flags of YOLOv5 that have nothing to do here.
fn say_what_changes_nothing(args: &ExportArgs) {
    if args.simplify {
        tracing::info!(
            "--simplify changes nothing: batch normalisation is folded in and constants are computed before the \
             graph is written"
        );
    }
    if args.device != "cpu" {
        tracing::info!(
            "--device {} changes nothing: the file is made from the weights, and nothing is computed on a device",
            args.device
        );
    }
}

/// Flags that belong to another format.
fn refuse_flags_of_others(args: &ExportArgs) -> Result<()> {
    let is_onnx = args.format == ExportFormat::Onnx;
    let given = [("--dynamic", args.dynamic), ("--raw", args.raw), ("--with-masks", args.with_masks)];
    for (flag, is_given) in given {
        if is_given && is_onnx == (flag == "--with-masks") {
            let format = if is_onnx { "pt and state-dict" } else { "onnx" };
            bail!("{flag} is for --format {format}; leave it out");
        }
    }
    Ok(())
}

/// The file to write, which must not be the one that was read.
fn out_path(args: &ExportArgs, weights: &Path) -> Result<PathBuf> {
    let stem = weights.file_stem().unwrap_or(weights.as_os_str());
    let (tail, ending) = match args.format {
        ExportFormat::Onnx => ("", "onnx"),
        ExportFormat::Pt => ("", "pt"),
        ExportFormat::StateDict => ("-state-dict", "pt"),
    };
    let usual = || PathBuf::from(format!("{}{tail}.{ending}", stem.to_string_lossy()));
    let out = args.out.clone().unwrap_or_else(usual);
    if !out.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending)) {
        bail!("{}: --out must end in .{ending}, which --format asks for", out.display());
    }
    if is_same_file(&out, weights) {
        bail!("{}: --out is the checkpoint that is exported; input files are never changed", out.display());
    }
    Ok(out)
}

/// What the flags say, as the library wants it. Sides are rounded up to the stride, as YOLOv5 does.
fn options(args: &ExportArgs, stride: usize) -> OnnxOptions {
    let axes = if args.dynamic {
        Axes::Dynamic
    } else {
        let height = args.imgsz.first().copied().unwrap_or(640);
        let width = args.imgsz.get(1).copied().unwrap_or(height);
        let size = fitted([height, width].map(|side| side as usize), stride);
        Axes::Fixed { batch: args.batch_size as usize, size }
    };
    let outputs = if args.raw { Outputs::Logits } else { Outputs::Decoded };
    let precision = if args.half { FloatFormat::F16 } else { FloatFormat::F32 };
    OnnxOptions { axes, outputs, opset: args.opset, precision }
}

fn print_interface(
    output: &Output,
    summary: &OnnxSummary,
    options: &OnnxOptions,
    network: &Architecture,
) -> Result<()> {
    let stride = network.max_stride();
    let any_size = match options.axes {
        Axes::Dynamic => format!("; height and width are multiples of {stride}"),
        Axes::Fixed { .. } => String::new(),
    };
    for input in &summary.inputs {
        output.line(format!("Input:  {input}, RGB from 0 to 1{any_size}"))?;
    }
    let head = network.head();
    let meaning = match (options.outputs, head.family(), head.selection()) {
        (Outputs::Logits, ..) => "logits",
        (Outputs::Decoded, Family::Yolov5, _) => {
            "centre x, centre y, width, height in pixels, objectness, class scores"
        }
        (_, _, Selection::Best) => "left, top, right, bottom in pixels, score, class",
        _ => "centre x, centre y, width, height in pixels, class scores",
    };
    for value in &summary.outputs {
        output.line(format!("Output: {value}: {meaning}"))?;
    }
    Ok(())
}

fn print_use(output: &Output, out: &Path, options: &OnnxOptions, network: &Architecture) -> Result<()> {
    let out = out.display();
    output.line(format!(
        "Check:  python -c \"import sys, onnx; onnx.checker.check_model(sys.argv[1], full_check=True)\" {out}"
    ))?;
    if network.family() == Family::Ultralytics {
        return match options.outputs {
            Outputs::Decoded => output.line(format!("ultralytics: yolo predict model={out}")),
            Outputs::Logits => Ok(()),
        };
    }
    // YOLOv5's detect.py reads boxes, and one image at a time.
    let half = if options.precision == FloatFormat::F16 { " --half" } else { "" };
    let flags = match (options.outputs, options.axes) {
        (Outputs::Decoded, Axes::Dynamic) => String::new(),
        (Outputs::Decoded, Axes::Fixed { batch: 1, size: [height, width] }) => {
            format!(" --imgsz {height} {width}")
        }
        _ => return Ok(()),
    };
    output.line(format!("YOLOv5: python detect.py --weights {out}{flags}{half}"))
}
