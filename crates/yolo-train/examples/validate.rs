//! Measures a checkpoint on the validation images of a data set, class by class:
//!
//!     cargo run --release --example validate -- yolov5n.pt coco128.yaml

use std::error::Error;
use std::path::Path;

use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split};
use yolo_detect::{Detector, Options};
use yolo_model::Checkpoint;
use yolo_train::{ValidationOptions, validate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, data] = arguments.as_slice() else {
        return Err("usage: validate WEIGHTS DATA.yaml".into());
    };
    let network = Checkpoint::load(Path::new(weights))?.into_fused()?;
    let dataset = Dataset::open(
        &DatasetConfig::read(Path::new(data))?,
        Split::Val,
        &ScanOptions::default(),
        &|_, _| {},
    )?;
    let detector = Detector::compiled(network, Options::default())?;
    let total = dataset.items.len();
    let measured =
        validate(&detector, &dataset, &ValidationOptions::new(640), |done| eprint!("\r{done}/{total}"))?;
    eprintln!();
    println!("{:<24}{:>8}{:>8}{:>8}", "class", "objects", "mAP50", "mAP");
    for class in &measured.native.per_class {
        let name = dataset.class_names.get(class.class as usize).map_or("?", String::as_str);
        println!("{name:<24}{:>8}{:>8.3}{:>8.3}", class.instances, class.map50, class.map);
    }
    println!(
        "{:<24}{:>8}{:>8.3}{:>8.3}",
        "all", measured.instances, measured.native.map50, measured.native.map
    );
    Ok(())
}
