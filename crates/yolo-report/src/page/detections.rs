//! Sample images with the boxes of the truth and of every stage. An image's bytes are on the page once, in
//! its first panel, and the other panels refer to it. Boxes are HTML on top, placed by percentages: lines and
//! labels keep their size in screen pixels, whatever the size of the image.

mod labels;

use crate::page::base64;
use crate::page::detections::labels::Labels;
use crate::page::html::{escape, nothing, section};
use crate::page::{DrawnBox, SampleImage, Stage};

/// Screen pixels that a panel's picture has at most in height, so that portraits do not fill the screen; the
/// style sheet is told so.
const TALLEST: f32 = 360.0;

/// The section: a row of panels for each image.
pub(crate) fn render(samples: &[SampleImage], stages: &[Stage]) -> String {
    if samples.is_empty() {
        return section("samples", "Detections", "", &nothing("No sample images were kept."));
    }
    let intro = "<p>The ground truth and what each stage found. A class has the same colour everywhere. \
                 Boxes are named where there is room, the surest first; the mouse tells about the others.</p>\n";
    let rows: String = samples.iter().enumerate().map(|(i, sample)| row(i, sample, stages)).collect();
    section("samples", "Detections", intro, &rows)
}

/// One image.
fn row(index: usize, sample: &SampleImage, stages: &[Stage]) -> String {
    let mut panels = panel(
        &format!("sample-{index}-truth"),
        index,
        "truth",
        &picture(index, sample),
        sample,
        &sample.truth,
    );
    for (i, stage) in stages.iter().enumerate() {
        let boxes = sample.per_stage.get(i).map_or(&[][..], Vec::as_slice);
        let again = format!("<use href=\"#picture-{index}\"/>");
        panels += &panel(&format!("sample-{index}-{i}"), index, &stage.name, &again, sample, boxes);
    }
    format!(
        "<article id=\"sample-{index}\" class=\"sample\" style=\"--panels:{};--widest:{:.0}px\">\n\
         <h3>{} <small>{} × {}</small></h3>\n\
         <div class=\"panels\">\n{panels}</div></article>\n",
        stages.len() + 1,
        TALLEST * ratio(sample),
        escape(&sample.file_name),
        sample.width,
        sample.height
    )
}

/// Width by height.
fn ratio(sample: &SampleImage) -> f32 {
    sample.width.max(1) as f32 / sample.height.max(1) as f32
}

/// The image itself, under a name that the other panels use.
fn picture(index: usize, sample: &SampleImage) -> String {
    format!(
        "<image id=\"picture-{index}\" width=\"{}\" height=\"{}\" href=\"data:{};base64,{}\"/>",
        sample.width,
        sample.height,
        escape(sample.mime),
        base64::encode(&sample.bytes)
    )
}

/// The image with some boxes. `id` lets a link enlarge it.
fn panel(
    id: &str,
    row: usize,
    name: &str,
    picture: &str,
    sample: &SampleImage,
    boxes: &[DrawnBox],
) -> String {
    let drawn = Drawn::sorted(boxes, sample);
    let overlay: String = drawn.iter().map(Drawn::render).collect();
    let found: Vec<String> = drawn.iter().map(|drawn| caption(drawn.of)).collect();
    let count = match drawn.len() {
        0 => "no boxes".to_owned(),
        1 => "1 box".to_owned(),
        count => format!("{count} boxes"),
    };
    let summary = format!("{}, {name}, {count}: {}", sample.file_name, found.join(", "));
    format!(
        "<figure id=\"{id}\"><figcaption><b>{}</b> <span>{count}</span>\
         <a class=\"open\" href=\"#{id}\">enlarge</a>\
         <a class=\"close\" href=\"#sample-{row}\">shrink</a></figcaption>\n\
         <div class=\"view\" role=\"img\" aria-label=\"{}\">\n\
         <svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\">{picture}</svg>\n\
         {overlay}</div></figure>\n",
        escape(name),
        escape(summary.trim_end_matches(": ")),
        sample.width.max(1),
        sample.height.max(1),
    )
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

    fn render(&self) -> String {
        let text = escape(&caption(self.of));
        let label = self.label.map_or_else(String::new, |_| format!("<span>{text}</span>"));
        format!(
            "<div class=\"box{}\" title=\"{text}\" style=\"left:{:.2}%;top:{:.2}%;width:{:.2}%;height:{:.2}%;\
             --hue:{}\">\
             {label}</div>\n",
            self.label.unwrap_or_default(),
            self.left,
            self.top,
            self.width,
            self.height,
            hue(self.of.class)
        )
    }
}

/// A colour for a class: steps of the golden angle keep neighbours apart.
fn hue(class: usize) -> u32 {
    ((class % 1000) as f64 * 137.508 % 360.0) as u32
}
