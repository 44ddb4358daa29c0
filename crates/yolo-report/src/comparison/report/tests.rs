//! The page as a whole: nothing from the input gets out of its place, and odd input still gives a sound page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A name that would break out of text, attributes and style.
const NASTY: &str = r#"<b>"x" & 'y'</b><script>"#;

fn stage(name: &str, curve: Vec<(f64, f64)>, zeros: usize) -> Stage {
    let layer = |name: &str| LayerSparsity { name: name.to_owned(), weights: 4_608, zeros };
    Stage {
        name: name.to_owned(),
        pr_curve: curve,
        layer_sparsity: vec![layer("model.0.conv"), layer(NASTY)],
        map50: Some(0.5),
        map: Some(f64::NAN),
    }
}

fn epoch(epoch: usize, loss: f64) -> EpochPoint {
    EpochPoint { epoch, train: [loss; 3], val: [0.1, loss, 0.2], map50: loss, map: 0.3, sparsity: loss }
}

fn drawn(xyxy: [f32; 4], score: Option<f32>) -> DrawnBox {
    DrawnBox { xyxy, class: usize::MAX, class_name: NASTY.to_owned(), score }
}

fn sample(bytes: &[u8]) -> SampleImage {
    SampleImage {
        file_name: NASTY.to_owned(),
        mime: "image/png",
        bytes: bytes.to_vec(),
        width: 640,
        height: 480,
        truth: vec![drawn([10.0, 10.0, 100.0, 100.0], None)],
        per_stage: vec![vec![drawn([-50.0, 300.0, 900.0, 400.0], Some(0.5))], Vec::new()],
    }
}

/// Every kind of content, with names and numbers as bad as they come.
fn nasty() -> Report {
    let text = || NASTY.to_owned();
    let curve = vec![(0.0, 1.0), (f64::NAN, 0.5), (0.5, f64::INFINITY), (0.9, 0.1), (2.0, -1.0)];
    Report {
        title: text(),
        subtitle: text(),
        verdict: text(),
        tiles: vec![Tile { label: text(), value: text(), detail: text(), better: Some(true) }],
        command: text(),
        created: text(),
        stages: vec![
            stage("baseline", curve.clone(), 0),
            stage(NASTY, curve, 4_000),
            stage("tuned", vec![], 3_999),
        ],
        rows: vec![Row {
            group: text(),
            label: text(),
            values: vec![Some(text()), None],
            change: Some(text()),
            better: Some(false),
        }],
        conclusion: vec![text()],
        pr_note: text(),
        history: vec![
            epoch(0, 0.5),
            epoch(1, f64::NAN),
            epoch(2, f64::INFINITY),
            epoch(3, 1e300),
            epoch(9, -1.0),
        ],
        samples: vec![sample(b"first image"), sample(b"second image")],
        notes: vec![text()],
    }
}

fn empty() -> Report {
    Report {
        title: String::new(),
        subtitle: String::new(),
        verdict: String::new(),
        tiles: Vec::new(),
        command: String::new(),
        created: String::new(),
        stages: Vec::new(),
        rows: Vec::new(),
        conclusion: Vec::new(),
        pr_note: String::new(),
        history: Vec::new(),
        samples: Vec::new(),
        notes: Vec::new(),
    }
}

/// Fails unless every element is closed in the order of opening, with its attributes in quotes.
fn assert_sound(page: &str) {
    const VOID: [&str; 1] = ["meta"];
    let (head, rest) = page.split_once("<style>").expect("a style sheet");
    let (style, rest) = rest.split_once("</style>").expect("its end");
    assert!(!style.contains('<'), "markup in the style sheet");
    let markup = format!("{head}{rest}");
    let mut open: Vec<&str> = Vec::new();
    for piece in markup.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("the end of a tag");
        assert!(!text.contains('>'), "a stray > after <{tag}>: {text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !(name.starts_with('!') || tag.ends_with('/') || VOID.contains(&name)) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// The values of an attribute, wherever it is.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn input_is_escaped_everywhere() {
    let page = render(&nasty());
    assert_sound(&page);
    assert!(
        !page.contains("<script") && !page.contains("<b>\""),
        "markup of the input is markup of the page"
    );
    assert!(page.contains("&lt;b&gt;&quot;x&quot; &amp; 'y'&lt;/b&gt;"));
}

#[test]
fn odd_numbers_never_reach_a_drawing() {
    let page = render(&nasty());
    for name in ["d", "x", "y", "cx", "cy", "width", "height", "style", "viewBox"] {
        for value in attributes(&page, name) {
            assert!(!value.contains("NaN") && !value.contains("inf"), "{name}=\"{value}\"");
        }
    }
    for path in attributes(&page, "d") {
        assert!(path.starts_with('M') && path.len() > 2, "{path}");
        let numbers = path.split(['M', 'L', 'H', 'V', ' ']).filter(|text| !text.is_empty());
        assert!(numbers.into_iter().all(|text| text.parse::<f64>().is_ok()), "{path}");
    }
}

#[test]
fn nothing_at_all_is_a_page() {
    let page = render(&empty());
    assert_sound(&page);
    assert!(page.contains("No epoch of fine-tuning was run."));
}

#[test]
fn any_part_may_be_missing() {
    let without: [fn(&mut Report); 6] = [
        |report| report.stages.clear(),
        |report| report.rows.clear(),
        |report| report.history.clear(),
        |report| report.history.truncate(1),
        |report| report.samples.clear(),
        |report| report.samples.iter_mut().for_each(|sample| (sample.width, sample.height) = (0, 0)),
    ];
    for remove in without {
        let mut report = nasty();
        remove(&mut report);
        assert_sound(&render(&report));
    }
}

#[test]
fn every_image_is_embedded_once() {
    let page = render(&nasty());
    for bytes in [b"first image".as_slice(), b"second image"] {
        assert_eq!(page.matches(&STANDARD.encode(bytes)).count(), 1);
    }
    // Three stages beside the truth.
    assert_eq!(page.matches("href=\"#picture-0\"").count(), 3);
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = render(&nasty());
    assert!(!page.contains("http") && !page.contains("url(") && !page.contains("@import"));
    assert!(
        attributes(&page, "href").iter().all(|href| href.starts_with('#') || href.starts_with("data:image/"))
    );
    assert!(attributes(&page, "src").is_empty());
}

#[test]
fn ids_are_unique() {
    let page = render(&nasty());
    let mut ids = attributes(&page, "id");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn boxes_that_are_nowhere_are_not_drawn() {
    let mut report = nasty();
    let nowhere =
        [[700.0, 0.0, 800.0, 10.0], [f32::NAN; 4], [50.0, 50.0, 50.0, 90.0], [90.0, 90.0, 50.0, 50.0]];
    report.samples.truncate(1);
    report.samples[0].truth = nowhere.into_iter().map(|xyxy| drawn(xyxy, Some(f32::NAN))).collect();
    report.samples[0].per_stage.clear();
    let page = render(&report);
    assert_eq!(page.matches("class=\"box").count(), 0);
    assert!(page.contains("no boxes"));
}
