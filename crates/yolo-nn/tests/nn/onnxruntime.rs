//! onnxruntime from Python, and our own network as what it is compared with.
//!
//! Python is looked for in the variable `ORT_PYTHON`, at `/tmp/venv-ort/bin/python`, and as `python3`;
//! `python3 -m venv /tmp/venv-ort && /tmp/venv-ort/bin/pip install onnxruntime onnx` makes one.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};
use yolo_model::onnx::Outputs;
use yolo_model::{Checkpoint, Head, RawMap};
use yolo_nn::Yolo;

/// Largest difference from ours, relative to the value where that is above 1: of a box at 600 pixels 0.06.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// The same for a file of half precision, whose maps have 11 bits.
pub(crate) const HALF_TOLERANCE: f32 = 2e-2;

/// Images or outputs on the host.
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// What onnxruntime says about a file.
pub(crate) struct Outcome {
    pub(crate) names: Vec<String>,
    pub(crate) stride: usize,
    pub(crate) outputs: Vec<(String, Array)>,
}

/// The Python that has onnxruntime, or `None` with a message.
pub(crate) fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let has_onnxruntime = |python: &String| {
            let output = Command::new(python).args(["-c", "import numpy, onnxruntime"]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if let Ok(chosen) = std::env::var("ORT_PYTHON") {
            assert!(has_onnxruntime(&chosen), "ORT_PYTHON is {chosen}, which cannot import onnxruntime");
            return Some(chosen);
        }
        ["/tmp/venv-ort/bin/python", "python3"].map(str::to_owned).into_iter().find(has_onnxruntime)
    });
    if found.is_none() {
        eprintln!("skipped: no Python with onnxruntime is here; ORT_PYTHON names one");
    }
    found.as_deref()
}

/// Runs the file `model` on `images`.
pub(crate) fn run(python: &str, model: &Path, images: &Array) -> Outcome {
    let (said, outputs) = run_script(python, "run.py", model, images, &[]);
    Outcome {
        outputs,
        stride: said["stride"].as_u64().unwrap() as usize,
        names: serde_json::from_value(said["names"].clone()).unwrap(),
    }
}

/// What a script of the ONNX tests says about the file `model` and `images`, and the outputs that it leaves.
pub(crate) fn run_script(
    python: &str,
    script: &str,
    model: &Path,
    images: &Array,
    arguments: &[&str],
) -> (serde_json::Value, Vec<(String, Array)>) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("images.f32");
    let bytes: Vec<u8> = images.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&input, bytes).unwrap();
    let shape = images.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    // The tests of the program include this file, from another crate.
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../yolo-model/tests/model/onnx"));
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).arg(model).arg(&input).arg(shape).arg(folder.path()).args(arguments);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", model.display());
    eprint!("{stderr}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let outputs = said["outputs"].as_array().unwrap().iter().enumerate().map(|(index, output)| {
        let bytes = std::fs::read(folder.path().join(format!("{index}.f32"))).unwrap();
        let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let shape = serde_json::from_value(output["shape"].clone()).unwrap();
        (output["name"].as_str().unwrap().to_owned(), Array { shape, values })
    });
    let outputs = outputs.collect();
    (said, outputs)
}

/// Images of random pixels.
pub(crate) fn noise(shape: [usize; 4]) -> Array {
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(11);
    let values = (0..shape.iter().product()).map(|_| rand::Rng::random(&mut rng)).collect();
    Array { shape: shape.to_vec(), values }
}

/// Asserts that onnxruntime computes with the file `model` what our network does, and reads its metadata.
pub(crate) fn assert_equal(
    python: &str,
    model: &Path,
    checkpoint: &Checkpoint,
    outputs: Outputs,
    images: &Array,
) {
    let outcome = run(python, model, images);
    assert_eq!(outcome.names, checkpoint.class_names);
    assert_eq!(outcome.stride, checkpoint.architecture.max_stride());
    assert_outputs(&outcome.outputs, checkpoint, outputs, images, TOLERANCE);
}

