//! Weights that are not there, not whole, or not weights.

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use serde_json::Value;
use yolo_model::weights::FloatFormat;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support::{Case, VAL, shared, tiny};

/// Runs `info` on a file with this content, which has to fail with the file's name and all `parts`.
fn refuse(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let case = Case::empty();
    let file = format!("in/{name}");
    case.write(&file, content);
    let parts = [&[file.as_str()], parts].concat();
    case.run(&format!("info --weights {file}")).fails(&parts);
}

/// An uncompressed ZIP archive.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The tiny model's file with another header; `change` gets the whole header.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let case = Case::with_model();
    let bytes = case.read("in/tiny.safetensors");
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    let mut json = header.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json, &bytes[8 + length..]].concat()
}

/// The tiny model's file with another value under a metadata key.
fn with_metadata(key: &str, value: &str) -> Vec<u8> {
    with_header(|header| header["__metadata__"][key] = value.into())
}

#[test]
fn every_command_names_a_file_that_is_not_there() {
    let case = Case::with_data();
    let parts = ["in/gone.pt", "no such file", "--weights"];
    case.run("info --weights in/gone.pt").fails(&parts);
    case.run("val --weights in/gone.pt --data in/data/data.yaml").fails(&parts);
    case.run("prune --weights in/gone.pt --amount 0.3 --out out.safetensors").fails(&parts);
}

#[test]
fn a_folder_is_not_a_checkpoint() {
    let case = Case::empty();
    case.run("info --weights in").fails(&["in:", "folder", "name the checkpoint in it"]);
}

#[test]
fn a_released_name_that_is_nowhere_comes_with_the_command_that_gets_it() {
    let case = Case::empty();
    let command = "cargo xtask fetch-weights yolov5s";
    for name in ["yolov5s", "yolov5s.pt"] {
        let cache = case.path("cache/yolo-prune/weights/yolov5s.pt");
        let parts = ["no such file", "weights/yolov5s.pt", cache.to_str().unwrap(), command];
        case.run(&format!("info --weights {name} --offline")).fails(&parts);
    }
    case.run("info --weights yolov9z").fails(&["yolov9z", "no such file", "check --weights"]);
}

#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4062133\n";
    refuse("empty.pt", "", &["0 bytes", "download"]);
    refuse(
        "notes.pt",
        "these are not the weights\nyou are looking for\n",
        &["text file", "give a YOLOv5 .pt"],
    );
    refuse("pointer.pt", lfs, &["Git LFS pointer", "git lfs pull"]);
    refuse("page.pt", "<!DOCTYPE html>\n<html><body>404</body></html>", &["HTML", "download"]);
    refuse("zeros.pt", [0; 4096], &["zeros", "download"]);
    refuse("noise.pt", [0xab; 999], &["not a ZIP archive", "give a YOLOv5 .pt"]);
    refuse("zip.pt", archive(&[("readme.txt", b"hello")]), &["without a data.pkl", "give a YOLOv5 .pt"]);
    refuse("zip.pt", archive(&[]), &["ZIP archive"]);
}

#[test]
fn a_pickle_that_would_run_code_is_refused_and_not_run() {
    let case = Case::empty();
    for (module, name) in [("os", "system"), ("posix", "system"), ("builtins", "exec"), ("nt", "system")] {
        let order = "touch owned";
        let mut pickle = format!("\u{0}c{module}\n{name}\n(X").into_bytes();
        pickle.splice(0..1, [0x80, 2]);
        pickle.extend((order.len() as u32).to_le_bytes());
        pickle.extend(order.as_bytes());
        pickle.extend(b"tR.");
        case.write("in/best.pt", archive(&[("best/data.pkl", &pickle), ("best/version", b"3\n")]));
        let parts = ["in/best.pt", &format!("{module} {name}"), "run code", "source you trust"];
        case.run("info --weights in/best.pt").fails(&parts);
        case.run("prune --weights in/best.pt --amount 0.3 --out out.safetensors").fails(&parts);
        assert!(!case.path("owned").exists());
    }
}

#[test]
fn pickles_that_are_cut_or_hold_no_model_are_refused() {
    let pt = |pickle: &[u8]| archive(&[("best/data.pkl", pickle), ("best/version", b"3\n")]);
    refuse("cut.pt", pt(b"\x80\x02}q\x00("), &["data.pkl", "; "]);
    refuse("nothing.pt", pt(b""), &["data.pkl", "; "]);
    refuse("none.pt", pt(b"\x80\x02N."), &["; "]);
    refuse("dict.pt", pt(b"\x80\x02}."), &["; "]);
    refuse("list.pt", pt(b"\x80\x02]."), &["; "]);
}

#[test]
fn a_released_checkpoint_that_is_cut_anywhere_is_refused() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let bytes = std::fs::read(weights).unwrap();
    for cut in [1, 3, 30, 100, 5_000, 50_000, bytes.len() / 2, bytes.len() - 1000, bytes.len() - 1] {
        refuse("yolov5n.pt", &bytes[..cut], &["; "]);
    }
}

#[test]
fn a_released_checkpoint_with_a_flipped_byte_is_refused() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let mut bytes = std::fs::read(weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    refuse("yolov5n.pt", bytes, &["data/", "download or save the file again"]);
}

