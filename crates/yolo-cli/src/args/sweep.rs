//! Flags of `sweep`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use yolo_prune::{Method, Rank, Repair};

use super::named::named;
use super::pruning::{METHODS, RANKS, REPAIRS};
use super::shared::{ComputeArgs, DatasetArgs, ResumeArgs, RunArgs, ThresholdArgs, runs_in, usual};

/// More points than anybody waits for.
const MAX_AMOUNTS: usize = 1000;

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("data", usual("demo")))]
#[command(mut_arg("project", runs_in("runs/sweep")))]
#[command(after_help = "\
Examples:
  yolo-cli sweep --weights yolov5n.pt --data coco128.yaml
  yolo-cli sweep --weights best.pt --data mine.yaml --methods global --amounts 0.5:0.9:0.05
  yolo-cli sweep --weights best.pt --data mine.yaml --methods wanda --calibration images/train
  yolo-cli sweep --resume runs/sweep/exp

Measures the dense network, and then the network pruned by every method and amount, without fine-tuning. The run's \
folder holds sweep.csv, results.json and report.html with the curves. `--resume` measures the points \
that an interrupted run does not have yet.")]
pub(crate) struct SweepArgs {
    /// Checkpoint, or the name of a released one; `demo` is the small network that comes with the program.
    #[arg(long, default_value = "demo")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) dataset: DatasetArgs,
    /// Which weights go.
    #[arg(long, value_delimiter = ',', default_value = "layer,global", num_args = 1.., value_parser = named(&METHODS))]
    pub(crate) methods: Vec<Method>,
    /// Fractions of the convolution weights that go, from 0 to below 1: a list, or FROM:TO:STEP.
    #[arg(long, default_value = "0.1:0.9:0.1", value_parser = amounts)]
    pub(crate) amounts: Amounts,
    /// Images that methods with statistics or gradients look at; no labels are read.
    #[arg(long, value_name = "IMAGE_DIR")]
    pub(crate) calibration: Option<PathBuf>,
    /// Whose magnitudes are compared [default: fused; unfused by reconstruction].
    #[arg(long, value_parser = named(&RANKS))]
    pub(crate) rank: Option<Rank>,
    /// What happens to the weights that stay, in place of what each method does.
    #[arg(long, value_parser = named(&REPAIRS))]
    pub(crate) repair: Option<Repair>,
    /// Convolutions to leave alone, by name: model.24 (with all below it), '*.cv1'. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Images per batch.
    #[arg(long, visible_alias = "batch", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch_size: u32,
    /// Long side of the images in pixels [default: 640, 256 for the demo].
    #[arg(long, visible_aliases = ["img", "img-size"], value_parser = clap::value_parser!(u32).range(32..=8192))]
    pub(crate) imgsz: Option<u32>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) thresholds: ThresholdArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) resume: ResumeArgs,
    /// Print results.json, alone, on stdout.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
    /// The command that began the run.
    #[arg(skip)]
    #[serde(default)]
    pub(crate) command: String,
}

/// Fractions by rising size, each once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Amounts(pub(crate) Vec<f64>);

/// `0.3,0.5` or `0.1:0.9:0.1` or both.
fn amounts(text: &str) -> Result<Amounts, String> {
    let mut all = Vec::new();
    for item in text.split(',') {
        match item.split(':').collect::<Vec<_>>().as_slice() {
            [one] => all.push(fraction(one)?),
            [from, to, step] => {
                let (from, to, step) = (fraction(from)?, fraction(to)?, fraction(step)?);
                if step <= 0.0 || to < from || (to - from) / step >= MAX_AMOUNTS as f64 {
                    return Err(format!("{item:?} must rise from FROM to TO in at most {MAX_AMOUNTS} steps"));
                }
                // A last step that misses TO by rounding counts.
                let steps = ((to - from) / step + 1e-6) as usize;
                let amount = |i: usize| (from + i as f64 * step) * 1e9;
                all.extend((0..=steps).map(|i| amount(i).round() / 1e9));
            }
            _ => return Err(format!("{item:?} is neither a number nor FROM:TO:STEP")),
        }
    }
    all.sort_by(f64::total_cmp);
    all.dedup();
    Ok(Amounts(all))
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(amount) if (0.0..1.0).contains(&amount) => Ok(amount),
        _ => Err(format!("{text:?} is not a number from 0 to below 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_exact() -> Result<(), String> {
        assert_eq!(amounts("0.1:0.9:0.1")?.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        assert_eq!(amounts("0.5, 0.3,0.5")?.0, [0.3, 0.5]);
        assert_eq!(amounts("0:0.25:0.1,0.7")?.0, [0.0, 0.1, 0.2, 0.7]);
        assert_eq!(amounts("0.3:0.3:0.1")?.0, [0.3]);
        for bad in ["", "1", "-0.1", "nan", "0.1:0.9", "0.9:0.1:0.1", "0.1:0.9:0", "0:0.9:0.0001", "a:b:c"] {
            assert!(amounts(bad).is_err(), "{bad}");
        }
        Ok(())
    }
}
