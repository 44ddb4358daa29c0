//! Packed files: every bit back, zeros that stay zeros, and damaged files that are named.

use std::collections::BTreeMap;

use proptest::prelude::*;
use yolo_model::weights::{
    FloatFormat, HostTensor, PackOptions, StateDict, Values, read_packing, read_safetensors, write_packed,
    write_safetensors,
};

use super::assembler::{file, message};

const LOSSLESS: PackOptions = PackOptions { int8: false, half: false };

fn state(tensors: impl IntoIterator<Item = (&'static str, HostTensor)>) -> StateDict {
    tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
}

/// A convolution's weight of 4×64 elements, most of them zero.
fn sparse() -> HostTensor {
    let value = |index: usize| if index.is_multiple_of(5) { index as f32 / 64.0 - 1.0 } else { 0.0 };
    HostTensor::from_f32s([4, 16, 2, 2], (0..256).map(value).collect())
}

fn bits(tensor: &HostTensor) -> Vec<u64> {
    match &tensor.values {
        Values::F32(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Values::I64(values) => values.iter().map(|value| *value as u64).collect(),
    }
}

fn round_trip(state: &StateDict, options: PackOptions) -> StateDict {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.safetensors");
    let metadata = BTreeMap::from([("config".to_owned(), "nc: 2".to_owned())]);
    write_packed(&path, state, &metadata, options).unwrap();
    let (back, metadata_back) = read_safetensors(&path).unwrap();
    assert_eq!(metadata_back, metadata, "the record of packing is not the reader's business");
    back
}

fn assert_same(left: &StateDict, right: &StateDict) {
    assert!(left.names().eq(right.names()), "the order of names");
    for ((name, a), (_, b)) in left.iter().zip(right.iter()) {
        assert_eq!((&a.shape, bits(a)), (&b.shape, bits(b)), "{name}");
    }
}

#[test]
fn order_and_bits_survive_among_packed_and_plain_tensors() {
    let mut odd = vec![0.0; 301];
    for (index, value) in [(0, -0.0), (7, f32::NAN), (8, f32::INFINITY), (299, 65504.0), (300, -6.0e-8)] {
        odd[index] = value;
    }
    let state = state([
        ("last", HostTensor::from_f32s([301], odd)),
        ("count", HostTensor::from_i64s([], vec![i64::MIN])),
        ("dense", HostTensor::from_f32s([300], vec![0.1; 300])),
        ("conv", sparse()),
        ("zeros", HostTensor::from_f32s([300, 1], vec![0.0; 300])),
        ("empty", HostTensor::from_f32s([0, 3], vec![])),
    ]);
    assert_same(&state, &round_trip(&state, LOSSLESS));
}

#[test]
fn the_account_is_that_of_the_file() {
    let file = file("a.safetensors", b"");
    write_packed(&file.path, &state([("conv", sparse())]), &BTreeMap::new(), LOSSLESS).unwrap();
    let packing = read_packing(&file.path).unwrap().unwrap();
    let nonzero = sparse().f32s().unwrap().iter().filter(|value| **value != 0.0).count();
    assert_eq!((packing.tensors, packing.elements, packing.kept), (1, 256, nonzero));
    assert_eq!((packing.mask_bytes, packing.f16_bytes, packing.f32_bytes), (32, 2 * nonzero, 0));
    let total = packing.header_bytes + packing.mask_bytes + packing.f16_bytes;
    assert_eq!(total as u64, std::fs::metadata(&file.path).unwrap().len());
    write_safetensors(&file.path, &state([("conv", sparse())]), &BTreeMap::new(), FloatFormat::F16).unwrap();
    assert!(read_packing(&file.path).unwrap().is_none());
}

#[test]
fn a_tensor_that_would_not_become_smaller_stays_plain() {
    let file = file("a.safetensors", b"");
    let mut values = vec![1.0; 4000];
    values[..240].fill(0.0);
    // 500 bytes of mask for 480 bytes of zeros.
    let dense = state([("w", HostTensor::from_f32s([4000], values))]);
    write_packed(&file.path, &dense, &BTreeMap::new(), LOSSLESS).unwrap();
    assert_eq!(read_packing(&file.path).unwrap().unwrap().tensors, 0);
    let (back, _) = read_safetensors(&file.path).unwrap();
    assert_same(&dense, &back);
}

#[test]
fn tensors_with_the_names_of_parts_are_not_mixed_up() {
    let state = state([
        ("conv", sparse()),
        ("conv.mask", HostTensor::from_f32s([2], vec![1.0, 2.0])),
        ("other.mask", HostTensor::from_f32s([2], vec![3.0, 4.0])),
    ]);
    assert_same(&state, &round_trip(&state, LOSSLESS));
}

#[test]
fn eight_bit_weights_are_within_the_stated_error_and_zeros_stay() {
    let mut values = sparse().f32s().unwrap().to_vec();
    values[1] = 1e-9; // far below half a step
    values[2] = -1e-9;
    values[3] = -0.0;
    values[64..128].fill(0.0); // a channel without weights
    let original = state([("conv", HostTensor::from_f32s([4, 16, 2, 2], values.clone()))]);
    let back = round_trip(&original, PackOptions { int8: true, half: false });
    let back = back.f32s("conv").unwrap();
    assert_ne!(back, values, "nothing was rounded");
    for (channel, (row, found)) in values.chunks(64).zip(back.chunks(64)).enumerate() {
        let step = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
        for (value, found) in row.iter().zip(found) {
            assert_eq!(*value == 0.0, *found == 0.0, "channel {channel}: {value} became {found}");
            assert!(*value == 0.0 || value.signum() == found.signum());
            let bound = if value.abs() < step / 2.0 { step } else { step * 0.5001 };
            assert!((value - found).abs() <= bound, "channel {channel}: {value} became {found}, step {step}");
        }
    }
}

#[test]
fn weights_that_eight_bits_cannot_hold_stay_as_they_are() {
    for value in [f32::NAN, f32::INFINITY, f32::MAX, 1e-44] {
        let mut weights = sparse();
        weights.f32s_mut().unwrap()[200] = value;
        weights.f32s_mut().unwrap()[192..200].fill(0.0);
        weights.f32s_mut().unwrap()[201..].fill(0.0);
        let original = state([("conv", weights), ("bias", HostTensor::from_f32s([1], vec![0.1]))]);
        assert_same(&original, &round_trip(&original, PackOptions { int8: true, half: false }));
    }
}

#[test]
fn half_precision_rounds_no_weight_to_zero_and_refuses_what_is_too_large() {
    let mut weights = sparse();
    weights.f32s_mut().unwrap()[1..4].copy_from_slice(&[1e-20, -1e-20, 0.1]);
    let original = state([("conv", weights)]);
    let back = round_trip(&original, PackOptions { int8: false, half: true });
    let smallest = half::f16::from_bits(1).to_f32();
    let tenth = half::f16::from_f32(0.1).to_f32();
    assert_eq!(back.f32s("conv").unwrap()[1..4], [smallest, -smallest, tenth]);
    let file = file("a.safetensors", b"old");
    for tensor in [HostTensor::from_f32s([1], vec![1e6]), {
        let mut weights = sparse();
        weights.f32s_mut().unwrap()[9] = 1e6;
        weights
    }] {
        let state = state([("conv", tensor)]);
        let options = PackOptions { int8: false, half: true };
        let error = write_packed(&file.path, &state, &BTreeMap::new(), options).unwrap_err();
        assert!(message(&error, &file.path).contains("`conv`: the value 1000000 is too large"), "{error}");
        assert_eq!(std::fs::read(&file.path).unwrap(), b"old");
    }
}

/// A file of one packed tensor `w`: the JSON of its parts, its record, and the data.
fn packed_file(parts: &str, record: &str, data: &[u8]) -> Vec<u8> {
    let record = record.replace('"', "\\\"");
    let json = format!("{{\"__metadata__\":{{\"packed\":\"{record}\"}},{parts}}}");
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), data].concat()
}

