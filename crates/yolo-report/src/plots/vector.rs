//! A scene as a file of SVG: the same bytes for the same scene.

use super::scene::{Anchor, Rgb, Scene, Shape};
use crate::page::html::escape;
use crate::page::svg::number;

/// The whole file.
pub(crate) fn svg(scene: &Scene) -> String {
    let (width, height) = scene.size;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" \
         font-family=\"Noto Sans, DejaVu Sans, Arial, sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
        escape(&scene.summary)
    );
    for shape in &scene.shapes {
        out += &element(shape);
        out.push('\n');
    }
    out + "</svg>\n"
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Fill { rect, rgb, hint } => {
            let [x, y, width, height] = rect.map(number);
            let hint =
                if hint.is_empty() { String::new() } else { format!("<title>{}</title>", escape(hint)) };
            format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\">{hint}</rect>",
                hex(*rgb)
            )
        }
        Shape::Line { points, rgb, width } => {
            let mut path = String::new();
            for (i, &(x, y)) in points.iter().enumerate() {
                path += &format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, number(x), number(y));
            }
            format!(
                "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
                hex(*rgb)
            )
        }
        Shape::Text { x, y, text, size, rgb, anchor, is_upright } => {
            let (x, y) = (number(*x), number(*y));
            let turn =
                if *is_upright { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
            format!(
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{}\"{turn}>{}</text>",
                number(*size),
                hex(*rgb),
                anchor_name(*anchor),
                escape(text)
            )
        }
    }
}

fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_cannot_break_the_file() {
        let mut scene = Scene::new((100, 50), "a < b", "\"quoted\"".to_owned());
        scene.fill([1.0, 2.0, 3.0, 4.0], [255, 0, 16], "<&>".to_owned());
        scene.upright((5.0, 6.0), "</text>", 13.0, [0, 0, 0], Anchor::End);
        let svg = svg(&scene);
        assert!(svg.contains("aria-label=\"&quot;quoted&quot;\"") && svg.contains("a &lt; b"), "{svg}");
        assert!(svg.contains("fill=\"#ff0010\"><title>&lt;&amp;&gt;</title></rect>"), "{svg}");
        assert!(svg.contains("rotate(-90 5 6)\">&lt;/text&gt;</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
