//! The kinds of files that are accepted.

use yolo_model::weights::{HostTensor, read_torch};

use super::assembler::{Pickle, View, archive, file, pt, refusal, state_dict_pickle};

const MODEL: (&str, &str) = ("models.yolo", "DetectionModel");

fn read(bytes: &[u8]) -> yolo_model::weights::TorchCheckpoint {
    let file = file("best.pt", bytes);
    read_torch(&file.path).unwrap()
}

fn matrix() -> HostTensor {
    HostTensor::from_f32s([2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
}

/// The three tables every module has; `body` appends to each.
fn tables(p: Pickle, parameter: &str, buffer: &str, children: impl FnOnce(Pickle) -> Pickle) -> Pickle {
    let view = View::default();
    let p = p.str("_parameters").ordered_dict().op(b"(");
    let p = if parameter.is_empty() { p } else { p.str(parameter).tensor(&view) };
    let p = p.str("none").op(b"Nu").str("_buffers").ordered_dict().op(b"(");
    let p = if buffer.is_empty() { p } else { p.str(buffer).tensor(&view) };
    children(p.op(b"u").str("_modules").ordered_dict().op(b"(")).op(b"u")
}

fn small_model(p: Pickle, class: (&str, &str), parameter: &str) -> Pickle {
    p.module(class, |p| {
        let p = tables(p, parameter, "steps", |p| {
            p.str("0").module(("models.common", "Conv"), |p| tables(p, "bias", "anchor_grid", |p| p))
        });
        p.str("nc").int(2)
    })
}

#[test]
fn the_average_is_preferred_to_the_model_it_averages() {
    let pickle = Pickle::new().dict(&["model", "ema", "epoch"], |p, key| match key {
        "epoch" => p.int(7),
        _ => small_model(p, MODEL, if key == "ema" { "averaged" } else { "weight" }),
    });
    let checkpoint = read(&pt(&pickle.stop()));
    // Parameters, then buffers, then children; the anchor grid of old files is left out.
    assert_eq!(checkpoint.state.names().collect::<Vec<_>>(), ["averaged", "steps", "0.bias"]);
    assert_eq!(checkpoint.state.require("averaged").unwrap(), &matrix());
    assert_eq!((checkpoint.used_ema, checkpoint.epoch, checkpoint.num_classes), (true, Some(7), Some(2)));
}

#[test]
fn a_bare_network_is_a_checkpoint() {
    let checkpoint = read(&pt(&small_model(Pickle::new(), MODEL, "weight").stop()));
    assert_eq!(checkpoint.module.unwrap().class, "models.yolo.DetectionModel");
    assert_eq!(checkpoint.state.len(), 3);
}

#[test]
fn a_parallel_wrapper_is_taken_off() {
    let pickle = Pickle::new().module(("torch.nn.parallel.data_parallel", "DataParallel"), |p| {
        tables(p, "", "", |p| small_model(p.str("module"), MODEL, "weight"))
    });
    let checkpoint = read(&pt(&pickle.stop()));
    assert_eq!(checkpoint.num_classes, Some(2));
    assert!(checkpoint.state.contains("weight"));
}

#[test]
fn state_dicts_are_found_under_the_usual_keys_and_at_the_top() {
    for key in ["model", "state_dict", "model_state_dict"] {
        let pickle = Pickle::new().dict(&["epoch", key], |p, at| match at {
            "epoch" => p.int(1),
            _ => p.dict(&["module.0.weight", "module.1.weight"], |p, _| p.tensor(&View::default())),
        });
        let checkpoint = read(&pt(&pickle.stop()));
        assert_eq!(checkpoint.state.names().collect::<Vec<_>>(), ["0.weight", "1.weight"], "{key}");
        assert!(checkpoint.module.is_none());
    }
    let top = Pickle::new().dict(&["model.0.weight", "module.1.weight"], |p, _| p.tensor(&View::default()));
    let checkpoint = read(&pt(&top.stop()));
    assert_eq!(checkpoint.state.names().collect::<Vec<_>>(), ["model.0.weight", "module.1.weight"]);
}

#[test]
fn names_may_be_a_dict_in_any_order() {
    let pickle = small_model(Pickle::new(), MODEL, "weight");
    // The last two opcodes close and attach the attributes: put the names before them.
    let open = Pickle(pickle.0[..pickle.0.len() - 2].to_vec());
    let named = open.str("names").op(b"}(").int(9).str("dog").int(0).str("cat").op(b"u").op(b"ub");
    assert_eq!(read(&pt(&named.stop())).class_names.unwrap(), ["cat", "dog"]);
}

#[test]
fn views_are_read_in_the_order_of_their_strides() {
    let transposed = View { shape: &[3, 2], strides: &[1, 3], ..View::default() };
    let read_view = |view: &View| read(&pt(&state_dict_pickle(view))).state.f32s("weight").unwrap().to_vec();
    assert_eq!(read_view(&transposed), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(read_view(&View { offset: 4, shape: &[2], strides: &[1], ..View::default() }), [4.0, 5.0]);
    assert_eq!(read_view(&View { offset: 5, shape: &[2, 2], strides: &[0, 0], ..View::default() }), [5.0; 4]);
    assert_eq!(read_view(&View { shape: &[], strides: &[], ..View::default() }), [0.0]);
    assert_eq!(read_view(&View { shape: &[0, 3], strides: &[3, 1], ..View::default() }), [0.0; 0]);
}

#[test]
fn every_storage_type_becomes_a_float_or_an_integer() {
    let cases: [(&str, &[u8], HostTensor); 10] = [
        ("HalfStorage", &[0x00, 0xbc], HostTensor::from_f32s([1], vec![-1.0])),
        ("BFloat16Storage", &[0x80, 0xbf], HostTensor::from_f32s([1], vec![-1.0])),
        ("FloatStorage", &(-1.5_f32).to_le_bytes(), HostTensor::from_f32s([1], vec![-1.5])),
        ("DoubleStorage", &(-1.5_f64).to_le_bytes(), HostTensor::from_f32s([1], vec![-1.5])),
        ("LongStorage", &(-3_i64).to_le_bytes(), HostTensor::from_i64s([1], vec![-3])),
        ("IntStorage", &(-3_i32).to_le_bytes(), HostTensor::from_i64s([1], vec![-3])),
        ("ShortStorage", &(-3_i16).to_le_bytes(), HostTensor::from_i64s([1], vec![-3])),
        ("CharStorage", &[0xfd], HostTensor::from_i64s([1], vec![-3])),
        ("ByteStorage", &[0xfd], HostTensor::from_i64s([1], vec![253])),
        ("BoolStorage", &[1], HostTensor::from_i64s([1], vec![1])),
    ];
    for (storage_class, bytes, expected) in cases {
        let view = View { storage_class, storage_len: 1, shape: &[1], strides: &[1], ..View::default() };
        let pickle = state_dict_pickle(&view);
        let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", bytes)];
        let checkpoint = read(&archive(&entries, zip::CompressionMethod::Stored));
        assert_eq!(checkpoint.state.get("weight"), Some(&expected), "{storage_class}");
    }
}

#[test]
fn newer_protocols_are_understood() {
    let pickle = Pickle(vec![0x80, 4, 0x95])
        .op(&99_u64.to_le_bytes())
        .op(b"}\x94\x8c\x05epoch\x94\x8a\x01\x03s\x8c\x05state\x8c\x04deep\x93\x8f(K\x01K\x02\x90N\x92")
        .op(b"0\x8c\x05model")
        .dict(&["weight"], |p, _| p.tensor(&View::default()));
    let checkpoint = read(&pt(&pickle.op(b"s.").0));
    assert_eq!((checkpoint.epoch, checkpoint.state.len()), (Some(3), 1));
}

#[test]
fn foreign_objects_beside_the_model_are_ignored() {
    let pickle = Pickle::new().dict(&["opt", "best_fitness", "model"], |p, key| match key {
        "opt" => p.global("pathlib", "PosixPath").op(b"(").str("runs").op(b"tR"),
        "best_fitness" => p
            .global("numpy.core.multiarray", "_reconstruct")
            .global("numpy", "ndarray")
            .ints(&[0])
            .op(b"\x86R"),
        _ => p.dict(&["weight"], |p, _| p.tensor(&View::default())),
    });
    assert_eq!(read(&pt(&pickle.stop())).state.len(), 1);
}

#[test]
fn other_tasks_and_other_dicts_are_named() {
    let segmentation = small_model(Pickle::new(), ("models.yolo", "SegmentationModel"), "weight").stop();
    assert!(refusal(&pt(&segmentation)).contains("only detection models are supported"));
    let settings = Pickle::new().dict(&["lr0", "lrf"], |p, _| p.float(0.1)).stop();
    assert!(refusal(&pt(&settings)).contains("its keys are [lr0, lrf]"));
    assert!(refusal(&pt(&Pickle::new().int(3).stop())).contains("single value"));
    let missing = read(&pt(&state_dict_pickle(&View::default()))).state;
    assert!(
        missing.require("bias").unwrap_err().to_string().contains("best.pt: `bias`: no such tensor among 1")
    );
}
