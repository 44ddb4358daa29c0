//! `report`: runs of any time side by side, on one page.

use anyhow::{Context, Result};

use super::prune_finetune::command_line;
use crate::args::ReportArgs;
use crate::console::Output;
use crate::format::utc_now;
use crate::overview::{Page, lines, read_all, render};
use crate::results::SCHEMA;

/// Reads the results, prints a table, and writes the page.
pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let output = Output::new(args.json);
    let entries = read_all(&args.sources)?;
    for line in lines(&entries) {
        output.line(line)?;
    }
    let page = render(&Page {
        entries: &entries,
        latency: &args.latency,
        command: command_line(),
        created: utc_now(),
    });
    yolo_files::write(&args.out, page).with_context(|| {
        format!("{}: cannot be written; choose another place with --out", args.out.display())
    })?;
    output.line(format!("Report: {}", args.out.display()))?;
    output.json(&serde_json::json!({"schema": SCHEMA, "networks": entries, "report": args.out}))
}
