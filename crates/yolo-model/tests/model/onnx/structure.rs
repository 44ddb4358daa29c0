//! What an ONNX file says: names, shapes, operators, weights, metadata. No Python.

use std::collections::HashSet;
use std::path::Path;

use yolo_model::architecture::{Architecture, ConvSpec};
use yolo_model::onnx::{Axes, OnnxError, OnnxOptions, OnnxSummary, Outputs};
use yolo_model::program::OperationKind;
use yolo_model::weights::{FloatFormat, StateDict};
use yolo_model::{Checkpoint, ModelError};

use super::reader::Model;
use super::yolov5n;

const SQUARE: Axes = Axes::Fixed { batch: 1, size: [640, 640] };

fn options(axes: Axes, outputs: Outputs) -> OnnxOptions {
    OnnxOptions { axes, outputs, opset: 13, precision: FloatFormat::F32 }
}

fn export(checkpoint: &Checkpoint, options: &OnnxOptions) -> (Model, OnnxSummary) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let summary = checkpoint.export_onnx(&path, options).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, summary.bytes);
    (Model::read(&bytes), summary)
}

#[test]
fn input_and_outputs_have_yolov5s_names_and_shapes() {
    let checkpoint = yolov5n(80);
    let batch = Axes::Fixed { batch: 2, size: [640, 480] };
    let cases = [
        (SQUARE, Outputs::Decoded, "images [1, 3, 640, 640]", vec!["output0 [1, 25200, 85]"]),
        (batch, Outputs::Decoded, "images [2, 3, 640, 480]", vec!["output0 [2, 18900, 85]"]),
        (
            batch,
            Outputs::Logits,
            "images [2, 3, 640, 480]",
            vec!["output0 [2, 3, 80, 60, 85]", "output1 [2, 3, 40, 30, 85]", "output2 [2, 3, 20, 15, 85]"],
        ),
        (
            Axes::Dynamic,
            Outputs::Decoded,
            "images [batch, 3, height, width]",
            vec!["output0 [batch, anchors, 85]"],
        ),
        (
            Axes::Dynamic,
            Outputs::Logits,
            "images [batch, 3, height, width]",
            vec![
                "output0 [batch, 3, height/8, width/8, 85]",
                "output1 [batch, 3, height/16, width/16, 85]",
                "output2 [batch, 3, height/32, width/32, 85]",
            ],
        ),
    ];
    for (axes, kind, input, outputs) in cases {
        let (model, summary) = export(&checkpoint, &options(axes, kind));
        assert_eq!(model.inputs, [input]);
        assert_eq!(model.outputs, outputs);
        let shown: Vec<String> = summary.outputs.iter().map(ToString::to_string).collect();
        assert_eq!((summary.inputs[0].to_string().as_str(), shown), (input, model.outputs));
        assert_eq!((summary.nodes, summary.initializers), (model.nodes.len(), model.tensors.len()));
    }
}

#[test]
fn weights_are_the_fused_ones_bit_for_bit() {
    let checkpoint = yolov5n(80);
    let (model, summary) = export(&checkpoint, &options(SQUARE, Outputs::Decoded));
    let fused = checkpoint.fuse().unwrap();
    assert_eq!(summary.parameters, fused.architecture.summary().parameters);
    let anchors = fused.architecture.anchors_name();
    let mut weights = 0;
    for (name, tensor) in fused.weights.iter().filter(|(name, _)| *name != anchors) {
        let written = &model.tensors[name];
        let shape: Vec<usize> = written.shape.iter().map(|&extent| extent as usize).collect();
        assert_eq!((written.element_type, &shape), (1, &tensor.shape), "{name}");
        let bytes: Vec<u8> = tensor.f32s().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(written.data == bytes, "{name}");
        weights += 1;
    }
    assert_eq!(weights, 120, "60 convolutions with weight and bias");
    // Per enlargement its factors; per level five slices of four numbers and six shapes, for each of x and y the grid, the
    // stride and the factor 2, for each side the anchors and their factor 2.
    assert_eq!(model.tensors.len(), 120 + 2 + 3 * (5 * 4 + 6 + 2 * 3 + 2 * 2));
    // A file that was exported from the fused network is the same.
    let (from_fused, _) = export(&fused, &options(SQUARE, Outputs::Decoded));
    assert!(from_fused.tensors.iter().all(|(name, tensor)| tensor.data == model.tensors[name].data));
}

