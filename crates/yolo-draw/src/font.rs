//! Text: glyphs of the embedded font and their widths.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, OutlinedGlyph, PxScale, ScaleFont, point};

/// Noto Sans, Latin, Greek and Cyrillic; `assets/README.md` says how it was made.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    let bytes = include_bytes!("../assets/NotoSans-Regular.subset.ttf");
    FontRef::try_from_slice(bytes).expect("the embedded font is whole")
});

/// Height of a capital letter as a fraction of the line, from the font's deepest to its highest point.
static CAP_FRACTION: LazyLock<f32> = LazyLock::new(|| {
    let cap = FONT.outline(FONT.glyph_id('H')).map_or(0.0, |outline| outline.bounds.height());
    cap.abs() / FONT.height_unscaled()
});

/// How far letters such as `p` and `g` go below the line, of the height of a capital.
pub(crate) const DESCENT: f32 = 0.34;

/// The scale at which capitals are `cap_height` pixels high.
fn scale(cap_height: f32) -> PxScale {
    PxScale::from(cap_height / *CAP_FRACTION)
}

/// Width in pixels of `text` with capitals of `cap_height` pixels.
pub fn text_width(text: &str, cap_height: f32) -> f32 {
    let font = FONT.as_scaled(scale(cap_height));
    visible(text).map(|letter| font.h_advance(font.glyph_id(letter))).sum()
}

/// The glyphs of `text`, which starts at `x` and stands on the line `baseline`, in pixels.
pub(crate) fn glyphs(
    text: &str,
    cap_height: f32,
    x: f32,
    baseline: f32,
) -> impl Iterator<Item = OutlinedGlyph> {
    let (scale, mut pen) = (scale(cap_height), x);
    visible(text).filter_map(move |letter| {
        let font = FONT.as_scaled(scale);
        let id = font.glyph_id(letter);
        let glyph = id.with_scale_and_position(scale, point(pen, baseline));
        pen += font.h_advance(id);
        FONT.outline_glyph(glyph)
    })
}

/// Control characters have no shape and would appear as boxes.
fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|letter| !letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_text_and_size() {
        assert_eq!(text_width("", 10.0), 0.0);
        let (narrow, wide) = (text_width("ill", 10.0), text_width("mmm", 10.0));
        assert!(narrow > 5.0 && wide > 2.0 * narrow, "{narrow} {wide}");
        assert!((text_width("mmm", 20.0) - 2.0 * wide).abs() < 0.01);
        assert_eq!(text_width("a\n\u{7}b", 10.0), text_width("ab", 10.0));
    }

    #[test]
    fn capitals_have_the_height_that_was_asked_for() {
        let glyph = glyphs("H", 50.0, 0.0, 100.0).next();
        let bounds = glyph.map(|glyph| glyph.px_bounds());
        // Bounds are whole pixels around the shape.
        assert!(bounds.is_some_and(|b| (49.0..=50.0).contains(&b.min.y)), "{bounds:?}");
        assert!(bounds.is_some_and(|b| (100.0..=101.0).contains(&b.max.y)), "{bounds:?}");
    }

    #[test]
    fn european_letters_have_shapes_and_others_have_a_box() {
        let shape = |letter| FONT.glyph_id(letter).0;
        for letter in "azAZ09äñşčΩжЯ…–×".chars() {
            assert_ne!(shape(letter), 0, "{letter}");
        }
        assert_eq!(shape('犬'), 0);
        assert_eq!(glyphs("犬", 10.0, 0.0, 20.0).count(), 1);
    }
}
