//! Our own files: nothing lost, nothing half-written, nothing believed.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use yolo_model::weights::{
    FloatFormat, HostTensor, StateDict, Values, WeightsError, read_safetensors, write_safetensors,
};

use super::assembler::{file, message};

fn state() -> StateDict {
    let floats = vec![0.0, -0.0, 1.0, -2.5, 6.0e-8, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let tensors = [
        ("model.1.weight", HostTensor::from_f32s([2, 4], floats)),
        ("model.1.steps", HostTensor::from_i64s([], vec![i64::MIN])),
        ("model.0.bias", HostTensor::from_f32s([3], vec![0.5, 0.25, 0.125])),
        ("empty", HostTensor::from_f32s([0, 3], vec![])),
    ];
    tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect()
}

fn bits(tensor: &HostTensor) -> Vec<u64> {
    match &tensor.values {
        Values::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Values::I64(values) => values.iter().map(|value| *value as u64).collect(),
    }
}

fn assert_same(left: &StateDict, right: &StateDict) {
    assert!(left.names().eq(right.names()));
    for ((name, a), (_, b)) in left.iter().zip(right.iter()) {
        assert_eq!((&a.shape, bits(a)), (&b.shape, bits(b)), "{name}");
    }
}

fn round_trip(state: &StateDict, format: FloatFormat) -> (StateDict, BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pruned.safetensors");
    let metadata = BTreeMap::from([("config".to_string(), "nc: 2\n\"é\"".to_string())]);
    write_safetensors(&path, state, &metadata, format).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file stayed");
    read_safetensors(&path).unwrap()
}

#[test]
fn order_metadata_and_bits_survive() {
    // 6e-8 is one subnormal half away from zero, to rounding: make it exact first.
    let (exact, _) = round_trip(&state(), FloatFormat::F16);
    for format in [FloatFormat::F16, FloatFormat::F32] {
        let (back, metadata) = round_trip(&exact, format);
        assert_same(&exact, &back);
        assert_eq!(metadata["config"], "nc: 2\n\"é\"");
    }
    assert_same(&state(), &round_trip(&state(), FloatFormat::F32).0);
}

#[test]
fn every_half_precision_number_survives_in_both_formats() {
    let halves = (0..=u16::MAX).map(half::f16::from_bits).filter(|half| !half.is_nan());
    let values: Vec<f32> = halves.map(half::f16::to_f32).collect();
    let state = StateDict::from_iter([("w".to_string(), HostTensor::from_f32s([values.len()], values))]);
    for format in [FloatFormat::F16, FloatFormat::F32] {
        assert_same(&state, &round_trip(&state, format).0);
    }
}

#[test]
fn the_reference_implementation_reads_our_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write_safetensors(&path, &state(), &BTreeMap::new(), FloatFormat::F16).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), 4);
    let bias = theirs.tensor("model.0.bias").unwrap();
    assert_eq!((bias.dtype(), bias.shape()), (safetensors::Dtype::F16, &[3][..]));
    assert_eq!(bias.data(), [0x00, 0x38, 0x00, 0x34, 0x00, 0x30]);
    write_safetensors(&path, &state(), &BTreeMap::new(), FloatFormat::F16).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the same weights give the same file");
}

#[test]
fn a_value_too_large_for_half_precision_is_refused_and_the_old_file_kept() {
    let file = file("a.safetensors", b"old");
    let state = StateDict::from_iter([("w".to_string(), HostTensor::from_f32s([1], vec![65520.0]))]);
    let error = write_safetensors(&file.path, &state, &BTreeMap::new(), FloatFormat::F16).unwrap_err();
    assert!(message(&error, &file.path).contains("`w`: the value 65520 is too large"));
    assert_eq!(std::fs::read(&file.path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("no/such/a.safetensors"), folder.path().to_path_buf()] {
        let error = write_safetensors(&path, &state(), &BTreeMap::new(), FloatFormat::F32).unwrap_err();
        message(&error, &path);
    }
}

fn with_header(json: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn error_of(bytes: &[u8]) -> (WeightsError, String) {
    let file = file("a.safetensors", bytes);
    let error = read_safetensors(&file.path).unwrap_err();
    let text = message(&error, &file.path);
    (error, text)
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let a = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let cases = [
        (format!("{{{a},{a}}}"), "`a` occurs twice"),
        (format!("{{{a},{}}}", a.replace("\"a\"", "\"b\"")), "overlaps another one"),
        (format!("{{{}}}", a.replace("[0,4]", "[1,5]")), "leaves a gap"),
        (format!("{{{}}}", a.replace("[0,4]", "[4,0]")), "do not fill"),
        (format!("{{{}}}", a.replace("[1]", "[2]")), "do not fill"),
        (format!("{{{}}}", a.replace("[1]", "[4294967296,4294967296,4]")), "do not fill"),
        (format!("{{{}}}", a.replace("F32", "F8_E4M3")), "unsupported element type"),
        ("{}".to_string(), "bytes after its last tensor"),
        (format!("{{{a}"), "header is invalid"),
        ("{\"a\":3}".to_string(), "header is invalid"),
    ];
    for (json, expected) in cases {
        let (_, text) = error_of(&with_header(&json, &[0; 4]));
        assert!(text.contains(expected), "{text}");
    }
    assert!(error_of(b"").1.contains("too short"));
    assert!(error_of(b"PK\x03\x04 and much more text").1.contains("not a safetensors file"));
    assert!(error_of(&[b"\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice(), b"{}"].concat()).1.contains("claims"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write_safetensors(&path, &state(), &BTreeMap::new(), FloatFormat::F32).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        error_of(&bytes[..length]);
    }
}

#[test]
fn all_element_types_of_other_programs_are_read() {
    let json = r#"{"__metadata__":{"format":"pt"},"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},
        "b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},"i":{"dtype":"I32","shape":[1],"data_offsets":[10,14]},
        "t":{"dtype":"BOOL","shape":[2],"data_offsets":[14,16]},"u":{"dtype":"U64","shape":[],"data_offsets":[16,24]}}"#;
    let data: Vec<u8> =
        [&0.5_f64.to_le_bytes()[..], &[0x80, 0xbf], &(-7_i32).to_le_bytes(), &[0, 1], &9_u64.to_le_bytes()]
            .concat();
    let file = file("a.safetensors", &with_header(json, &data));
    let (state, metadata) = read_safetensors(&file.path).unwrap();
    assert_eq!(metadata["format"], "pt");
    assert_eq!(state.f32s("d").unwrap(), [0.5]);
    assert_eq!(state.f32s("b").unwrap(), [-1.0]);
    assert_eq!(state.require("i").unwrap().i64s().unwrap(), [-7]);
    assert_eq!(state.require("t").unwrap().i64s().unwrap(), [0, 1]);
    assert_eq!(state.require("u").unwrap().i64s().unwrap(), [9]);
    let text = state.f32s("i").unwrap_err().to_string();
    assert!(text.contains("a.safetensors: `i`: holds integers"), "{text}");
}

#[test]
fn released_weights_survive_bit_for_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/weights/yolov5n.pt");
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return;
    }
    let state = yolo_model::weights::read_torch(path).unwrap().state;
    for format in [FloatFormat::F16, FloatFormat::F32] {
        assert_same(&state, &round_trip(&state, format).0);
    }
}

proptest! {
    #[test]
    fn mutated_files_never_panic(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let json = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut bytes = with_header(json, &[0; 4]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let file = file("a.safetensors", &bytes);
        let _ = read_safetensors(&file.path);
    }
}
