//! `export --format pt` and `--format state-dict`: files for YOLOv5 and PyTorch.

use std::path::Path;

use anyhow::Result;
use yolo_measure::figures::model_figures;
use yolo_model::architecture::YamlFit;
use yolo_model::weights::FloatFormat;
use yolo_model::{Family, TorchOptions, TorchSummary};
use yolo_report::format::bytes;
use yolo_report::network::summary_line;
use yolo_report::results::SCHEMA;

use crate::args::{ExportArgs, ExportFormat};
use crate::console::Output;
use crate::resolve::Weights;
use crate::torch_file::{hyp_of, warn};

/// Writes the file, and prints what is in it and how to use it.
pub(crate) fn run(args: &ExportArgs, weights: &Weights, out: &Path, output: &Output) -> Result<()> {
    let checkpoint = &weights.checkpoint;
    let family = checkpoint.architecture.family();
    let lossless = FloatFormat::lossless_for(&checkpoint.weights);
    let options = TorchOptions {
        format: if args.half { FloatFormat::F16 } else { lossless },
        masks: args.with_masks,
        hyp: hyp_of(&weights.path),
    };
    let is_network = args.format == ExportFormat::Pt;
    let written = if is_network {
        checkpoint.save_torch(out, &options)?
    } else {
        checkpoint.save_state_dict(out, &options)?
    };
    let size = std::fs::metadata(out)?.len();
    output.line(summary_line(&checkpoint.architecture))?;
    output.line(format!(
        "Saved {} ({}): {}, {} precision, {} tensors{}",
        out.display(),
        bytes(size),
        if is_network { format!("network for {}", family.package()) } else { "state dict".to_owned() },
        if written.format == FloatFormat::F16 { "half" } else { "single" },
        written.tensors,
        if written.masked > 0 { format!(", {} of them masks", written.masked) } else { String::new() },
    ))?;
    if is_network {
        print_use(&written, out, family, output)?;
    } else {
        output.line(format!(
            "PyTorch: model.load_state_dict(torch.load({:?}, weights_only=True))",
            out.display().to_string()
        ))?;
    }
    warn(checkpoint, &written)?;
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "file": out.display().to_string(),
        "format": if is_network { "pt" } else { "state-dict" },
        "half": written.format == FloatFormat::F16,
        "tensors": written.tensors,
        "masks": written.masked,
        "yaml": written.yaml.as_ref().map(yaml_name),
        "model": model_figures(checkpoint, out, size)?,
    }))
}

fn print_use(written: &TorchSummary, out: &Path, family: Family, output: &Output) -> Result<()> {
    if let Some(fit) = &written.yaml {
        output.line(format!("Yaml inside: {}", yaml_name(fit)))?;
    }
    output.line(match family {
        Family::Yolov5 => format!("YOLOv5: python detect.py --weights {}", out.display()),
        Family::Ultralytics => format!("ultralytics: yolo predict model={}", out.display()),
    })
}

fn yaml_name(fit: &YamlFit) -> String {
    match fit {
        YamlFit::Stock(name) => format!("{name}.yaml"),
        YamlFit::Exact => "these widths".to_owned(),
        YamlFit::Unrounded => "these widths, with channel_multiple 1".to_owned(),
        YamlFit::Other => "other widths, as no yaml can say these".to_owned(),
    }
}
