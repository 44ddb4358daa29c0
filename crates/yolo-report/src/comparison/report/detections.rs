//! Sample images with the boxes of the truth and of every stage. An image's bytes are on the page once, in
//! its first panel, and the other panels refer to it. Boxes are HTML on top, placed by percentages: lines and
//! labels keep their size in screen pixels, whatever the size of the image.

mod labels;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use self::labels::Labels;
use super::{DrawnBox, SampleImage, Stage};
use crate::html::{nothing, section};

/// Screen pixels that a panel's picture has at most in height, so that portraits do not fill the screen; the
/// style sheet has the same limit.
const TALLEST: f32 = 360.0;

/// The section: a row of panels for each image.
pub(super) fn render(samples: &[SampleImage], stages: &[Stage]) -> Markup {
    if samples.is_empty() {
        return section("samples", "Detections", &html! {}, &nothing("No sample images were kept."));
    }
    let intro = html! {
        p {
            "The ground truth and what each stage found. A class has the same colour everywhere. Boxes are named where \
             there is room, the surest first; the mouse tells about the others."
        }
    };
    let rows = html! { @for (i, sample) in samples.iter().enumerate() { (row(i, sample, stages)) } };
    section("samples", "Detections", &intro, &rows)
}

/// One image.
fn row(index: usize, sample: &SampleImage, stages: &[Stage]) -> Markup {
    let style = format!("--panels:{};--widest:{:.0}px", stages.len() + 1, TALLEST * ratio(sample));
    let picture = format!("picture-{index}");
    let again = html! { use href={ "#" (picture) } {} };
    html! {
        article id={ "sample-" (index) } class="sample" style=(style) {
            h3 { (sample.file_name) " " small { (sample.width) " × " (sample.height) } }
            div.panels {
                (panel((index, "truth"), "truth", &image(&picture, sample), sample, &sample.truth))
                @for (i, stage) in stages.iter().enumerate() {
                    @let boxes = sample.per_stage.get(i).map_or(&[][..], Vec::as_slice);
                    (panel((index, &i.to_string()), &stage.name, &again, sample, boxes))
                }
            }
        }
    }
}

/// Width by height.
fn ratio(sample: &SampleImage) -> f32 {
    sample.width.max(1) as f32 / sample.height.max(1) as f32
}

/// The image itself, under an id that the other panels use.
fn image(id: &str, sample: &SampleImage) -> Markup {
    let data = STANDARD.encode(&sample.bytes);
    html! {
        image id=(id) width=(sample.width) height=(sample.height)
            href={ "data:" (sample.mime) ";base64," (data) } {}
    }
}

/// The image with some boxes. The row of panels and the part of its id let a link enlarge it.
fn panel(
    (row, part): (usize, &str),
    name: &str,
    picture: &Markup,
    sample: &SampleImage,
    boxes: &[DrawnBox],
) -> Markup {
    let drawn = Drawn::sorted(boxes, sample);
    let found: Vec<String> = drawn.iter().map(|drawn| caption(drawn.of)).collect();
    let count = match drawn.len() {
        0 => "no boxes".to_owned(),
        1 => "1 box".to_owned(),
        count => format!("{count} boxes"),
    };
    let summary = format!("{}, {name}, {count}: {}", sample.file_name, found.join(", "));
    let id = format!("sample-{row}-{part}");
    html! {
        figure id=(id) {
            figcaption {
                b { (name) } " " span { (count) }
                a.open href={ "#" (id) } { "enlarge" }
                a.close href={ "#sample-" (row) } { "shrink" }
            }
            div.view role="img" aria-label=(summary.trim_end_matches(": ")) {
                svg viewBox={ "0 0 " (sample.width.max(1)) " " (sample.height.max(1)) } aria-hidden="true" {
                    (picture)
                }
                @for drawn in &drawn { (drawn.markup()) }
            }
        }
    }
}

/// What a label says: `dog 0.87`.
fn caption(drawn: &DrawnBox) -> String {
    match drawn.score {
        Some(score) if score.is_finite() => format!("{} {score:.2}", drawn.class_name),
        _ => drawn.class_name.clone(),
    }
}

/// A box in percent of its image.
struct Drawn<'a> {
    of: &'a DrawnBox,
    left: f32,
    top: f32,
    width: f32,
    height: f32,
    /// The class that puts its label in place, if there was room for one.
    label: Option<&'static str>,
}

impl<'a> Drawn<'a> {
    /// The boxes that are somewhere on the image, large ones first so that small ones stay in reach of the
    /// mouse.
    fn sorted(boxes: &'a [DrawnBox], sample: &SampleImage) -> Vec<Self> {
        let mut drawn: Vec<Self> = boxes.iter().filter_map(|of| Self::new(of, sample)).collect();
        // The truth has no scores: there the large ones are labelled first.
        let weight =
            |drawn: &Self| drawn.of.score.filter(|score| score.is_finite()).unwrap_or(drawn.area() * 1e-4);
        drawn.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        let mut labels = Labels::new(sample);
        for drawn in &mut drawn {
            drawn.label = labels.place(drawn);
        }
        drawn.sort_by(|a, b| b.area().total_cmp(&a.area()));
        drawn
    }

    fn new(of: &'a DrawnBox, sample: &SampleImage) -> Option<Self> {
        if of.xyxy.iter().any(|edge| !edge.is_finite()) {
            return None;
        }
        let [x0, y0, x1, y1] = of.xyxy;
        let across = |x: f32| (x / sample.width.max(1) as f32 * 100.0).clamp(0.0, 100.0);
        let down = |y: f32| (y / sample.height.max(1) as f32 * 100.0).clamp(0.0, 100.0);
        let (left, top) = (across(x0), down(y0));
        let (width, height) = (across(x1) - left, down(y1) - top);
        (width > 0.0 && height > 0.0).then_some(Self { of, left, top, width, height, label: None })
    }

    fn area(&self) -> f32 {
        self.width * self.height
    }

    fn markup(&self) -> Markup {
        let text = caption(self.of);
        let style = format!(
            "left:{:.2}%;top:{:.2}%;width:{:.2}%;height:{:.2}%;--hue:{}",
            self.left,
            self.top,
            self.width,
            self.height,
            hue(self.of.class)
        );
        html! {
            div class={ "box" (self.label.unwrap_or_default()) } title=(text) style=(style) {
                @if self.label.is_some() { span { (text) } }
            }
        }
    }
}

/// A colour for a class: steps of the golden angle keep neighbours apart.
fn hue(class: usize) -> u32 {
    ((class % 1000) as f64 * 137.508 % 360.0) as u32
}
