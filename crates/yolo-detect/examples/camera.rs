//! Finds objects in a frame of raw RGB bytes, as a camera delivers it:
//!
//!     cargo run --release --example camera -- yolov5n.pt frame.rgb 640 480

use std::error::Error;

use yolo_detect::{Checkpoint, DetectOptions, Detector, Options, RgbImage, Xyxy};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, frame, width, height] = arguments.as_slice() else {
        return Err("usage: camera WEIGHTS FRAME.rgb WIDTH HEIGHT".into());
    };
    let checkpoint = Checkpoint::load(weights.as_ref())?;
    let names = checkpoint.class_names.clone();
    let detector = Detector::compiled(checkpoint.into_fused()?, Options::default())?;

    let frame = RgbImage { width: width.parse()?, height: height.parse()?, pixels: std::fs::read(frame)? };
    for found in detector.detect(&frame, &DetectOptions::new((640, 640)))?.boxes {
        let Xyxy { x1, y1, x2, y2 } = found.bbox;
        println!("{:<12}{:.2}  {x1}, {y1} to {x2}, {y2}", names[found.class as usize], found.score);
    }
    Ok(())
}
