//! The elements of SVG, for charts on pages and for plots in files. Coordinates are always numbers, and text cannot
//! break out of its place.

use maud::{Markup, html};

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

/// How a shape looks.
#[derive(Clone, Copy)]
pub(crate) enum Style<'a> {
    /// As the style sheet of the page says about these classes.
    Class(&'a str),
    /// An area of a colour.
    Fill(Rgb),
    /// A line of a colour and a width, with round ends.
    Stroke(Rgb, f64),
}

/// How text looks.
#[derive(Clone, Copy)]
pub(crate) enum TextStyle<'a> {
    /// As the style sheet says about these classes, moved down by a share of its size, such as `.35em`.
    Class(&'a str, &'static str),
    /// Its size in pixels per em, its colour, and which end is at its place.
    Font {
        size: f64,
        rgb: Rgb,
        anchor: Anchor,
        /// Turned to read upwards.
        is_upright: bool,
    },
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line along `data`, for which see [`line_data`].
pub(crate) fn path(data: &str, style: Style) -> Markup {
    let Attributes { class, fill, stroke, width, round } = style.attributes();
    html! {
        path class=[class] d=(data) fill=[fill] stroke=[stroke] stroke-width=[width] stroke-linejoin=[round]
            stroke-linecap=[round] {}
    }
}

/// A rectangle: left, top, width, height. The hint is shown under the mouse, unless it is empty.
pub(crate) fn rect(edges: [f64; 4], style: Style, hint: &str) -> Markup {
    let ([x, y, width, height], attributes) = (edges.map(number), style.attributes());
    html! {
        rect class=[attributes.class] x=(x) y=(y) width=(width) height=(height) fill=[attributes.fill] {
            (title(hint))
        }
    }
}

/// A circle around a point, with a hint as a rectangle has.
pub(crate) fn circle((x, y): (f64, f64), radius: f64, style: Style, hint: &str) -> Markup {
    let Attributes { class, fill, .. } = style.attributes();
    html! { circle class=[class] cx=(number(x)) cy=(number(y)) r=(radius) fill=[fill] { (title(hint)) } }
}

/// Text at a place on its base line.
pub(crate) fn text((x, y): (f64, f64), text: &str, style: TextStyle) -> Markup {
    let (x, y) = (number(x), number(y));
    match style {
        TextStyle::Class(class, "") => html! { text class=(class) x=(x) y=(y) { (text) } },
        TextStyle::Class(class, down) => html! { text class=(class) x=(x) y=(y) dy=(down) { (text) } },
        TextStyle::Font { size, rgb, anchor, is_upright } => {
            let turn = is_upright.then(|| format!("rotate(-90 {x} {y})"));
            html! {
                text x=(x) y=(y) font-size=(number(size)) fill=(hex(rgb)) text-anchor=(anchor.name())
                    transform=[turn] { (text) }
            }
        }
    }
}

fn title(hint: &str) -> Markup {
    html! { @if !hint.is_empty() { title { (hint) } } }
}

/// The data of a path through some points.
pub(crate) fn line_data(points: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        data += &format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, number(x), number(y));
    }
    data
}

/// A coordinate: short, and always a number.
pub(crate) fn number(value: f64) -> String {
    // Browsers keep coordinates as 32-bit floats, and far outside the view any value does.
    let value = if value.is_finite() { value.clamp(-1e5, 1e5) } else { 0.0 };
    let text = format!("{value:.1}");
    match text.strip_suffix(".0").unwrap_or(&text) {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[derive(Default)]
struct Attributes<'a> {
    class: Option<&'a str>,
    fill: Option<String>,
    stroke: Option<String>,
    width: Option<f64>,
    /// Joins and ends of lines.
    round: Option<&'static str>,
}

impl<'a> Style<'a> {
    fn attributes(self) -> Attributes<'a> {
        match self {
            Self::Class(class) => Attributes { class: Some(class), ..Attributes::default() },
            Self::Fill(rgb) => Attributes { fill: Some(hex(rgb)), ..Attributes::default() },
            Self::Stroke(rgb, width) => Attributes {
                class: None,
                fill: Some("none".to_owned()),
                stroke: Some(hex(rgb)),
                width: Some(width),
                round: Some("round"),
            },
        }
    }
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short_numbers() {
        let cases = [(1.0, "1"), (1.25, "1.2"), (-0.01, "0"), (f64::NAN, "0"), (1e300, "100000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_same_shape_has_classes_on_a_page_and_colours_in_a_file() {
        let data = line_data(&[(0.0, 1.0), (2.5, f64::NAN)]);
        assert_eq!(path(&data, Style::Class("grid")).0, "<path class=\"grid\" d=\"M0 1L2.5 0\"></path>");
        assert_eq!(
            path(&data, Style::Stroke([255, 0, 16], 1.5)).0,
            "<path d=\"M0 1L2.5 0\" fill=\"none\" stroke=\"#ff0010\" stroke-width=\"1.5\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\"></path>"
        );
        let hinted = rect([1.0, 2.0, 3.0, 4.0], Style::Fill([0; 3]), "a < b").0;
        assert!(hinted.ends_with("fill=\"#000000\"><title>a &lt; b</title></rect>"), "{hinted}");
    }
}
