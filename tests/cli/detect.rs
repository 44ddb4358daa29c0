//! `detect` on images: what it finds, draws, writes and says.

use image::{ImageFormat, RgbImage};
use serde_json::Value;

use crate::downloads::Server;
use crate::support::{Case, IMAGES, NAMES, encoded, keys, picture, shared};
use crate::training_support::files;

/// The tiny model on the images of the tiny data set; its scores are near 0.25.
const DETECT: &str =
    "detect --weights in/tiny.safetensors --source in/data/images/val --imgsz 64 --conf-thres 0.2";

/// The detections of an image in the JSON object.
fn detections(result: &Value) -> &Vec<Value> {
    result["detections"].as_array().unwrap()
}

fn corners(detection: &Value) -> [i64; 4] {
    let xyxy: Vec<i64> = detection["xyxy"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect();
    xyxy.try_into().unwrap()
}

fn picture_at(case: &Case, name: &str) -> RgbImage {
    image::load_from_memory(&case.read(name)).unwrap().to_rgb8()
}

#[test]
fn images_come_back_with_boxes_in_the_colours_of_their_classes() {
    let case = Case::with_data();
    let outcome = case.run(&format!("{DETECT} --line-thickness 1 --hide-labels --json")).ok();
    outcome.shows(&["image 1/4", "64x64", "Speed:", "Results saved to runs/detect/exp"]);
    let found = case.run(&format!("{DETECT} --line-thickness 1 --hide-labels --json --exist-ok")).ok().json();
    assert_eq!(
        keys(&found),
        ["imgsz", "results", "save_dir", "schema", "skipped", "source", "speed_ms", "weights"]
    );
    assert_eq!(found["save_dir"], "runs/detect/exp");
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), IMAGES.len());
    let colours = [[255, 56, 56], [255, 157, 151], [255, 112, 31]];
    let mut checked = 0;
    for (index, result) in results.iter().enumerate() {
        assert_eq!((&result["width"], &result["network"]), (&64.into(), &serde_json::json!([64, 64])));
        let drawn = picture_at(&case, &format!("runs/detect/exp/{}.png", IMAGES[index]));
        assert_eq!(drawn.dimensions(), (64, 64));
        // The surest is drawn last, so nothing covers it.
        let Some(surest) = detections(result).first() else { continue };
        let class = surest["class"].as_u64().unwrap() as usize;
        assert_eq!(surest["name"], NAMES[class]);
        let [x1, y1, x2, y2] = corners(surest);
        for (x, y) in [(x1, (y1 + y2) / 2), (x2, (y1 + y2) / 2), ((x1 + x2) / 2, y1), ((x1 + x2) / 2, y2)] {
            if x < 64 && y < 64 {
                assert_eq!(drawn.get_pixel(x as u32, y as u32).0, colours[class], "{x} {y} of {surest}");
                checked += 1;
            }
        }
    }
    assert!(checked > 4, "the tiny model finds nothing: {found}");
}

#[test]
fn formats_stay_what_they_were() {
    let case = Case::with_model();
    let formats = [("a.jpg", ImageFormat::Jpeg), ("b.png", ImageFormat::Png), ("c.bmp", ImageFormat::Bmp)];
    for (name, format) in formats {
        case.write(&format!("in/mixed/{name}"), encoded(&picture(0), ImageFormat::Png));
        let content = case.read(&format!("in/mixed/{name}"));
        assert_eq!(image::guess_format(&content).unwrap(), ImageFormat::Png);
        if format != ImageFormat::Jpeg {
            case.write(&format!("in/mixed/{name}"), encoded(&picture(0), format));
        }
    }
    case.run("detect --weights in/tiny.safetensors --source in/mixed --imgsz 64").ok();
    for (name, format) in formats {
        let content = case.read(&format!("runs/detect/exp/{name}"));
        assert_eq!(image::guess_format(&content).unwrap(), format, "{name}");
    }
}

