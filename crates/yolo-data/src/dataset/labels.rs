//! YOLO label files: one object per row, as fractions of the image's width and height.
//!
//! Each row is either a box, `class cx cy w h`, or an outline, `class x1 y1 x2 y2 x3 y3 …`, whose bounding box is used.
//! (YOLOv5 decides once per file, and misreads a box in a file with outlines.)
//! A bad row rejects the whole image, as in YOLOv5.

use std::ops::RangeInclusive;
use std::path::Path;

use yolo_eval::{Convention, Cxcywh, Xyxy};

use super::{Label, Problem};

/// A coordinate may be this far above 1, because of rounding, and is then read as 1.
pub const COORDINATE_TOLERANCE: f64 = 1e-6;

/// By [`Convention::Ultralytics`] a coordinate may be this far below 0 or above 1, and stays there.
pub const MARGIN: f64 = 0.01;

/// Number of bad rows of one file that are reported one by one; the others are counted.
const MAX_REPORTED_ROWS: usize = 10;

/// The content of a label file without bad rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedLabels {
    /// The objects, in the file's order unless rows were repeated (see [`parse`]).
    pub labels: Vec<Label>,
    /// Repeated rows and boxes without area.
    pub warnings: Vec<Problem>,
    /// The highest class index, with the first line that has it.
    pub highest_class: Option<(u32, usize)>,
}

/// Parses the content of a label file; `path` is only used in messages.
///
/// Values must be finite and not negative, and coordinates at most 1 (within [`COORDINATE_TOLERANCE`]); the caller checks
/// that class indices are below the number of classes. If rows are repeated, one of each is kept and, as in YOLOv5, the
/// kept rows are sorted by class, centre, width and height. Two outlines with the same class and bounding box count as
/// repeated.
///
/// # Errors
/// The bad rows, each with its line, the value and the fix. Never empty.
pub fn parse(path: &Path, content: &[u8]) -> Result<ParsedLabels, Vec<Problem>> {
    parse_by(path, content, Convention::Yolov5)
}

/// [`parse`] by the rules of `convention`. By [`Convention::Ultralytics`], coordinates are from -0.01 to 1.01, and widths
/// and heights from 0; a file has boxes or outlines, not both.
///
/// # Errors
/// As [`parse`].
pub fn parse_by(path: &Path, content: &[u8], convention: Convention) -> Result<ParsedLabels, Vec<Problem>> {
    if content.starts_with(&[0xFF, 0xFE]) || content.starts_with(&[0xFE, 0xFF]) {
        return Err(vec![Problem::rejected(path, Some(1), "the file is UTF-16: save it as UTF-8")]);
    }
    let text = String::from_utf8_lossy(content);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut rows = vec![];
    let mut problems = vec![];
    let mut n_bad = 0;
    for (line, row) in numbered_lines(text).filter(|(_, row)| !row.trim().is_empty()) {
        match parse_row(row, convention) {
            Ok(label) => rows.push((line, label)),
            Err(reason) => {
                n_bad += 1;
                if n_bad <= MAX_REPORTED_ROWS {
                    problems.push(Problem::rejected(path, Some(line), reason));
                }
            }
        }
    }
    if n_bad > MAX_REPORTED_ROWS {
        let reason = format!("{} more bad rows in this file", n_bad - MAX_REPORTED_ROWS);
        problems.push(Problem::rejected(path, None, reason));
    }
    if convention == Convention::Ultralytics {
        problems.extend(mixed_rows(path, &rows));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(collect(path, rows))
}

/// Lines with their number from 1; ends in `\n`, `\r\n` or a lone `\r`.
pub(super) fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lone_returns = !text.contains('\n');
    let ends = move |c: char| c == '\n' || (lone_returns && c == '\r');
    text.split(ends).enumerate().map(|(i, line)| (i + 1, line.strip_suffix('\r').unwrap_or(line)))
}

