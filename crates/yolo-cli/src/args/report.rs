//! Flags of `report`.

use std::path::PathBuf;

use clap::Args;
use yolo_report::verdict::StockTime;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli report runs/val/exp runs/val/exp2
  yolo-cli report before=old/results.json after=runs/val/exp --out compared.html
  yolo-cli report runs/prune-finetune/exp runs/sweep/exp
  yolo-cli report runs/val                                  # every run in it
  yolo-cli report runs/val --latency yolov5n=25.7,yolov5s=85.3

One file that needs no other: a table, precision-recall curves, every class, and mAP over file size, arithmetic \
and time, with the published line of dense networks behind. The first network is the one that the others are compared with.")]
pub(crate) struct ReportArgs {
    /// Results of val or sweep (results.json), of prune-finetune (summary.json), or folders with runs; NAME=PATH gives
    /// one a name.
    #[arg(required = true, value_name = "RUN_OR_RESULTS")]
    pub(crate) sources: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Milliseconds of released networks on this machine, which make the line of dense networks in time.
    #[arg(long, value_name = "NAME=MS", value_delimiter = ',')]
    pub(crate) latency: Vec<StockTime>,
    /// Print the table as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