/// [`assert_equal`] for a file of half precision.
pub(crate) fn assert_half(
    python: &str,
    model: &Path,
    checkpoint: &Checkpoint,
    outputs: Outputs,
    images: &Array,
) {
    let outcome = run(python, model, images);
    assert_outputs(&outcome.outputs, checkpoint, outputs, images, HALF_TOLERANCE);
}

/// Asserts that these are the outputs of our network.
pub(crate) fn assert_outputs(
    found: &[(String, Array)],
    checkpoint: &Checkpoint,
    outputs: Outputs,
    images: &Array,
    tolerance: f32,
) {
    let expected = ours(checkpoint, outputs, images);
    assert_eq!(found.len(), expected.len());
    for (index, ((name, found), expected)) in found.iter().zip(&expected).enumerate() {
        let folded = (outputs == Outputs::Decoded).then(|| folded(found));
        let found = folded.as_ref().unwrap_or(found);
        assert_eq!((name, &found.shape), (&format!("output{index}"), &expected.shape));
        assert_close(name, &found.values, &expected.values, tolerance);
    }
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).enumerate().map(|(index, (found, expected))| {
        let difference = (found - expected).abs() / expected.abs().max(1.0);
        (if difference.is_nan() { f32::INFINITY } else { difference }, index)
    });
    let (worst, index) = worst.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let (found, expected) = (found[index], expected[index]);
    assert!(worst <= tolerance, "{name}[{index}] is {found} and should be {expected}: off by {worst}");
    eprintln!("{name}[{index}]: largest difference {worst:.1e}, {found} for {expected}");
}

/// What our network returns, in the layout of the ONNX file; decoded rows as [`folded`] has them.
fn ours(checkpoint: &Checkpoint, outputs: Outputs, images: &Array) -> Vec<Array> {
    let device = Device::flex();
    let model = Yolo::from_checkpoint(&checkpoint.fuse().unwrap(), &device).unwrap();
    let data = TensorData::new(images.values.clone(), images.shape.clone());
    let maps = model.forward(Tensor::<4>::from_data(data, &device));
    let head = checkpoint.architecture.head();
    let Head::AnchorBased(detect) = head else { panic!("another head") };
    let (anchors, n_outputs) = (detect.n_anchors(), detect.n_outputs());
    if outputs == Outputs::Logits {
        let map = |map: Tensor<4>| {
            let [batch, _, rows, columns] = map.dims();
            let map = map.reshape([batch, anchors, n_outputs, rows, columns]).permute([0, 1, 3, 4, 2]);
            Array { shape: map.dims().to_vec(), values: map.into_data().try_into_vec_as::<f32>().unwrap() }
        };
        return maps.into_iter().map(map).collect();
    }
    let maps: Vec<([usize; 4], Vec<f32>)> =
        maps.into_iter().map(|map| (map.dims(), map.into_data().try_into_vec_as::<f32>().unwrap())).collect();
    let batch = images.shape[0];
    let rows = |image: usize| {
        let mut raw = Vec::new();
        for ([_, channels, height, width], logits) in &maps {
            let length = channels * height * width;
            let logits = &logits[image * length..(image + 1) * length];
            raw.push(RawMap { logits, height: *height, width: *width });
        }
        let predictions = head.decode(&raw, -1.0);
        predictions
            .rows()
            .flat_map(|(b, scores)| [&[b.cx, b.cy, b.w, b.h], scores].concat())
            .collect::<Vec<_>>()
    };
    let values: Vec<f32> = (0..batch).flat_map(rows).collect();
    vec![Array { shape: vec![batch, values.len() / batch / (n_outputs - 1), n_outputs - 1], values }]
}

/// Rows of box, objectness and scores as rows of box and scores times objectness.
fn folded(rows: &Array) -> Array {
    let [batch, n_rows, n_outputs] = rows.shape[..] else { panic!("{:?}", rows.shape) };
    let fold = |row: &[f32]| -> Vec<f32> {
        let scores = row[5..].iter().map(|score| score * row[4]);
        row[..4].iter().copied().chain(scores).collect()
    };
    let values = rows.values.chunks_exact(n_outputs).flat_map(fold).collect();
    Array { shape: vec![batch, n_rows, n_outputs - 1], values }
}
