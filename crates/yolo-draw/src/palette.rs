//! Colours of classes.

/// YOLOv5's twenty colours, RGB.
pub const PALETTE: [[u8; 3]; 20] = [
    [0xFF, 0x38, 0x38],
    [0xFF, 0x9D, 0x97],
    [0xFF, 0x70, 0x1F],
    [0xFF, 0xB2, 0x1D],
    [0xCF, 0xD2, 0x31],
    [0x48, 0xF9, 0x0A],
    [0x92, 0xCC, 0x17],
    [0x3D, 0xDB, 0x86],
    [0x1A, 0x93, 0x34],
    [0x00, 0xD4, 0xBB],
    [0x2C, 0x99, 0xA8],
    [0x00, 0xC2, 0xFF],
    [0x34, 0x45, 0x93],
    [0x64, 0x73, 0xFF],
    [0x00, 0x18, 0xEC],
    [0x84, 0x38, 0xFF],
    [0x52, 0x00, 0x85],
    [0xCB, 0x38, 0xFF],
    [0xFF, 0x95, 0xC8],
    [0xFF, 0x37, 0xC7],
];

/// Luminance from which white letters cannot be read any more.
const LIGHT: f32 = 0.42;

/// The colour of a class: they repeat after twenty.
pub fn class_color(class: usize) -> [u8; 3] {
    PALETTE[class % PALETTE.len()]
}

/// The colour of letters on `background`: white, or nearly black where white could not be read.
pub fn text_color(background: [u8; 3]) -> [u8; 3] {
    if luminance(background) > LIGHT { [20; 3] } else { [255; 3] }
}

/// Relative luminance in `[0, 1]`, as contrast is defined for screens (WCAG).
fn luminance(rgb: [u8; 3]) -> f32 {
    let linear = rgb.map(|value| (f32::from(value) / 255.0).powf(2.2));
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_repeat_after_twenty_classes() {
        assert_eq!(class_color(0), [255, 56, 56]);
        assert_eq!(class_color(39), [0xFF, 0x37, 0xC7]);
        assert_eq!(class_color(79), class_color(19));
    }

    #[test]
    fn letters_are_white_where_that_can_be_read() {
        assert_eq!(text_color(class_color(0)), [255; 3]);
        assert_eq!(text_color(class_color(14)), [255; 3]);
        assert_eq!(text_color(class_color(4)), [20; 3]);
        assert_eq!(text_color([255; 3]), [20; 3]);
    }
}
