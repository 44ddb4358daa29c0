//! onnxruntime computes what our network does.

use std::path::{Path, PathBuf};

use yolo_model::architecture::Architecture;
use yolo_model::modules::{C3Spec, SppfSpec};
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::weights::{FloatFormat, read_safetensors};
use yolo_model::{Checkpoint, ModelError};

use super::onnxruntime::{Array, assert_equal, assert_half, noise, python};
use super::{lively, yolov5n};

/// Exports, and compares on images of these sizes.
fn check(checkpoint: &Checkpoint, axes: Axes, outputs: Outputs, opset: u32, images: &[Array]) {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let precision = FloatFormat::F32;
    checkpoint.export_onnx(&path, &OnnxOptions { axes, outputs, opset, precision }).unwrap();
    for images in images {
        assert_equal(python, &path, checkpoint, outputs, images);
    }
}

fn fixed(batch: usize, size: [usize; 2]) -> Axes {
    Axes::Fixed { batch, size }
}

/// A file of the reference, or `None` with a message where the folder is not there.
fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !full.exists() {
        eprintln!("skipped: {} is not here", full.display());
        return None;
    }
    Some(full)
}

#[test]
fn dense() {
    check(&yolov5n(80), fixed(1, [640, 640]), Outputs::Decoded, 13, &[noise([1, 3, 640, 640])]);
}

#[test]
fn every_opset() {
    let checkpoint = yolov5n(3);
    for opset in 12..=20 {
        check(&checkpoint, fixed(1, [64, 96]), Outputs::Decoded, opset, &[noise([1, 3, 64, 96])]);
        check(&checkpoint, Axes::Dynamic, Outputs::Decoded, opset, &[noise([2, 3, 64, 96])]);
    }
}

