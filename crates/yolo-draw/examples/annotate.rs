//! Boxes on an image of one's own, or on drawn ones of many sizes:
//! `cargo run -p yolo-draw --example annotate -- [IMAGE] OUT.png`.

use std::path::Path;

use yolo_data::image::{Encoding, RgbImage, decode_file, encode};
use yolo_draw::{BoxAnnotation, Mosaic, MosaicOptions, Style, annotate};
use yolo_eval::Xyxy;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [image, out] => {
            let mut image = decode_file(image)?.image;
            let boxes = boxes(image.width, image.height);
            let style = Style::for_size(image.width, image.height);
            annotate(&mut image, &boxes, &style);
            write(out, &image)
        }
        [out] => {
            let sizes = [(64, 64), (320, 240), (640, 480), (480, 640), (1280, 720), (4000, 3000)];
            let mut mosaic = Mosaic::new(sizes.len(), (640, 640), &MosaicOptions::default());
            for (i, (width, height)) in sizes.into_iter().enumerate() {
                let image = RgbImage::filled(width, height, [40 * i as u8 + 30; 3]);
                mosaic.add(&image, &boxes(width, height), &format!("{width}×{height}.png"));
            }
            write(out, &mosaic.finish())
        }
        _ => Err("usage: annotate [IMAGE] OUT.png".into()),
    }
}

/// Some boxes of an image of this size: one in the middle, one at the top, one at the right, one in a crowd.
fn boxes(width: u32, height: u32) -> Vec<BoxAnnotation> {
    let place = |x1: f32, y1: f32, x2: f32, y2: f32, class, label: &str| BoxAnnotation {
        bbox: Xyxy::new(
            x1 * width as f32,
            y1 * height as f32,
            x2 * width as f32 - 1.0,
            y2 * height as f32 - 1.0,
        ),
        class,
        label: label.to_owned(),
    };
    vec![
        place(0.1, 0.3, 0.45, 0.9, 0, "person 0.87"),
        place(0.5, 0.0, 0.75, 0.3, 4, "žluťoučký kůň 0.51"),
        place(0.85, 0.4, 1.0, 0.6, 14, "автобус 0.33"),
        place(0.55, 0.65, 0.8, 0.95, 5, "potted plant 0.26"),
    ]
}

fn write(out: &str, image: &RgbImage) -> Result<(), Box<dyn std::error::Error>> {
    let extension = Path::new(out).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let encoding =
        Encoding::of_extension(extension).ok_or("the output must be .png, .jpg, .bmp, .webp or .tif")?;
    Ok(std::fs::write(out, encode(image, encoding)?)?)
}