#[test]
fn labels_crops_and_table_hold_every_detection() {
    let case = Case::with_data();
    let outcome =
        case.run(&format!("{DETECT} --save-txt --save-conf --save-crop --save-csv --nosave --json")).ok();
    let found = outcome.json();
    let table = String::from_utf8(case.read("runs/detect/exp/predictions.csv")).unwrap();
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("Image Name,Prediction,Confidence"));
    let mut crops = 0;
    for (name, result) in IMAGES.iter().zip(found["results"].as_array().unwrap()) {
        let path = format!("runs/detect/exp/labels/{name}.txt");
        if detections(result).is_empty() {
            assert!(!case.path(&path).exists(), "{path}");
            continue;
        }
        let text = String::from_utf8(case.read(&path)).unwrap();
        assert_eq!(text.lines().count(), detections(result).len());
        for (line, detection) in text.lines().zip(detections(result).iter().rev()) {
            let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [x1, y1, x2, y2] = corners(detection).map(|edge| edge as f64 / 64.0);
            let score = detection["confidence"].as_f64().unwrap();
            let class = detection["class"].as_f64().unwrap();
            let expected = [class, (x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1, score];
            for (number, expected) in numbers.iter().zip(expected) {
                assert!((number - expected).abs() < 1e-5, "{line}: {detection}");
            }
            let row = format!("{name}.png,{},{score:.2}", NAMES[class as usize]);
            assert_eq!(rows.next(), Some(row.as_str()));
        }
        crops += detections(result).len();
    }
    assert!(crops > 4 && rows.next().is_none(), "{table}");
    let cut: Vec<&String> = outcome.written.iter().filter(|path| path.ends_with(".jpg")).collect();
    assert_eq!(cut.len(), crops, "{cut:?}");
    assert!(cut.iter().all(|path| path.starts_with("runs/detect/exp/crops/")), "{cut:?}");
    assert!(!outcome.written.iter().any(|path| path.ends_with(".png")), "{:?}", outcome.written);
}

#[test]
fn corners_are_written_where_they_are_wanted() {
    let case = Case::with_data();
    let found = case.run(&format!("{DETECT} --save-txt --save-format 1 --json")).ok().json();
    let surest = &detections(&found["results"][0])[0];
    let text = String::from_utf8(case.read("runs/detect/exp/labels/000001.txt")).unwrap();
    let last: Vec<f64> = text.lines().last().unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    let expected = corners(surest).map(|edge| edge as f64 / 64.0);
    assert_eq!(last.len(), 5);
    assert!(last[1..].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{last:?} {surest}");
    case.run(&format!("{DETECT} --save-format 1")).bad_arguments(&["--save-txt"]);
}

#[test]
fn a_bad_image_costs_itself() {
    let case = Case::with_data();
    case.write("in/data/images/val/000003.png", b"not an image");
    let outcome = case.run(&format!("{DETECT} --json")).ok();
    let outcome = outcome.warns(&["left out", "000003.png", "not an image"]).warns(&["1 of 4"]);
    let found = outcome.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 3);
    assert!(found["skipped"][0]["error"].as_str().unwrap().contains("000003.png"), "{found}");
    assert!(!case.path("runs/detect/exp/000003.png").exists());
    let one = "detect --weights in/tiny.safetensors --source in/data/images/val/000003.png";
    case.run(one).fails(&["000003.png", "not an image"]);
}