/// Values, in half precision, that are in the file behind the mask.
const MASK: &str = r#""w.mask":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}"#;
const VALUES: &str = r#""w.values":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}"#;
const RECORD: &str = r#"{"version":1,"tensors":{"w":[2,3]}}"#;
const DATA: [u8; 5] = [0x00, 0x3c, 0x00, 0xc0, 0b0010_0001];

#[test]
fn the_layout_is_the_documented_one() {
    let file = file("a.safetensors", &packed_file(&format!("{MASK},{VALUES}"), RECORD, &DATA));
    let (state, metadata) = read_safetensors(&file.path).unwrap();
    assert_eq!(state.f32s("w").unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0, -2.0]);
    assert_eq!((state.len(), state.require("w").unwrap().shape.as_slice()), (1, &[2, 3][..]));
    assert!(metadata.is_empty());
    let parts = r#""w.scale":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "w.mask":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"w.values":{"dtype":"I8","shape":[2],"data_offsets":[9,11]}"#;
    let data = [&0.5_f32.to_le_bytes()[..], &2.0_f32.to_le_bytes(), &[0b0010_0001, 127, 0xff]].concat();
    let file = self::file("a.safetensors", &packed_file(parts, RECORD, &data));
    let (state, _) = read_safetensors(&file.path).unwrap();
    assert_eq!(state.f32s("w").unwrap(), [63.5, 0.0, 0.0, 0.0, 0.0, -2.0]);
}