#[test]
fn half_precision() {
    let Some(python) = python() else { return };
    let checkpoint = yolov5n(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.onnx");
    for (axes, outputs) in [
        (fixed(2, [64, 96]), Outputs::Decoded),
        (Axes::Dynamic, Outputs::Decoded),
        (Axes::Dynamic, Outputs::Logits),
    ] {
        let options = OnnxOptions { axes, outputs, opset: 13, precision: FloatFormat::F16 };
        checkpoint.export_onnx(&path, &options).unwrap();
        assert_half(python, &path, &checkpoint, outputs, &noise([2, 3, 64, 96]));
    }
}

#[test]
fn raw_maps_of_images_that_are_not_square() {
    check(&yolov5n(80), fixed(2, [640, 480]), Outputs::Logits, 13, &[noise([2, 3, 640, 480])]);
}

#[test]
fn any_batch_and_any_size() {
    let images = || [[1, 3, 640, 480], [3, 3, 64, 96], [1, 3, 32, 32]].map(noise);
    for outputs in [Outputs::Decoded, Outputs::Logits] {
        check(&yolov5n(3), Axes::Dynamic, outputs, 13, &images());
    }
}

/// The released weights on the reference's input, which holds letterboxed photographs.
#[test]
fn released_weights_on_the_references_input() {
    let (Some(weights), Some(file)) =
        (shared("weights/yolov5n.pt"), shared("reference/yolov5n/forward.safetensors"))
    else {
        return;
    };
    let (tensors, _) = read_safetensors(&file).unwrap();
    let input = tensors.require("input_u8").unwrap();
    let values = input.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect();
    let images = Array { shape: input.shape.clone(), values };
    let [batch, _, height, width] = images.shape[..] else { panic!("{:?}", images.shape) };
    let checkpoint = Checkpoint::load(&weights).unwrap();
    check(&checkpoint, fixed(batch, [height, width]), Outputs::Decoded, 13, &[images]);
}

/// Widths that no multiple divides, as channel pruning leaves them: other ones inside each block, and other ones
/// on the two branches that a C3 joins.
pub(crate) fn uneven() -> Result<Architecture, ModelError> {
    let mut architecture = Architecture::variant("yolov5n", Some(3))?;
    for (index, layer) in architecture.layers.iter_mut().enumerate() {
        if let Some(c3) = layer.block.get_mut::<C3Spec>() {
            c3.cv2.out_channels -= 3 + index % 4;
            c3.cv3.in_channels = c3.cv1.out_channels + c3.cv2.out_channels;
            for (j, bottleneck) in c3.m.iter_mut().enumerate() {
                bottleneck.cv1.out_channels -= 1 + 2 * j;
                bottleneck.cv2.in_channels = bottleneck.cv1.out_channels;
            }
        }
        if let Some(sppf) = layer.block.get_mut::<SppfSpec>() {
            sppf.cv1.out_channels -= 5;
            sppf.cv2.in_channels = 4 * sppf.cv1.out_channels;
        }
    }
    architecture.validate()?;
    Ok(architecture)
}

#[test]
fn uneven_widths() {
    let checkpoint = lively(uneven().unwrap());
    check(&checkpoint, fixed(1, [128, 160]), Outputs::Decoded, 13, &[noise([1, 3, 128, 160])]);
    check(&checkpoint, Axes::Dynamic, Outputs::Logits, 13, &[noise([2, 3, 128, 160])]);
}

/// Groups, dilation, an even kernel, a convolution without activation, two levels, two anchors, one class.
const OTHER: &str = "
nc: 1
depth_multiple: 1.0
width_multiple: 0.37
channel_multiple: 1
activation: ACTIVATION
anchors:
  - [10, 13, 16, 30]
  - [116, 90, 156, 198]
backbone:
  - [-1, 1, Conv, [32, 6, 2, 2]]
  - [-1, 1, Conv, [32, 3, 2, None, 4]]
  - [-1, 1, Bottleneck, [32]]
  - [-1, 1, Conv, [64, 3, 2, None, 1, 2]]
  - [-1, 2, C3, [64]]
  - [-1, 1, Conv, [80, 3, 2, None, 1, 1, False]]
  - [-1, 1, SPPF, [80, 7]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 1, C3, [48, False]]
  - [[9, 6], 1, Detect, [nc, anchors]]
";

#[test]
fn other_activations_and_convolutions() {
    for activation in ["nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.Identity()", "nn.SiLU()"] {
        let yaml = OTHER.replace("ACTIVATION", activation);
        let checkpoint = lively(Architecture::from_yaml(&yaml, None).unwrap());
        check(&checkpoint, fixed(1, [96, 64]), Outputs::Decoded, 13, &[noise([1, 3, 96, 64])]);
        check(&checkpoint, Axes::Dynamic, Outputs::Logits, 17, &[noise([2, 3, 64, 96])]);
    }
}

#[test]
fn names_are_text_to_python() {
    let mut checkpoint = yolov5n(4);
    checkpoint.class_names = ["it's \"quoted\"", "back\\slash\\", "犬 \u{1f415}\u{2028}", "\r\n\t\0', 4: '"]
        .map(str::to_owned)
        .to_vec();
    check(&checkpoint, fixed(1, [32, 32]), Outputs::Decoded, 13, &[noise([1, 3, 32, 32])]);
}

/// A block of halves with attention, as YOLO11 has it, behind a stem of stride 8.
mod halves {
    use serde::{Deserialize, Serialize};
    use yolo_model::ModelError;
    use yolo_model::architecture::{Activation, ConvSpec, PickledLayer, YamlLayer};
    use yolo_model::modules::{Block, Module, ModuleKind, Stored};
    use yolo_model::program::{AttentionOrder, AttentionSpec, Lowering, ValueId};

    pub(super) static KIND: ModuleKind = ModuleKind {
        name: "AttendedHalves",
        key: "AttendedHalves",
        takes_repeats: false,
        from_yaml: |layer: &YamlLayer| {
            let [input, out, half] = [layer.input(), layer.width(layer.int(0)?), 8];
            let silent = |spec: ConvSpec| ConvSpec { activation: Activation::Identity, ..spec };
            Ok(Block::new(AttendedHalves {
                cv1: layer.conv(input, 2 * half, 1),
                qkv: silent(layer.conv(half, 2 * half, 1)),
                pe: silent(ConvSpec { groups: half, ..layer.conv(half, half, 3) }),
                cv2: layer.conv(3 * half, out, 1),
            }))
        },
        from_pickle: |layer: &PickledLayer| Err(layer.error("is not in files")),
        stored: Stored::fields::<AttendedHalves>(),
    };

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct AttendedHalves {
        cv1: ConvSpec,
        qkv: ConvSpec,
        pe: ConvSpec,
        cv2: ConvSpec,
    }

    impl Module for AttendedHalves {
        fn kind(&self) -> &'static ModuleKind {
            &KIND
        }

        fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId, ModelError> {
            let spec = AttentionSpec { heads: 2, key: 2, order: AttentionOrder::ByHead };
            let half = self.cv1.out_channels / 2;
            let split = lowering.conv("cv1", &self.cv1, inputs[0])?;
            let (a, b) = (lowering.slice(0..half, split)?, lowering.slice(half..2 * half, split)?);
            let qkv = lowering.conv("qkv", &self.qkv, b)?;
            let attended = lowering.attention(spec, qkv)?;
            let values = lowering.pick(spec.value_channels(self.qkv.out_channels), qkv)?;
            let position = lowering.conv("pe", &self.pe, values)?;
            let attended = lowering.add([attended, position])?;
            let detached = lowering.detach(attended);
            let some = lowering.slice(1..half + 1, split)?;
            let joined = lowering.concat(&[a, detached, some]);
            lowering.conv("cv2", &self.cv2, joined)
        }

        fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
            visit("cv1", &mut self.cv1);
            visit("qkv", &mut self.qkv);
            visit("pe", &mut self.pe);
            visit("cv2", &mut self.cv2);
        }

        fn n_wrappers(&self) -> usize {
            1
        }
    }
}

/// Equal slices of a map become one `Split`, others a `Slice`; nothing stands for what is detached.
#[test]
fn slices_and_attention_by_heads() {
    let yaml = "nc: 2\ndepth_multiple: 1\nwidth_multiple: 1\nanchors: [[4, 6]]\nbackbone:\n  - [-1, 1, Conv, [8, 3, 4]]\n  \
                - [-1, 1, AttendedHalves, [16]]\nhead:\n  - [[1], 1, Detect, [nc, anchors]]\n";
    yolo_model::modules::registry::register(&halves::KIND);
    let checkpoint = lively(Architecture::from_yaml(yaml, None).unwrap());
    for opset in [12, 13, 18] {
        check(&checkpoint, fixed(2, [32, 48]), Outputs::Logits, opset, &[noise([2, 3, 32, 48])]);
        let images = [[1, 3, 32, 48], [2, 3, 24, 20]].map(noise);
        check(&checkpoint, Axes::Dynamic, Outputs::Decoded, opset, &images);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let options = OnnxOptions {
        axes: fixed(1, [32, 48]),
        outputs: Outputs::Logits,
        opset: 13,
        precision: FloatFormat::F32,
    };
    checkpoint.export_onnx(&path, &options).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let count = |operator: &str| {
        // Field 4 of a node, of this length.
        let field = [&[0x22, operator.len() as u8][..], operator.as_bytes()].concat();
        bytes.windows(field.len()).filter(|window| *window == field).count()
    };
    // One slice beside the halves, three parts of the heads; the values of both heads are picked.
    assert_eq!([count("Split"), count("Slice"), count("Gather"), count("Identity")], [1, 4, 1, 0]);
}
