//! Objects cut out of their image.

use yolo_data::image::RgbImage;
use yolo_eval::{Cxcywh, Xyxy};

/// The part of `image` in a box, with a margin of 1 % and 5 pixels on each side; none if it is empty.
pub fn cut_out(image: &RgbImage, bbox: Xyxy) -> Option<RgbImage> {
    let b = Cxcywh::from(bbox);
    let wider = Cxcywh { w: b.w * 1.02 + 10.0, h: b.h * 1.02 + 10.0, ..b };
    let Xyxy { x1, y1, x2, y2 } = Xyxy::from(wider).clip(image.width as f32, image.height as f32);
    let [left, top, right, bottom] = [x1, y1, x2, y2].map(|edge| edge as usize);
    if right <= left || bottom <= top {
        return None;
    }
    let rows = image.pixels.chunks_exact(image.width as usize * 3).take(bottom).skip(top);
    let pixels = rows.flat_map(|row| &row[left * 3..right * 3]).copied().collect();
    Some(RgbImage { width: (right - left) as u32, height: (bottom - top) as u32, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_have_a_margin_and_end_at_the_image() {
        let mut image = RgbImage::filled(200, 100, [0; 3]);
        // One white pixel, in the corner of the box.
        let at = (20 * 200 + 100) * 3;
        image.pixels[at..at + 3].fill(255);
        let cut = cut_out(&image, Xyxy::new(100.0, 20.0, 200.0, 70.0));
        // 50 high: 51 + 10 around 45; 100 wide: 102 + 10 around 150, of which the image has 56 + 50.
        let size = cut.as_ref().map(|cut| (cut.width, cut.height));
        assert_eq!(size, Some((106, 61)));
        let white = cut.and_then(|cut| cut.pixels.chunks_exact(3).position(|pixel| pixel == [255; 3]));
        assert_eq!(white, Some(6 * 106 + 6));
        assert_eq!(cut_out(&image, Xyxy::new(400.0, 0.0, 500.0, 50.0)), None);
    }
}
