//! `data check`: what is in a data set, and whether it can be trained on.

use std::collections::HashSet;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use yolo_data::convert::splits_of;
use yolo_data::dataset::check::{Finding, Level, findings};
use yolo_data::dataset::{Dataset, Problem, Split, Statistics};
use yolo_report::dataset::{Part, ShownClasses, classes, counts};
use yolo_report::results::SCHEMA;

use super::mosaic;
use crate::args::DataCheckArgs;
use crate::console::{Output, width};
use crate::measure::scan_split;
use crate::resolve::data_config;

/// Classes that have a line each without `--verbose`.
const SHOWN_CLASSES: usize = 20;
/// Problems that are shown one by one without `--verbose`.
const SHOWN_PROBLEMS: usize = 10;

/// Opens every split, prints counts and problems, and fails where training would.
pub(crate) fn run(args: &DataCheckArgs) -> Result<()> {
    let output = Output::new(args.json);
    // Before anything is scanned: a name that is none is refused at once.
    args.mosaic.as_deref().map(mosaic::encoding).transpose()?;
    let config = data_config(&args.data)?;
    let map = args.categories.read()?;
    let mut found = Vec::new();
    let mut opened: Vec<(Split, Dataset)> = Vec::new();
    for split in wanted(args, splits_of(&config)) {
        match scan_split(&config, split, args.no_cache, map.as_ref()) {
            Ok(dataset) => opened.push((split, dataset)),
            Err(error) => {
                let reason = format!("{split}: {error:#}");
                // Training does not open the test split.
                let is_needed = split != Split::Test || args.split.contains(&split);
                found.push(if is_needed { Finding::error(reason) } else { Finding::warning(reason) });
            }
        }
    }
    let counted = opened.iter().map(|(_, dataset)| Statistics::of(dataset, args.imgsz as usize));
    let counted: Vec<Statistics> = counted.collect();
    let parts: Vec<Part> = opened
        .iter()
        .zip(&counted)
        .map(|((split, dataset), statistics)| Part { split: *split, dataset, statistics })
        .collect();
    let triples: Vec<_> = parts.iter().map(|part| (part.split, part.dataset, part.statistics)).collect();
    found.extend(findings(&triples, args.imgsz as usize));

    output.line(format!("{}: {} classes", config.file.display(), config.num_classes()))?;
    let shown = match args.verbose {
        true => ShownClasses::All,
        false => ShownClasses::First { count: SHOWN_CLASSES, hint: "--verbose shows all" },
    };
    for line in counts(&parts, args.imgsz).into_iter().chain(classes(&parts, shown, width())) {
        output.line(line)?;
    }
    problems(&parts, args.verbose, &output)?;
    for finding in &found {
        let name = if finding.level == Level::Error { "error" } else { "warning" };
        output.line(format!("{name:<8} {}", finding.reason))?;
    }
    if let (Some(file), Some(first)) = (&args.mosaic, parts.first()) {
        mosaic::write(first.dataset, file)?;
        output.line(format!("Picture of {}: {}", first.split, file.display()))?;
    }
    let errors = found.iter().filter(|finding| finding.level == Level::Error).count();
    let json = as_json(&config.file, &parts, &found);
    output.json(&json)?;
    match errors {
        0 => output.line("Ready to train."),
        _ => bail!(
            "{}: {errors} of these would stop training; correct what is marked `error`",
            args.data.display()
        ),
    }
}

/// The splits that were asked for, or those that there are.
fn wanted(args: &DataCheckArgs, all: Vec<Split>) -> Vec<Split> {
    if args.split.is_empty() { all } else { args.split.clone() }
}

/// The problems of all splits with their files and lines, images that were left out first.
fn problems(parts: &[Part], verbose: bool, output: &Output) -> Result<()> {
    let mut all: Vec<&Problem> = Vec::new();
    // Splits may share files.
    let mut seen = HashSet::new();
    let of_parts = parts.iter().flat_map(|part| &part.dataset.report.problems);
    all.extend(of_parts.filter(|problem| seen.insert((&problem.path, problem.line, &problem.reason))));
    if all.is_empty() {
        return output.line("No problems in files.");
    }
    all.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    output.line(format!("Problems in files: {}", all.len()))?;
    let shown = if verbose { all.len() } else { SHOWN_PROBLEMS.min(all.len()) };
    for problem in &all[..shown] {
        output.line(format!("  {problem}"))?;
    }
    if shown < all.len() {
        output.line(format!("  and {} more; --verbose shows all", all.len() - shown))?;
    }
    output.line("")
}

fn as_json(file: &std::path::Path, parts: &[Part], found: &[Finding]) -> Value {
    let part = |part: &Part| {
        let report = &part.dataset.report;
        let value = json!({
            "source": part.dataset.source,
            "labelled": report.found,
            "without_label_file": report.missing,
            "empty": report.empty,
            "corrupt": report.corrupt,
            "statistics": part.statistics,
            "problems": report.problems,
        });
        (part.split.key().to_owned(), value)
    };
    json!({
        "schema": SCHEMA,
        "data": file,
        "splits": parts.iter().map(part).collect::<serde_json::Map<_, _>>(),
        "findings": found,
    })
}