#[test]
fn safetensors_that_are_cut_anywhere_are_refused() {
    let bytes = Case::with_model().read("in/tiny.safetensors");
    for cut in [0, 1, 7, 8, 9, 200, bytes.len() / 2, bytes.len() - 1] {
        refuse("tiny.safetensors", &bytes[..cut], &["; "]);
    }
    refuse("long.safetensors", [&bytes[..], b"more"].concat(), &["bytes after its last tensor", "; "]);
    refuse("claims.safetensors", [&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["claims", "; "]);
}

#[test]
fn a_damaged_description_of_the_network_names_its_key() {
    refuse(
        "a.safetensors",
        with_metadata("architecture", "{\"in_chan"),
        &["architecture", "damaged", "again"],
    );
    refuse("a.safetensors", with_metadata("architecture", "[]"), &["architecture", "damaged", "again"]);
    refuse("a.safetensors", with_metadata("names", "[\"red\", "), &["names", "damaged", "again"]);
    refuse("a.safetensors", with_metadata("names", "[\"red\"]"), &["1 class names for 3 classes"]);
    refuse("a.safetensors", with_metadata("pruning", "{"), &["pruning", "damaged", "again"]);
}

#[test]
fn a_network_that_does_not_fit_together_names_its_layer() {
    let change = |edit: &dyn Fn(&mut Value)| {
        with_header(|header| {
            let metadata = &mut header["__metadata__"]["architecture"];
            let mut architecture: Value = serde_json::from_str(metadata.as_str().unwrap()).unwrap();
            edit(&mut architecture);
            *metadata = architecture.to_string().into();
        })
    };
    let conv = |layer: usize, key: &'static str, value: Value| {
        change(&move |architecture| architecture["layers"][layer]["block"]["Conv"][key] = value.clone())
    };
    refuse("a.safetensors", conv(1, "in", 9.into()), &["layer 1 (Conv)", "9 input channels", "8"]);
    refuse("a.safetensors", conv(3, "out", 1_000_000_000.into()), &["layer 3 (Conv)", "1000000000"]);
    refuse("a.safetensors", conv(0, "s", vec![0, 0].into()), &["layer 0 (Conv)", "stride"]);
    refuse("a.safetensors", conv(0, "k", vec![5, 5].into()), &["model.0.conv.weight", "shape"]);
    let headless = change(&|architecture| drop(architecture["layers"].as_array_mut().unwrap().pop()));
    refuse("a.safetensors", headless, &["layer 4", "Detect"]);
    let circular = change(&|architecture| architecture["layers"][2]["from"] = vec![5].into());
    refuse("a.safetensors", circular, &["layer 2 (C3)", "not an earlier layer"]);
}

#[test]
fn tensors_that_do_not_belong_to_the_network_are_named() {
    let renamed = with_header(|header| {
        let header = header.as_object_mut().unwrap();
        let tensor = header.remove("model.1.conv.weight").unwrap();
        header.insert("model.1.conv.wait".to_owned(), tensor);
    });
    refuse("a.safetensors", renamed, &["model.1.conv.weight"]);
    let retyped = with_header(|header| header["model.0.bn.bias"]["dtype"] = "F8_E4M3".into());
    refuse("a.safetensors", retyped, &["model.0.bn.bias", "F8_E4M3", "save it as F16 or F32"]);
}

#[test]
fn weights_that_are_not_numbers_fail_with_their_file() {
    let case = Case::with_data();
    let mut broken = tiny();
    broken.weights.get_mut("model.1.conv.weight").unwrap().f32s_mut().unwrap()[5] = f32::NAN;
    broken.save(&case.path("in/nan.safetensors"), FloatFormat::F32).unwrap();
    let val = VAL.replace("tiny", "nan");
    case.run(&val).fails(&["in/nan.safetensors", "not finite", "NaN"]);
    case.run(&format!("{val} --prune 0.3")).fails(&["in/nan.safetensors", "NaN"]);
    for format in ["onnx", "pt", "state-dict"] {
        let export = format!("export --weights in/nan.safetensors --format {format}");
        let parts = ["in/nan.safetensors: model.1.conv.weight: 1 values are NaN or infinite"];
        case.run(&export).fails(&parts);
    }
}

#[test]
fn a_checkpoint_of_the_wrong_kind_is_refused_before_the_data_is_read() {
    let case = Case::with_data();
    case.write("in/best.pt", "no");
    let start = Instant::now();
    case.run("val --weights in/best.pt --data in/data/data.yaml").fails(&["in/best.pt", "text file"]);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(!case.path("cache").exists(), "the data set was scanned");
}

#[test]
fn a_network_that_does_not_read_pictures_is_refused_wherever_pictures_are() {
    let Some(weights) = shared("reference/yolov5-modules/ch4-mul4.pt") else { return };
    let case = Case::with_data();
    let weights = weights.to_str().unwrap();
    for device in ["cpu", "flex"] {
        let val =
            ["val", "--weights", weights, "--data", "in/data/data.yaml", "--imgsz", "64", "--device", device];
        case.run_args(&val).fails(&["4 channels"]);
    }
    let detect = ["detect", "--weights", weights, "--source", "in/data/images/val", "--imgsz", "64"];
    case.run_args(&detect).fails(&["4 channels"]);
}