#[test]
fn parts_that_contradict_each_other_are_refused_with_file_and_tensor() {
    let both = format!("{MASK},{VALUES}");
    let data = |at: usize, byte: u8| {
        let mut data = DATA;
        data[at] = byte;
        data.to_vec()
    };
    let plain = r#""w":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"#;
    let scale = r#""w.scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w.mask":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},
        "w.values":{"dtype":"I8","shape":[2],"data_offsets":[5,7]}"#;
    let scaled = |scale: f32| [&scale.to_le_bytes()[..], &[0b0010_0001, 127, 1]].concat();
    let one = RECORD.replace("[2,3]", "[1,6]");
    let cases = [
        (both.clone(), RECORD.to_owned(), data(4, 0b0010_0011), "its mask keeps 3 elements"),
        (both.clone(), RECORD.to_owned(), data(4, 0b0010_0000), "its mask keeps 1 elements"),
        (both.clone(), RECORD.to_owned(), data(4, 0b1000_0001), "bits behind its last element"),
        (both.clone(), RECORD.to_owned(), data(1, 0x00), "one of its values is zero"),
        (both.clone(), RECORD.replace("[2,3]", "[3,3]"), DATA.to_vec(), "not a bit per element of [3, 3]"),
        (both.clone(), RECORD.replace("[2,3]", "[0]"), DATA.to_vec(), "not a bit per element of [0]"),
        (
            both.clone(),
            RECORD.replace("[2,3]", "[4294967296,4294967296,4294967296]"),
            DATA.to_vec(),
            "not a bit per element",
        ),
        (both.replace("\"U8\"", "\"I8\""), RECORD.to_owned(), DATA.to_vec(), "its mask is I8"),
        (
            both.replace("\"F16\"", "\"BF16\""),
            RECORD.to_owned(),
            DATA.to_vec(),
            "its values are BF16 without a scale",
        ),
        (both.replace("w.mask", "w.musk"), RECORD.to_owned(), DATA.to_vec(), "there is no w.mask"),
        (both.replace("w.values", "w.valves"), RECORD.to_owned(), DATA.to_vec(), "there is no w.values"),
        (format!("{plain}{}", VALUES), RECORD.to_owned(), DATA.to_vec(), "is there twice, packed and plain"),
        (scale.to_owned(), one.clone(), scaled(f32::NAN), "not a number from 0 per channel"),
        (scale.to_owned(), one.clone(), scaled(-1.0), "not a number from 0 per channel"),
        (scale.to_owned(), RECORD.to_owned(), scaled(1.0), "not a number from 0 per channel of [2, 3]"),
        (scale.to_owned(), one.clone(), scaled(0.0), "one of its values is zero"),
        (scale.replace("\"I8\"", "\"U8\""), one, scaled(1.0), "its values are U8 with a scale"),
    ];
    for (parts, record, data, expected) in cases {
        let file = file("a.safetensors", &packed_file(&parts, &record, &data));
        let text = message(&read_safetensors(&file.path).unwrap_err(), &file.path);
        assert!(text.contains(expected) && text.contains("`w`"), "{expected}: {text}");
    }
    for (record, expected) in [
        ("{}", "metadata key \"packed\" is invalid"),
        ("[", "metadata key \"packed\" is invalid"),
        (r#"{"version":2,"tensors":{}}"#, "version 2 of the layout"),
    ] {
        let file = file("a.safetensors", &packed_file(&both, record, &DATA));
        let text = message(&read_safetensors(&file.path).unwrap_err(), &file.path);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_packed_file_cut_anywhere_is_refused() {
    let file = file("a.safetensors", b"");
    write_packed(&file.path, &state([("conv", sparse())]), &BTreeMap::new(), LOSSLESS).unwrap();
    let bytes = std::fs::read(&file.path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&file.path, &bytes[..length]).unwrap();
        message(&read_safetensors(&file.path).unwrap_err(), &file.path);
    }
}

/// Elements with many zeros, special numbers and arbitrary bits among them.
fn element() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => Just(0.0_f32),
        1 => Just(-0.0_f32),
        2 => any::<u16>().prop_map(|bits| half::f16::from_bits(bits).to_f32()),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

proptest! {
    #[test]
    fn packing_gives_every_bit_back(values in proptest::collection::vec(element(), 0..900), exact in any::<bool>()) {
        let values: Vec<f32> = match exact {
            true => values.iter().map(|value| half::f16::from_f32(*value).to_f32()).collect(),
            false => values,
        };
        let state = state([("w", HostTensor::from_f32s([values.len(), 1, 1, 1], values)), ("conv", sparse())]);
        assert_same(&state, &round_trip(&state, LOSSLESS));
    }

    #[test]
    fn rounding_keeps_the_set_of_zeros(
        values in proptest::collection::vec(prop_oneof![3 => Just(0.0), 2 => -60000.0_f32..60000.0, 1 => -1e-6_f32..1e-6], 256),
        int8 in any::<bool>(),
    ) {
        let state = state([("w", HostTensor::from_f32s([4, 16, 2, 2], values.clone()))]);
        let back = round_trip(&state, PackOptions { int8, half: true });
        for (value, found) in values.iter().zip(back.f32s("w").unwrap()) {
            prop_assert_eq!(*value == 0.0, *found == 0.0, "{} became {}", value, found);
        }
    }

    #[test]
    fn mutated_packed_files_never_panic(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = packed_file(&format!("{MASK},{VALUES}"), RECORD, &DATA);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let file = file("a.safetensors", &bytes);
        let _ = read_safetensors(&file.path);
    }
}
