//! Writes YOLO's labels for COCO files, with links to their images and a data.yaml:
//!
//!     cargo run --example coco_to_yolo -- OUT annotations/instances_train.json annotations/instances_val.json

use std::error::Error;
use std::path::{Path, PathBuf};

use yolo_data::convert::{
    CategoryIds, ConvertOptions, Layout, Placement, config_of_json, convert, splits_of,
};
use yolo_data::dataset::{Dataset, ScanOptions, Split};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: coco_to_yolo OUT INSTANCES.json …")?;
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let config = config_of_json(&files, None)?;
    let open = |split| Ok((split, Dataset::open(&config, split, &ScanOptions::default(), &|_, _| {})?));
    let opened =
        splits_of(&config).into_iter().map(open).collect::<yolo_data::Result<Vec<(Split, Dataset)>>>()?;
    let splits: Vec<(Split, &Dataset)> = opened.iter().map(|(split, dataset)| (*split, dataset)).collect();
    let options =
        ConvertOptions { layout: Layout::Yolo, placement: Placement::Link, category_ids: CategoryIds::Auto };
    let done = convert(&splits, Path::new(&out), options, &mut |_| true)?;
    println!("{} images with {} objects in {out}", done.images, done.objects);
    Ok(())
}
