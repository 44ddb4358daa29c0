//! EXIF orientation: reading the tag, and turning the pixels upright.

use super::RgbImage;

/// The orientation (1 to 8) that the EXIF block `tiff` (without the `Exif\0\0` prefix) states; 1 if it states
/// none or is damaged, as in OpenCV.
pub(crate) fn orientation(tiff: &[u8]) -> u32 {
    let parsed = exif::Reader::new()
        .continue_on_error(true)
        .read_raw(tiff.to_vec())
        .or_else(|e| e.distill_partial_result(|_| {}));
    parsed
        .ok()
        .and_then(|exif| {
            exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)
                .and_then(|field| field.value.get_uint(0))
        })
        .filter(|o| (1..=8).contains(o))
        .unwrap_or(1)
}

/// `image` turned and mirrored so that it stands upright, for an EXIF `orientation` of 1 to 8.
pub(super) fn upright(image: RgbImage, orientation: u32) -> RgbImage {
    // The stored image is transposed for 5 to 8; each axis may also be reversed.
    let (transposed, flip_x, flip_y) = match orientation {
        2 => (false, true, false),
        3 => (false, true, true),
        4 => (false, false, true),
        5 => (true, false, false),
        6 => (true, true, false),
        7 => (true, true, true),
        8 => (true, false, true),
        _ => return image,
    };
    let (stored_w, stored_h) = (image.width as usize, image.height as usize);
    let (width, height) = if transposed { (stored_h, stored_w) } else { (stored_w, stored_h) };
    let stored = image.pixels.as_chunks::<3>().0;
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for y in 0..height {
        let y = if flip_y { height - 1 - y } else { y };
        for x in 0..width {
            let x = if flip_x { width - 1 - x } else { x };
            let index = if transposed { x * stored_w + y } else { y * stored_w + x };
            pixels.extend_from_slice(&stored[index]);
        }
    }
    RgbImage { width: width as u32, height: height as u32, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 columns × 3 rows, every pixel named by its number.
    fn numbered() -> RgbImage {
        RgbImage { width: 2, height: 3, pixels: (0..6).flat_map(|i| [i; 3]).collect() }
    }

    fn turned(orientation: u32) -> (u32, u32, Vec<u8>) {
        let image = upright(numbered(), orientation);
        (image.width, image.height, image.pixels.into_iter().step_by(3).collect())
    }

    #[test]
    fn every_orientation_is_undone() {
        assert_eq!(turned(1), (2, 3, vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(turned(2), (2, 3, vec![1, 0, 3, 2, 5, 4]));
        assert_eq!(turned(3), (2, 3, vec![5, 4, 3, 2, 1, 0]));
        assert_eq!(turned(4), (2, 3, vec![4, 5, 2, 3, 0, 1]));
        assert_eq!(turned(5), (3, 2, vec![0, 2, 4, 1, 3, 5]));
        assert_eq!(turned(6), (3, 2, vec![4, 2, 0, 5, 3, 1]));
        assert_eq!(turned(7), (3, 2, vec![5, 3, 1, 4, 2, 0]));
        assert_eq!(turned(8), (3, 2, vec![1, 3, 5, 0, 2, 4]));
    }

    #[test]
    fn damaged_exif_means_upright() {
        assert_eq!(orientation(b""), 1);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), 1);
    }
}