/// What is wrong with a file that has boxes and outlines, for a package that reads one kind per file.
fn mixed_rows(path: &Path, rows: &[(usize, Label)]) -> Option<Problem> {
    let is_box = |(_, label): &&(usize, Label)| label.polygon_norm.is_empty();
    let outlines = rows.iter().filter(|row| !is_box(row)).count();
    let (line, _) = rows.iter().find(is_box).filter(|_| outlines > 0)?;
    let reason = "a box in a file with outlines, which the package ultralytics does not read: write all objects as boxes, or \
                  all as outlines";
    Some(Problem::rejected(path, Some(*line), reason))
}

/// What a column may be.
#[derive(Clone, Copy)]
enum Column {
    Centre,
    Size,
}

/// The values that are accepted; what is outside of 0 to 1 is clipped by YOLOv5's convention.
fn accepted(column: Column, convention: Convention) -> RangeInclusive<f64> {
    match (convention, column) {
        (Convention::Yolov5, _) => 0.0..=1.0 + COORDINATE_TOLERANCE,
        (Convention::Ultralytics, Column::Centre) => -MARGIN..=1.0 + MARGIN,
        (Convention::Ultralytics, Column::Size) => 0.0..=1.0 + MARGIN,
    }
}

fn clipped(value: f64, convention: Convention) -> f64 {
    if convention == Convention::Yolov5 { value.min(1.0) } else { value }
}

fn parse_row(row: &str, convention: Convention) -> Result<Label, String> {
    let columns: Vec<&str> = row.split_whitespace().collect();
    check_column_count(&columns)?;
    let class = parse_class(columns[0])?;
    let numbers = columns[1..].iter().enumerate();
    if let [cx, cy, w, h] = columns[1..] {
        let values = [cx, cy, w, h].into_iter().enumerate().map(|(i, text)| {
            let column = if i < 2 { Column::Centre } else { Column::Size };
            parse_coordinate(i + 2, text, accepted(column, convention), convention)
        });
        let values: Vec<f32> = values.collect::<Result<_, _>>()?;
        let bbox_norm = Cxcywh { cx: values[0], cy: values[1], w: values[2], h: values[3] };
        return Ok(Label { class, bbox_norm, polygon_norm: vec![] });
    }
    let values: Vec<f32> = numbers
        .map(|(i, text)| parse_number(i + 2, text).map(|value| value as f32 + 0.0))
        .collect::<Result<_, _>>()?;
    let polygon_norm: Vec<[f32; 2]> = values.as_chunks().0.to_vec();
    Ok(Label { class, bbox_norm: outline_box(&polygon_norm, convention)?, polygon_norm })
}

fn check_column_count(columns: &[&str]) -> Result<(), String> {
    let n = columns.len();
    let expected =
        "a box is `class cx cy w h` (5 columns), an outline is `class x1 y1 x2 y2 x3 y3 …` (7, 9, 11 …)";
    match n {
        5 => Ok(()),
        7.. if n % 2 == 1 => Ok(()),
        6 => {
            Err(format!("6 columns; {expected}. If the last one ({}) is a confidence, remove it", columns[5]))
        }
        _ if n == 1 && columns[0].matches(',').count() >= 4 => {
            Err(format!("commas between the values; {expected}: separate them by spaces"))
        }
        _ => Err(format!("{n} columns; {expected}. Correct or remove the row")),
    }
}

fn parse_class(text: &str) -> Result<u32, String> {
    let fix = "the first column must be a class index (0, 1, 2, …): correct it or remove the row";
    let value: f64 = text.parse().map_err(|_| format!("class `{text}` is not a number; {fix}"))?;
    if value < 0.0 {
        return Err(format!("class {text} is negative; {fix}"));
    }
    // numpy writes integers as floats (`3.0`, `3e+00`).
    if value.fract() != 0.0 || !value.is_finite() || value > f64::from(u32::MAX) {
        return Err(format!("class {text} is not a whole number in range; {fix}"));
    }
    Ok(value as u32)
}

const FRACTIONS: &str = "coordinates are fractions of the image's width and height, from 0 to 1";

fn parse_number(column: usize, text: &str) -> Result<f64, String> {
    let fix = FRACTIONS;
    let value: f64 =
        text.parse().map_err(|_| format!("column {column}: `{text}` is not a number; {fix}: correct it"))?;
    if !value.is_finite() {
        return Err(format!("column {column}: {text} is not finite; {fix}: correct it or remove the row"));
    }
    Ok(value)
}