#[test]
fn nodes_are_the_operations_in_order() {
    let checkpoint = yolov5n(80);
    let (model, _) = export(&checkpoint, &options(SQUARE, Outputs::Logits));
    let program = checkpoint.architecture.program();
    let count = |wanted: fn(&OperationKind) -> bool| {
        program.operations.iter().filter(|operation| wanted(&operation.kind)).count()
    };
    assert_eq!((model.count("Conv"), model.count("Sigmoid"), model.count("Mul")), (60, 57, 57));
    assert_eq!(model.count("MaxPool"), 3);
    assert_eq!(model.count("Resize"), 2);
    assert_eq!(model.count("Add"), count(|kind| *kind == OperationKind::Add));
    assert_eq!(model.count("Concat"), count(|kind| *kind == OperationKind::Concat));
    assert_eq!((model.count("Reshape"), model.count("Transpose")), (3, 3));
    // Every value comes from somewhere before it is read, and once.
    let (axes, kinds) = ([SQUARE, Axes::Dynamic], [Outputs::Logits, Outputs::Decoded]);
    for (axes, outputs) in axes.into_iter().flat_map(|axes| kinds.map(|kind| (axes, kind))) {
        let (model, _) = export(&checkpoint, &options(axes, outputs));
        let mut known: HashSet<&str> = model.tensors.keys().map(String::as_str).collect();
        assert!(known.insert("images") && known.insert(""));
        for node in &model.nodes {
            assert!(node.inputs.iter().all(|input| known.contains(input.as_str())), "{}", node.name);
            assert!(node.outputs.iter().all(|output| known.insert(output)), "{}", node.name);
        }
        let read: HashSet<&String> = model.nodes.iter().flat_map(|node| &node.inputs).collect();
        let idle: Vec<&String> = model.tensors.keys().filter(|name| !read.contains(name)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }
}

/// OpenCV's importer refuses the others, or computes something else.
#[test]
fn operators_are_those_that_opencv_reads() {
    let read = [
        "Add",
        "Concat",
        "Conv",
        "CumSum",
        "MaxPool",
        "Mul",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Sub",
        "Transpose",
    ];
    let checkpoint = yolov5n(3);
    for axes in [SQUARE, Axes::Dynamic] {
        let (model, _) = export(&checkpoint, &options(axes, Outputs::Decoded));
        let others: HashSet<&str> = model
            .nodes
            .iter()
            .map(|node| node.operator.as_str())
            .filter(|name| !read.contains(name))
            .collect();
        assert!(others.is_empty(), "{axes:?}: {others:?}");
        // While it reads a graph without sizes, an enlarged map and the one beside it have to look alike.
        let levelled = model.nodes.iter().filter(|node| node.name.ends_with("concat.levelled")).count();
        assert_eq!(levelled, if axes == Axes::Dynamic { 2 } else { 0 });
        for node in model.nodes.iter().filter(|node| node.operator == "Add") {
            let constant = node.inputs.iter().find_map(|input| model.tensors.get(input));
            assert!(constant.is_none_or(|tensor| tensor.shape.first() != Some(&1)), "{}", node.name);
        }
    }
}

#[test]
fn half_precision_is_that_of_weights_images_and_outputs() {
    let checkpoint = yolov5n(3);
    let half = OnnxOptions { precision: FloatFormat::F16, ..options(SQUARE, Outputs::Decoded) };
    let (model, summary) = export(&checkpoint, &half);
    assert_eq!(model.inputs, ["images [1, 3, 640, 640] float16"]);
    assert_eq!(model.outputs, ["output0 [1, 25200, 8] float16"]);
    assert_eq!(summary.outputs[0].to_string(), model.outputs[0]);
    for conv in checkpoint.architecture.convs() {
        for name in [conv.weight(), conv.bias()] {
            assert_eq!(model.tensors[&name].element_type, 10, "{name}");
        }
    }
    // Boxes are computed from the logits of each level in single precision, and rounded once.
    assert_eq!(model.count("Cast"), 3 + 1);
    assert_eq!(model.tensors["model.24.0.x.grid"].element_type, 1);
    let mut loud = checkpoint.fuse().unwrap().into_checkpoint();
    loud.weights.get_mut("model.0.conv.weight").unwrap().f32s_mut().unwrap()[0] = 1e5;
    let path = tempfile::tempdir().unwrap().path().join("model.onnx");
    let error = loud.export_onnx(&path, &half).unwrap_err().to_string();
    assert!(error.contains("`model.0.conv.weight`: the value 100000 is too large"), "{error}");
}

#[test]
fn attributes_of_a_convolution_are_those_of_its_spec() {
    let mut architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let stem = architecture.layers[0].block.get_mut::<ConvSpec>().unwrap();
    // Different along both axes, so that swapped ones show.
    *stem = ConvSpec { kernel: [6, 3], padding: [2, 1], dilation: [1, 2], stride: [2, 2], ..stem.clone() };
    let (model, _) = export(&super::lively(architecture), &options(Axes::Dynamic, Outputs::Logits));
    let ints = &model.node("model.0.conv").ints;
    assert_eq!(ints["kernel_shape"], [6, 3]);
    assert_eq!(ints["pads"], [2, 1, 2, 1]);
    assert_eq!(ints["dilations"], [1, 2]);
    assert_eq!(ints["strides"], [2, 2]);
}

#[test]
fn metadata_is_what_yolov5s_loaders_read() {
    let mut checkpoint = yolov5n(3);
    checkpoint.class_names = ["person", "it's", "a\\b\n"].map(str::to_owned).to_vec();
    for (opset, ir_version) in [(12, 7), (14, 7), (15, 8), (18, 8), (20, 9)] {
        let (model, _) = export(&checkpoint, &OnnxOptions { opset, ..options(SQUARE, Outputs::Decoded) });
        assert_eq!((model.opset, model.ir_version), (i64::from(opset), ir_version));
        assert_eq!(model.producer, "yolo-prune");
        assert_eq!(model.metadata["stride"], "32");
        assert_eq!(model.metadata["names"], r"{0: 'person', 1: 'it\'s', 2: 'a\\b\x0a'}");
    }
}

/// Resize of opset 12 has to have a region of interest, which newer ones leave out.
#[test]
fn enlarging_is_written_as_the_opset_wants_it() {
    for (opset, has_region) in [(12, true), (13, false), (20, false)] {
        let (model, _) = export(&yolov5n(3), &OnnxOptions { opset, ..options(SQUARE, Outputs::Decoded) });
        let resize = model.node("model.11.upsample");
        let region = model.tensors.get(&resize.inputs[1]).map(|tensor| tensor.shape.clone());
        assert_eq!(region, has_region.then(|| vec![0]), "opset {opset}");
        assert_eq!((resize.inputs.len(), resize.inputs[1].is_empty()), (3, !has_region));
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a.onnx", "b.onnx"].map(|name| folder.path().join(name));
    for path in [&first, &second] {
        yolov5n(3).export_onnx(path, &options(Axes::Dynamic, Outputs::Decoded)).unwrap();
    }
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
}

#[test]
fn bad_options_are_refused_before_anything_is_written() {
    let checkpoint = yolov5n(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let fixed = |batch, size| options(Axes::Fixed { batch, size }, Outputs::Decoded);
    let cases = [
        (OnnxOptions { opset: 11, ..fixed(1, [640, 640]) }, "opset 11"),
        (OnnxOptions { opset: 21, ..fixed(1, [640, 640]) }, "opset 21"),
        (fixed(0, [640, 640]), "batch of 0"),
        (fixed(1, [640, 500]), "640×500"),
        (fixed(1, [0, 640]), "0×640"),
        (fixed(1, [1 << 20, 640]), "1048576×640"),
    ];
    for (options, part) in cases {
        let error = checkpoint.export_onnx(&path, &options).unwrap_err();
        assert!(matches!(error, OnnxError::Options { .. }) && error.to_string().contains(part), "{error}");
    }
    let mut torn = checkpoint;
    torn.weights.remove("model.2.cv1.bn.bias");
    let error = torn.export_onnx(&path, &fixed(1, [640, 640])).unwrap_err();
    assert!(matches!(error, OnnxError::Model(ModelError::Weights(_))), "{error}");
    assert!(error.to_string().contains("model.2.cv1.bn.bias"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Said from the shapes: the weights of this network would not fit into the machine.
#[test]
fn more_than_two_gibibytes_are_refused() {
    let yaml = "
nc: 1
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [10, 13]
backbone:
  - [-1, 1, Conv, [32768, 3, 2]]
  - [-1, 1, Conv, [32768, 3, 2]]
head:
  - [[1], 1, Detect, [nc, anchors]]
";
    let architecture = Architecture::from_yaml(yaml, None).unwrap();
    let class_names = vec!["thing".to_owned()];
    let checkpoint = Checkpoint { architecture, weights: StateDict::new(), class_names, pruning: None };
    let error = checkpoint.export_onnx(Path::new("never.onnx"), &options(Axes::Dynamic, Outputs::Logits));
    let Err(OnnxError::TooLarge { bytes, limit: 2_147_483_647 }) = error else { panic!("{error:?}") };
    // Two 3×3 convolutions and a 1×1 one, with their biases.
    let parameters = 9 * 3 * 32768 + 32768 + 9 * 32768_u64.pow(2) + 32768 + 6 * 32768 + 6;
    assert_eq!(bytes, 4 * parameters);
}

#[test]
fn a_failed_export_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("model.onnx");
    std::fs::create_dir(&taken).unwrap();
    let options = options(SQUARE, Outputs::Decoded);
    for path in [taken, folder.path().join("gone/model.onnx")] {
        let error = yolov5n(3).export_onnx(&path, &options).unwrap_err();
        assert!(matches!(error, OnnxError::Write { .. }), "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
