//! A scene as a file of SVG: the same bytes for the same scene.

use maud::{Markup, html};

use super::scene::{Scene, Shape};
use crate::svg::{Style, TextStyle, line_data, path, rect, text};

/// The whole file.
pub(super) fn svg(scene: &Scene) -> String {
    let (width, height) = scene.size;
    let file = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(scene.summary)
            font-family="Noto Sans, DejaVu Sans, Arial, sans-serif" {
            rect width=(width) height=(height) fill="#ffffff" {}
            @for shape in &scene.shapes {
                "\n" (element(shape))
            }
        }
    };
    file.into_string() + "\n"
}

fn element(shape: &Shape) -> Markup {
    match shape {
        Shape::Fill { rect: edges, rgb, hint } => rect(*edges, Style::Fill(*rgb), hint),
        Shape::Line { points, rgb, width } => path(&line_data(points), Style::Stroke(*rgb, *width)),
        &Shape::Text { x, y, text: ref content, size, rgb, anchor, is_upright } => {
            text((x, y), content, TextStyle::Font { size, rgb, anchor, is_upright })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_cannot_break_the_file() {
        let mut scene = Scene::new((100, 50), "a < b", "\"quoted\"".to_owned());
        scene.fill([1.0, 2.0, 3.0, 4.0], [255, 0, 16], "<&>".to_owned());
        scene.upright((5.0, 6.0), "</text>", 13.0, [0, 0, 0], crate::svg::Anchor::End);
        let svg = svg(&scene);
        assert!(svg.contains("aria-label=\"&quot;quoted&quot;\"") && svg.contains("a &lt; b"), "{svg}");
        assert!(svg.contains("fill=\"#ff0010\"><title>&lt;&amp;&gt;</title></rect>"), "{svg}");
        assert!(svg.contains("rotate(-90 5 6)\">&lt;/text&gt;</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