fn parse_coordinate(
    column: usize,
    text: &str,
    accepted: RangeInclusive<f64>,
    convention: Convention,
) -> Result<f32, String> {
    let fix = FRACTIONS;
    let value = parse_number(column, text)?;
    if value < *accepted.start() {
        return Err(format!("column {column}: {text} is negative; {fix}: clip the box to the image"));
    }
    if value > *accepted.end() {
        return Err(format!(
            "column {column}: {text} is above 1; {fix}: divide pixels by the image size, or clip the box to the image"
        ));
    }
    // Adding 0 turns -0 into 0, so that equal rows have equal bits.
    Ok(clipped(value, convention) as f32 + 0.0)
}

/// The box around an outline. As in YOLOv5, points may be outside of the image as long as centre, width and height of the
/// box are fractions from 0 to 1.
fn outline_box(polygon: &[[f32; 2]], convention: Convention) -> Result<Cxcywh, String> {
    let mut corners = Xyxy::new(f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &[x, y] in polygon {
        corners.x1 = corners.x1.min(x);
        corners.y1 = corners.y1.min(y);
        corners.x2 = corners.x2.max(x);
        corners.y2 = corners.y2.max(y);
    }
    let Cxcywh { cx, cy, w, h } = corners.into();
    let (centre, size) = (Column::Centre, Column::Size);
    let values =
        [("centre x", cx, centre), ("centre y", cy, centre), ("width", w, size), ("height", h, size)];
    let is_outside = |value: f32, column| {
        let accepted = accepted(column, convention);
        value < *accepted.start() as f32 || value > *accepted.end() as f32
    };
    if let Some((name, value, _)) = values.into_iter().find(|(_, value, column)| is_outside(*value, *column))
    {
        return Err(format!(
            "the box around the outline has the {name} {value}; it must be from 0 to 1: divide pixels by the image \
             size, or clip the outline to the image"
        ));
    }
    let [cx, cy, w, h] = [cx, cy, w, h].map(|value| clipped(f64::from(value), convention) as f32);
    Ok(Cxcywh { cx, cy, w, h })
}

fn collect(path: &Path, mut rows: Vec<(usize, Label)>) -> ParsedLabels {
    let mut warnings = vec![];
    let mut highest_class: Option<(u32, usize)> = None;
    for (line, label) in &rows {
        if highest_class.is_none_or(|(class, _)| label.class > class) {
            highest_class = Some((label.class, *line));
        }
    }
    let flat = |label: &Label| label.bbox_norm.w <= 0.0 || label.bbox_norm.h <= 0.0;
    if let Some((line, label)) = rows.iter().find(|(_, label)| flat(label)) {
        let (w, h) = (label.bbox_norm.w, label.bbox_norm.h);
        let count = rows.iter().filter(|(_, label)| flat(label)).count();
        let reason =
            format!("box without area ({w} x {h}), {count} in this file; it is kept, but should be removed");
        warnings.push(Problem::warning(path, Some(*line), reason));
    }
    if let Some((n_repeated, first)) = remove_repeated(&mut rows) {
        let reason = format!("{n_repeated} repeated row(s) left out; remove them from the file");
        warnings.push(Problem::warning(path, Some(first), reason));
    }
    ParsedLabels { labels: rows.into_iter().map(|(_, label)| label).collect(), warnings, highest_class }
}

/// Removes repeated rows and returns their number and the line of the first; sorts only if there were any.
fn remove_repeated(rows: &mut Vec<(usize, Label)>) -> Option<(usize, usize)> {
    // All values are finite: so changed, the order of the bits is the order of the numbers.
    let ordered = |value: f32| match value.to_bits() {
        bits if value.is_sign_negative() => !bits,
        bits => bits | 1 << 31,
    };
    let key = |label: &Label| {
        let Cxcywh { cx, cy, w, h } = label.bbox_norm;
        (label.class, [cx, cy, w, h].map(ordered))
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| (key(&rows[i].1), i));
    let repeats = |pair: &[usize]| key(&rows[pair[0]].1) == key(&rows[pair[1]].1);
    let repeated: Vec<usize> =
        order.windows(2).filter(|pair| repeats(pair)).map(|pair| rows[pair[1]].0).collect();
    let first = *repeated.iter().min()?;
    rows.sort_by_key(|(line, label)| (key(label), *line));
    rows.dedup_by_key(|(_, label)| key(label));
    Some((repeated.len(), first))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn ok(text: &str) -> ParsedLabels {
        parse(Path::new("a.txt"), text.as_bytes()).unwrap()
    }

    fn reasons(text: &str) -> Vec<String> {
        parse(Path::new("a.txt"), text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_are_boxes_or_outlines_one_by_one() {
        let parsed = ok("2 0.5 0.25 0.5 0.125\n0 0.25 0.5 0.75 0.5 0.5 1.0\n");
        assert_eq!(parsed.labels[0].bbox_norm, Cxcywh { cx: 0.5, cy: 0.25, w: 0.5, h: 0.125 });
        assert!(parsed.labels[0].polygon_norm.is_empty());
        assert_eq!(parsed.labels[1].bbox_norm, Cxcywh { cx: 0.5, cy: 0.75, w: 0.5, h: 0.5 });
        assert_eq!(parsed.labels[1].polygon_norm, [[0.25, 0.5], [0.75, 0.5], [0.5, 1.0]]);
        assert_eq!(parsed.highest_class, Some((2, 1)));
        assert!(parsed.warnings.is_empty());
    }

    #[test]
    fn an_outline_may_leave_the_image_if_its_box_has_a_centre_and_a_size_inside() {
        let parsed = ok("0 -0.01 0.2 0.5 0.2 0.5 0.6\n");
        let Cxcywh { cx, w, .. } = parsed.labels[0].bbox_norm;
        assert!((cx - 0.245).abs() < 1e-6 && (w - 0.51).abs() < 1e-6, "{cx} {w}");
        assert_eq!(parsed.labels[0].polygon_norm[0], [-0.01, 0.2]);
        for (row, expected) in
            [("0 -0.3 0.2 0.1 0.2 0.1 0.6", "centre x -0.1"), ("0 -0.1 0 0.5 0 1 1", "width 1.1")]
        {
            assert!(reasons(row)[0].contains(expected), "{:?}", reasons(row));
        }
    }

    #[test]
    fn blank_lines_byte_order_mark_and_any_line_end_are_accepted() {
        let text = "\u{feff}1 .1 .2 .3 .4\r\n\r\n  3.0 .2 .2 .3 .4  \r\n";
        assert_eq!(ok(text).highest_class, Some((3, 3)));
        assert_eq!(ok("1 .1 .2 .3 .4\r2 .1 .2 .3 .4").labels.len(), 2);
        assert_eq!(ok("").labels.len(), 0);
        assert_eq!(ok(" \n\n").labels.len(), 0);
    }

    #[test]
    fn each_bad_row_gives_line_value_and_fix() {
        let cases = [
            ("0 .1 .2 .3", "4 columns"),
            ("0 .1 .2 .3 .4 0.87", "confidence"),
            ("0 .1 .2 .3 .4 .5 .6 .7", "8 columns"),
            ("0,.1,.2,.3,.4", "spaces"),
            ("cat .1 .2 .3 .4", "`cat` is not a number"),
            ("0.5 .1 .2 .3 .4", "class 0.5 is not a whole number"),
            ("-1 .1 .2 .3 .4", "class -1 is negative"),
            ("inf .1 .2 .3 .4", "class inf"),
            ("nan .1 .2 .3 .4", "class nan"),
            ("99999999999 .1 .2 .3 .4", "class 99999999999"),
            ("0 .1 x .3 .4", "column 3: `x`"),
            ("0 .1 nan .3 .4", "column 3: nan is not finite"),
            ("0 .1 .2 inf .4", "column 4: inf"),
            ("0 .1 .2 .3 -0.25", "column 5: -0.25 is negative"),
            ("0 320 .2 .3 .4", "column 2: 320 is above 1"),
            ("0 1.00001 .2 .3 .4", "1.00001 is above 1"),
        ];
        for (row, expected) in cases {
            let found = reasons(&format!("0 .5 .5 .5 .5\n{row}\n"));
            assert_eq!(found.len(), 1, "{row}");
            assert!(found[0].starts_with("a.txt:2: ") && found[0].contains(expected), "{}", found[0]);
        }
        assert!(reasons("\u{fffd}\0 1 2 3 4")[0].starts_with("a.txt:1"));
        assert!(parse(Path::new("a"), &[0xFF, 0xFE, 0x30, 0]).unwrap_err()[0].reason.contains("UTF-16"));
        assert_eq!(reasons(&"bad\n".repeat(50)).len(), MAX_REPORTED_ROWS + 1);
    }

    #[test]
    fn rounding_above_one_is_clipped() {
        assert_eq!(ok("0 1.0000005 .2 .3 .4").labels[0].bbox_norm.cx, 1.0);
    }

    #[test]
    fn only_files_with_repeated_rows_are_sorted() {
        let kept = |text: &str| ok(text).labels.iter().map(|l| (l.class, l.bbox_norm.cx)).collect::<Vec<_>>();
        let (a, b, c) = ("7 .5 .5 .1 .1\n", "0 .9 .5 .1 .1\n", "0 .2 .5 .1 .1\n");
        assert_eq!(kept(&format!("{a}{b}{c}")), [(7, 0.5), (0, 0.9), (0, 0.2)]);
        let text = format!("{a}{b}{c}{b}{b}");
        assert_eq!(kept(&text), [(0, 0.2), (0, 0.9), (7, 0.5)]);
        let warning = &ok(&text).warnings[0];
        assert_eq!((warning.line, warning.reason.starts_with("2 repeated")), (Some(4), true));
        assert_eq!(kept("0 0 .5 .1 .1\n0 -0.0 .5 .1 .1\n"), [(0, 0.0)]);
    }

    #[test]
    fn by_the_other_convention_coordinates_may_be_a_little_outside_and_stay_there() {
        let by = |text: &str| parse_by(Path::new("a.txt"), text.as_bytes(), Convention::Ultralytics);
        let parsed = by("0 1.01 -0.01 1.01 .4\n").unwrap();
        let expected = Cxcywh { cx: 1.01, cy: -0.01, w: 1.01, h: 0.4 };
        assert_eq!(parsed.labels[0].bbox_norm, expected);
        for (row, what) in [
            ("0 1.011 .5 .1 .1", "1.011 is above 1"),
            ("0 .5 -0.011 .1 .1", "-0.011 is negative"),
            ("0 .5 .5 -0.001 .1", "-0.001 is negative"),
            ("0 .5 .5 .1 1.02", "1.02 is above 1"),
        ] {
            let problems = by(row).unwrap_err();
            assert!(problems[0].reason.contains(what), "{}", problems[0]);
        }
        let mixed = by("0 .1 .1 .2 .2 .3 .1\n1 .5 .5 .1 .1\n").unwrap_err();
        assert_eq!((mixed[0].line, mixed[0].reason.contains("outlines")), (Some(2), true));
        // Repeated rows are sorted by value, negative ones first.
        let twice = by("0 .5 .5 .1 .1\n0 -0.01 .5 .1 .1\n0 -0.005 .5 .1 .1\n0 .5 .5 .1 .1\n").unwrap();
        let centres: Vec<f32> = twice.labels.iter().map(|label| label.bbox_norm.cx).collect();
        assert_eq!(centres, [-0.01, -0.005, 0.5]);
    }

    #[test]
    fn boxes_without_area_are_kept_with_a_warning() {
        let parsed = ok("0 .5 .5 0 .1\n");
        assert_eq!((parsed.labels.len(), parsed.warnings[0].line), (1, Some(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(Path::new("a.txt"), &content);
        }

        #[test]
        fn rows_of_near_numbers_never_leave_the_unit_square(text in "([0-9einaf.+-]{1,6}[ \n]){0,40}") {
            if let Ok(parsed) = parse(Path::new("a.txt"), text.as_bytes()) {
                for label in parsed.labels {
                    let Cxcywh { cx, cy, w, h } = label.bbox_norm;
                    prop_assert!([cx, cy, w, h].iter().all(|v| (0.0..=1.0).contains(v)));
                }
            }
        }
    }
}
