//! A folder with everything that documented commands name: small networks and a few small images under the names of
//! the real ones.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use yolo_data::image::{RgbImage, encode_jpeg};
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::{Method, PruneOptions, apply, plan};

use crate::support::Case;

/// Checkpoints that documents name. The real ones come from PyTorch; a file is known by its content, not by its name.
const CHECKPOINTS: [&str; 16] = [
    "yolov5n.pt",
    "yolov5s.pt",
    "weights/yolov5s.pt",
    "weights/yolov5x.pt",
    "best.pt",
    "a.pt",
    "b.pt",
    "trained.pt",
    "pruned.pt",
    "s.safetensors",
    "pruned.safetensors",
    "packed.safetensors",
    "half.safetensors",
    "seventy.safetensors",
    "narrow.safetensors",
    "small.safetensors",
];
/// Folders of images without labels.
const PICTURES: [&str; 5] = ["photos", "few", "images/train", "images/train2017", "images/val2017"];
/// Sides of the images in pixels.
const SIZE: (u32, u32) = (96, 64);

/// Writes it all into the folder of `case`.
pub(super) fn set(case: &Case) {
    let dense = network();
    let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.5)).unwrap();
    let pruned = apply(&dense, &plan).unwrap();
    for name in CHECKPOINTS {
        std::fs::create_dir_all(case.path(name).parent().unwrap()).unwrap();
        // What documents make on their way is pruned.
        let is_dense = name.ends_with(".pt") && name != "pruned.pt";
        let network = if is_dense { &dense } else { &pruned };
        network.save(&case.path(name), FloatFormat::F32).unwrap();
    }
    // Documents on the other family name it.
    network_of(Architecture::variant("yolo11n", Some(80)).unwrap())
        .save(&case.path("yolo11n.pt"), FloatFormat::F32)
        .unwrap();
    for folder in PICTURES {
        (0..2).for_each(|number| drop(case.write(&format!("{folder}/{number:06}.jpg"), picture(number))));
    }
    case.write("photos/000000010764.jpg", picture(1));
    case.write("photos/a.png", crate::support::encoded(&crate::support::picture(2), image::ImageFormat::Png));
    case.write("bus.jpg", picture(3));
    for (yaml, folder, [train, val]) in [
        ("mine.yaml", "mine", ["train", "val"]),
        ("coco-tiny.yaml", "coco-tiny", ["train2017", "val2017"]),
        ("coco.yaml", "datasets/coco", ["train2017", "val2017"]),
    ] {
        dataset(case, folder, [train, val]);
        let lines = format!("path: {folder}\ntrain: images/{train}\nval: images/{val}\ntest: images/{val}\n");
        case.write(yaml, lines + names());
    }
    dataset(case, "datasets/coco128", ["train2017", "train2017"]);
    for split in ["train2017", "val2017"] {
        let list: String =
            (0..2).map(|number| format!("./images/{split}/{}\n", name(split, number))).collect();
        case.write(&format!("datasets/coco/{split}.txt"), list);
        let json = annotations(split);
        case.write(&format!("annotations/instances_{split}.json"), json.to_string());
        case.write(&format!("datasets/coco/annotations/instances_{split}.json"), json.to_string());
        pictures_of(case, &format!("images/{split}"), split);
    }
    case.write("configs/models/demo.yaml", include_str!("../../../configs/models/demo.yaml"));
    case.write("instances_val2017.json", annotations("val2017").to_string());
    case.write("yolov5n_predictions.json", predictions("val2017").to_string());
    for (folder, split) in [("export/train", "train"), ("export/valid", "valid")] {
        case.write(&format!("{folder}/_annotations.coco.json"), annotations(split).to_string());
        pictures_of(case, folder, split);
    }
    case.write("instances.json", annotations("train").to_string());
    pictures_of(case, "photos", "train");
    for folder in [".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"] {
        std::fs::create_dir_all(case.path(folder)).unwrap();
    }
}

/// The layers of YOLOv5n at half of its width, with the classes of COCO.
fn network() -> Checkpoint {
    let yaml = include_str!("../../../configs/models/demo.yaml");
    network_of(Architecture::from_yaml(yaml, Some(80)).unwrap())
}

/// A random network of COCO's classes.
fn network_of(architecture: Architecture) -> Checkpoint {
    let mut network = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0)).unwrap();
    network.class_names = names()
        .lines()
        .filter_map(|line| line.trim_start().split_once(": "))
        .map(|(_, name)| name.trim().to_owned())
        .collect();
    network
}

/// The names of COCO's classes, as yaml.
fn names() -> &'static str {
    let yaml = include_str!("../../../configs/data/coco.yaml");
    &yaml[yaml.find("names:").unwrap()..]
}

/// Different ones for different splits, and with a number in them as COCO's have.
fn name(split: &str, number: usize) -> String {
    let first = if split.starts_with("train") { 100 } else { 200 };
    format!("{:012}.jpg", first + number)
}

/// COCO's id of an image: the number in its name.
fn image_id(split: &str, number: usize) -> u64 {
    name(split, number).trim_end_matches(".jpg").parse().unwrap()
}

fn picture(number: usize) -> Vec<u8> {
    let (width, height) = SIZE;
    let shade = |i: u32| (i * (3 + number as u32) % 200) as u8;
    let pixels = (0..width * height).flat_map(|i| [shade(i), shade(i / width), 40 + 30 * (number % 4) as u8]);
    let image = RgbImage { width, height, pixels: pixels.collect() };
    encode_jpeg(&image, 90).unwrap()
}

/// The images of a split.
fn pictures_of(case: &Case, folder: &str, split: &str) {
    let offset = if split.starts_with("train") { 0 } else { 10 };
    for number in 0..2 {
        case.write(&format!("{folder}/{}", name(split, number)), picture(offset + number));
    }
}

/// Two images in each split, and an object of either of two classes on each.
fn dataset(case: &Case, folder: &str, splits: [&str; 2]) {
    for split in splits {
        pictures_of(case, &format!("{folder}/images/{split}"), split);
        for number in 0..2 {
            let label = format!("{folder}/labels/{split}/{}", name(split, number).replace("jpg", "txt"));
            case.write(&label, format!("{} 0.5 0.5 0.5 0.5\n", 15 + number));
        }
    }
}

fn annotations(split: &str) -> Value {
    let image = |number: usize| json!({"id": image_id(split, number), "width": SIZE.0, "height": SIZE.1, "file_name": name(split, number)});
    let category =
        |(class, name): (usize, &String)| json!({"id": class + 1, "name": name, "supercategory": "thing"});
    let categories: Vec<Value> = network().class_names.iter().enumerate().map(category).collect();
    let annotation = |number: usize| {
        json!({"id": number + 1, "image_id": image_id(split, number), "category_id": 16 + number, "iscrowd": 0,
            "bbox": [24, 16, 48, 32], "area": 1536})
    };
    json!({
        "images": [image(0), image(1)],
        "categories": categories,
        "annotations": [annotation(0), annotation(1)],
    })
}

fn predictions(split: &str) -> Value {
    let found = |number: usize| json!({"image_id": image_id(split, number), "category_id": 16 + number, "bbox": [25, 16, 47, 30], "score": 0.8});
    json!([found(0), found(1)])
}
