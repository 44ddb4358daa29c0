//! `report`: runs of any time side by side, on one page.

use anyhow::{Context, Result, anyhow};
use yolo_report::overview::{Page, SourceError, lines, read_all, render};
use yolo_report::results::SCHEMA;

use crate::args::ReportArgs;
use crate::clock::utc_minutes;
use crate::console::Output;
use crate::run_dir::command_line;
use yolo_data::nearby::suggestion;

/// Reads the results, prints a table, and writes the page.
pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let output = Output::new(args.json);
    let entries = read_all(&args.sources).map_err(|error| match &error {
        SourceError::NotFound(path) => anyhow!("{error}{}", suggestion(path)),
        _ => error.into(),
    })?;
    for line in lines(&entries) {
        output.line(line)?;
    }
    let page = render(&Page {
        entries: &entries,
        latency: &args.latency,
        command: command_line(),
        created: utc_minutes(),
    });
    yolo_files::write(&args.out, page).with_context(|| {
        format!("{}: cannot be written; choose another place with --out", args.out.display())
    })?;
    output.line(format!("Report: {}", args.out.display()))?;
    output.json(&serde_json::json!({"schema": SCHEMA, "networks": entries, "report": args.out}))
}
