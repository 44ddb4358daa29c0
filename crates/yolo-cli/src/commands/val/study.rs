//! `--task study`: mAP and time of every network at many image sizes, as text files and as a plot.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use yolo_measure::figures::{Measurement, study_point};
use yolo_report::format::general;
use yolo_report::json_layout::pretty;
use yolo_report::plots::{StudyLine, study};
use yolo_report::results::{SCHEMA, Study, StudyNetwork, StudyPoint, Times};

use super::{Networks, Session, options, write_plot};

/// Sizes in pixels where none are asked for: from 256 to 1536.
const SIZES: std::ops::RangeInclusive<u32> = 256..=1536;
const STEP: usize = 128;

/// Measures `groups`, each on its own, and writes what YOLOv5 does, but for the archive of the text files.
pub(super) fn run(session: &Session, groups: &[Networks]) -> Result<()> {
    let args = session.args;
    let sizes =
        if args.study_sizes.is_empty() { SIZES.step_by(STEP).collect() } else { args.study_sizes.clone() };
    let titles = ["Size", "P", "R", "mAP50", "mAP50-95", "ms/image"];
    session
        .output
        .line(titles.iter().fold(format!("{:>22}", "Weights"), |line, t| format!("{line}{t:>11}")))?;
    let mut lines = Vec::new();
    for networks in groups {
        let mut points = Vec::new();
        for &size in &sizes {
            let point = measure(session, networks, size)?;
            session.output.line(row(&networks.stem(), &point))?;
            points.push(point);
        }
        lines.push(StudyNetwork { weights: networks.name(), points });
    }
    let names = unique(groups.iter().map(Networks::stem));
    let data = args.dataset.data.file_stem().unwrap_or_default().to_string_lossy();
    for (name, line) in names.iter().zip(&lines) {
        let text: String = line.points.iter().map(text_row).collect();
        session.run.write(&format!("study_{data}_{name}.txt"), text.as_bytes())?;
    }
    if !args.no_plots {
        let drawn = names.iter().zip(&lines).map(|(name, line)| StudyLine {
            name: name.clone(),
            points: line.points.iter().map(|p| (p.imgsz, p.speed_ms.inference, p.map)).collect(),
        });
        let is_coco = session.evaluation_set.dataset.class_names.len() == 80 && data.starts_with("coco");
        write_plot(&session.run, "study", &study(&drawn.collect::<Vec<_>>(), is_coco))?;
    }
    let results = Study { schema: SCHEMA, study: lines };
    session.run.write("results.json", pretty(&results)?.as_bytes())?;
    session.output.line(format!("Results saved to {}", session.run.path().display()))?;
    session.output.json(&results)
}

fn measure(session: &Session, networks: &Networks, size: u32) -> Result<StudyPoint> {
    let options = options(session.args, networks, size);
    // Compiled anew, so that the kernels are those that are fastest at this size.
    let detector = networks.detector(&session.backend)?;
    let Measurement { validation, coco, .. } = session
        .evaluation_set
        .measure_detector(&detector, &session.backend, &options, |_| {})
        .with_context(|| networks.name())?;
    let coco = coco.filter(|_| session.args.save_json || super::is_coco_yaml(session.args));
    Ok(study_point(&validation, options.image_size, coco))
}

/// A line of the table.
fn row(name: &str, point: &StudyPoint) -> String {
    let figures = [point.precision, point.recall, point.map50, point.map, point.speed_ms.inference];
    let start = format!("{name:>22}{:>11}", point.imgsz);
    figures.iter().fold(start, |line, figure| format!("{line}{:>11}", general(*figure, 3)))
}

/// A line of YOLOv5's file: P, R, mAP50, mAP50-95, three losses, which are not measured here as there, and three times.
fn text_row(point: &StudyPoint) -> String {
    let Times { preprocess, inference, nms } = point.speed_ms;
    let quality = [point.precision, point.recall, point.map50, point.map];
    let numbers = quality.into_iter().chain([0.0; 3]).chain([preprocess, inference, nms]);
    let columns: Vec<String> = numbers.map(|number| format!("{:>10}", general(number, 4))).collect();
    columns.join(" ") + "\n"
}

/// Names that files can have beside each other: repeated ones are numbered.
fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let numbered = |name: String| {
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}{count}") }
    };
    names.map(numbered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_numpys_savetxt() {
        let speed_ms = Times { preprocess: 0.5, inference: 12.345_6, nms: 1.0 };
        let point =
            StudyPoint { imgsz: 640, precision: 0.512_345, recall: 0.4, map50: 0.5, map: 0.327_49, speed_ms };
        let expected = "    0.5123        0.4        0.5     0.3275          0          0          0        0.5      12.35          1\n";
        assert_eq!(text_row(&point), expected);
    }

    #[test]
    fn networks_of_the_same_name_have_files_of_their_own() {
        let names = ["best", "last", "best", "best"].map(str::to_owned);
        assert_eq!(unique(names.into_iter()), ["best", "last", "best2", "best3"]);
    }
}