#[test]
fn sources_are_patterns_lists_and_single_images() {
    let case = Case::with_data();
    let looked_at = |source: &str| {
        let args = ["detect", "--weights", "in/tiny.safetensors", "--imgsz", "64", "--nosave", "--json"];
        let found = case.run_args(&[&args[..], &["--source", source]].concat()).ok().json();
        let results = found["results"].as_array().unwrap().clone();
        results.iter().map(|r| r["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(looked_at("in/data/images/val/000002.png"), ["in/data/images/val/000002.png"]);
    let two = ["in/data/images/val/000001.png", "in/data/images/val/000003.png"];
    assert_eq!(looked_at("in/data/images/*/00000[13].png"), two);
    case.write("in/list.txt", "data/images/val/000004.png\nin/data/images/val/000001.png\n");
    let listed = ["in/data/images/val/000004.png", "in/data/images/val/000001.png"];
    assert_eq!(looked_at("in/list.txt"), listed);
    assert!(!case.path("runs/detect/exp").exists(), "a run that writes nothing leaves its folder");
}

#[test]
fn images_of_one_name_do_not_overwrite_each_other() {
    let case = Case::with_model();
    for folder in ["a", "b"] {
        case.write(&format!("in/{folder}/same.png"), encoded(&picture(0), ImageFormat::Png));
    }
    let args = "detect --weights in/tiny.safetensors --source in/*/same.png --imgsz 64";
    case.run(&format!("{args} --conf-thres 0.2 --save-csv")).ok().warns(&["same_2"]);
    let table = String::from_utf8(case.read("runs/detect/exp/predictions.csv")).unwrap();
    let mut names: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    names.dedup();
    assert_eq!(names, ["same.png", "same_2.png"]);
    assert!(
        case.path("runs/detect/exp/same.png").exists() && case.path("runs/detect/exp/same_2.png").exists()
    );
}

#[test]
fn a_run_in_an_old_folder_leaves_no_stale_label_file() {
    let case = Case::with_data();
    let labels = || files(&case, "runs/detect/exp/labels").keys().cloned().collect::<Vec<_>>();
    case.run(&format!("{DETECT} --save-txt --nosave")).ok();
    assert!(labels().len() > 2, "{:?}", labels());
    // An image that this run does not look at keeps its file.
    let one = "detect --weights in/tiny.safetensors --imgsz 64 --source in/data/images/val/000001.png --save-txt --nosave";
    case.run(&format!("{one} --conf-thres 0.99 --exist-ok")).ok();
    assert!(!labels().contains(&"000001.txt".to_owned()) && labels().len() > 1, "{:?}", labels());
}

#[test]
#[cfg(unix)]
fn links_that_lead_nowhere_are_one_line_each() {
    let case = Case::with_data();
    std::os::unix::fs::symlink("../gone.png", case.path("in/data/images/val/000009.png")).unwrap();
    let outcome = case.run(&format!("{DETECT} --nosave")).ok();
    outcome.warns(&["left out: in/data/images/val/000009.png: a link to ../gone.png, which is not there"]);
    case.run("detect --weights in/tiny.safetensors --source in/data/images/val/000009.png")
        .fails(&["000009.png: a link to ../gone.png, which is not there; check --source"]);
}

#[test]
fn layers_are_shown_as_pictures_and_arrays() {
    let case = Case::with_data();
    let outcome = case.run(
        "detect --weights in/tiny.safetensors --source in/data/images/val/000001.png --imgsz 64 --nosave --visualize",
    );
    let written = outcome.ok().written;
    let pictures: Vec<&String> = written.iter().filter(|path| path.ends_with(".png")).collect();
    assert_eq!(pictures.len(), 5, "{written:?}");
    let first = picture_at(&case, "runs/detect/exp/features/000001/stage0_Conv_features.png");
    // Eight maps of 32 pixels, three times as large, side by side.
    assert_eq!(first.dimensions(), (8 * 98 + 2, 98 + 2));
    let array = case.read("runs/detect/exp/features/000001/stage3_Conv_features.npy");
    assert_eq!(array.len(), 128 + 4 * 24 * 8 * 8);
}

#[test]
fn images_are_downloaded_from_servers() {
    let case = Case::with_model();
    let server = Server::new(encoded(&picture(0), ImageFormat::Png));
    let url = format!("{}/photos/first.png?size=large", server.url);
    let outcome =
        case.run(&format!("detect --weights in/tiny.safetensors --imgsz 64 --source {url} --json")).ok();
    assert_eq!(outcome.json()["results"][0]["source"], url.as_str());
    assert_eq!(outcome.written.last().map(String::as_str), Some("runs/detect/exp/first.png"));
    let nobody = "http://127.0.0.1:9/a.png";
    case.run(&format!("detect --weights in/tiny.safetensors --source {nobody}"))
        .fails(&[nobody, "cannot be downloaded"]);
}

#[test]
fn only_classes_that_are_looked_for_are_found() {
    let case = Case::with_data();
    let classes = |more: &str| {
        let found = case.run(&format!("{DETECT} --nosave --json {more}")).ok().json();
        let results = found["results"].as_array().unwrap().clone();
        let mut classes: Vec<u64> =
            results.iter().flat_map(detections).map(|d| d["class"].as_u64().unwrap()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    };
    let all = classes("");
    assert!(!all.is_empty());
    let one = all[0];
    assert_eq!(classes(&format!("--classes {one}")), [one]);
    assert_eq!(classes(&format!("--classes {}", NAMES[one as usize])), [one]);
    let two: Vec<u64> = classes("--classes 0,2");
    assert_eq!(two, all.into_iter().filter(|class| *class != 1).collect::<Vec<_>>());
    assert_eq!(two, classes("--classes red,blue"));
    case.run(&format!("{DETECT} --classes dog")).fails(&["--classes dog", "red, green, blue"]);
}

#[test]
fn what_cannot_be_looked_at_is_an_error() {
    let case = Case::with_data();
    let run = |source: &str| case.run(&format!("detect --weights in/tiny.safetensors --source {source}"));
    run("in/none.jpg").fails(&["in/none.jpg", "no such file", "--source"]);
    run("in/data/labels/val").fails(&["in/data/labels/val", "no image or video"]);
    run("in/data/data.yaml").fails(&["data.yaml", "not an image"]);
    run("in/*.jpg").fails(&["in/*.jpg", "matches"]);
    run("ftp://host/x").fails(&["ftp://"]);
    run("screen").fails(&["--source screen", "ffmpeg"]);
    case.run("detect --weights in/tiny.safetensors").fails(&["--source"]);
    case.run(&format!("{DETECT} --data coco128")).fails(&["3 classes", "80"]);
    case.run(&format!("{DETECT} --vid-stride 0")).bad_arguments(&["--vid-stride"]);
}

#[test]
fn without_flags_it_looks_at_the_example() {
    let case = Case::empty();
    let found = case.run("detect --json").ok().json();
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 8);
    let count: usize = results.iter().map(|result| detections(result).len()).sum();
    assert!(count >= 8, "{count} of the drawn shapes were found");
    assert!(case.path("runs/detect/exp").read_dir().unwrap().count() == 8);
}

#[test]
fn several_looks_and_several_networks_go_into_one_suppression() {
    let case = Case::with_data();
    let boxes = |more: &str| {
        let found = case.run(&format!("{DETECT} --nosave --json {more}")).ok().json();
        let results = found["results"].as_array().unwrap();
        results.iter().flat_map(detections).map(|found| found["xyxy"].clone()).collect::<Vec<_>>()
    };
    // The same boxes twice suppress each other.
    assert_eq!(boxes("--weights in/tiny.safetensors"), boxes(""));
    assert_ne!(boxes("--augment"), boxes(""));
}

/// The reference letterboxed to the whole square, where its boxes are in `nms.json`.
#[test]
fn boxes_of_the_real_network_are_the_references() {
    let (Some(weights), Some(images)) =
        (shared("weights/yolov5n.pt"), shared("data/coco-tiny/images/val2017"))
    else {
        return;
    };
    let Some(reference) = shared("reference/yolov5n") else { return };
    let json = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(reference.join(name)).unwrap()).unwrap()
    };
    let (boxes, forward) = (json("nms.json"), json("forward.json"));
    let case = Case::empty();
    for (index, image) in forward["images"].as_array().unwrap().iter().enumerate() {
        let path = images.join(image["file"].as_str().unwrap());
        let args = ["detect", "--square", "--nosave", "--json", "--weights", weights.to_str().unwrap()];
        let found = case.run_args(&[&args[..], &["--source", path.to_str().unwrap()]].concat()).ok().json();
        let found = detections(&found["results"][0]);
        let expected = boxes["conf_0_25_iou_0_45"][index].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{}", path.display());
        let number = |value: &Value| value.as_f64().unwrap();
        let (height, width) = (number(&image["shape"][0]), number(&image["shape"][1]));
        for (found, expected) in found.iter().zip(expected) {
            let edge = |i: usize| {
                let (pad, limit) = if [0, 2].contains(&i) { (0, width) } else { (1, height) };
                let original =
                    (number(&expected[i]) - number(&image["pad"][pad])) / number(&image["ratio"][pad]);
                original.clamp(0.0, limit).round_ties_even()
            };
            for (i, corner) in corners(found).into_iter().enumerate() {
                assert!((corner as f64 - edge(i)).abs() <= 1.0, "{found} {expected}");
            }
            assert_eq!(number(&found["class"]), number(&expected[5]));
            assert!((number(&found["confidence"]) - number(&expected[4])).abs() < 1e-3, "{found} {expected}");
        }
    }
}
