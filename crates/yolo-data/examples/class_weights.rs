//! Prints how often each class occurs in a split, and the weight that evens the classes out:
//!
//!     cargo run --example class_weights -- mine.yaml

use std::error::Error;

use yolo_data::dataset::{Dataset, DatasetConfig, ScanOptions, Split, Statistics};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: class_weights DATA.yaml")?;
    let config = DatasetConfig::read(file.as_ref())?;
    let dataset = Dataset::open(&config, Split::Train, &ScanOptions::default(), &|_, _| {})?;
    for problem in &dataset.report.problems {
        eprintln!("{problem}");
    }
    let counted = Statistics::of(&dataset, 640);
    let used = counted.classes.iter().filter(|class| class.objects > 0).count();
    println!("{} objects of {used} classes on {} images", counted.objects, counted.images);
    for class in counted.classes.iter().filter(|class| class.objects > 0) {
        // With these weights every class counts as much as every other.
        let weight = counted.objects as f64 / (used * class.objects) as f64;
        println!("{:>8}  {weight:>8.3}  {}", class.objects, class.name);
    }
    Ok(())
}
