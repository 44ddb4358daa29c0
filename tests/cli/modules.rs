//! A module is one file: here is one that no crate knows, and it works with everything. And SPP beside SPPF.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use yolo_model::architecture::{ConvSpec, PickledLayer, YamlLayer};
use yolo_model::modules::{Block, Module, ModuleKind, SppSpec, SppfSpec, Stored, registry};
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::program::{Lowering, ValueId};
use yolo_model::weights::FloatFormat;
use yolo_model::{Architecture, Checkpoint, ModelError, TorchOptions};
use yolo_nn::{Yolo, host_values};
use yolo_prune::channels::{ChannelOptions, ChannelScores, Coupling, Quantity, Target, remove, select};
use yolo_prune::{Method, PruneOptions, Sparsity, apply, plan};
use yolo_runtime::{CompiledNetwork, Isa, Options};

use crate::support::tiny;

/// Two executors add up in another order.
const TOLERANCE: f32 = 1e-4;

static TOY: ModuleKind = ModuleKind {
    name: "Toy",
    key: "Toy",
    takes_repeats: false,
    from_yaml: |layer| toy_of_yaml(layer).map(Block::new),
    from_pickle: |layer: &PickledLayer| {
        let [near, far, join] = ["near", "far", "join"].map(|part| layer.child(part)?.conv());
        Ok(Block::new(Toy { near: near?, far: far?, join: join? }))
    },
    stored: Stored::fields::<Toy>(),
};

/// `join(concat[near(x) + far(near(x)), pool(x)])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Toy {
    near: ConvSpec,
    far: ConvSpec,
    join: ConvSpec,
}

/// `[out]`.
fn toy_of_yaml(layer: &YamlLayer) -> Result<Toy, ModelError> {
    let (input, out) = (layer.input(), layer.width(layer.int(0)?));
    Ok(Toy {
        near: layer.conv(input, 12, 3),
        far: layer.conv(12, 12, 3),
        join: layer.conv(12 + input, out, 1),
    })
}

impl Module for Toy {
    fn kind(&self) -> &'static ModuleKind {
        &TOY
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId, ModelError> {
        let near = lowering.conv("near", &self.near, inputs[0])?;
        let far = lowering.conv("far", &self.far, near)?;
        let sum = lowering.add([far, near])?;
        let pooled = lowering.max_pool(3, inputs[0])?;
        let joined = lowering.concat(&[sum, pooled]);
        lowering.conv("join", &self.join, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("near", &mut self.near);
        visit("far", &mut self.far);
        visit("join", &mut self.join);
    }

    fn n_wrappers(&self) -> usize {
        2
    }
}

const YAML: &str = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [16, 16]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Toy, [16]]
  - [-1, 1, Conv, [24, 3, 2]]
head:
  - [-1, 1, C3, [24, False]]
  - [[4], 1, Detect, [nc, anchors]]
";

/// Random weights whose signal does not fade.
fn lively(architecture: Architecture) -> Checkpoint {
    let mut checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(7)).unwrap();
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        checkpoint.weights.get_mut(&conv.bn("weight")).unwrap().f32s_mut().unwrap().fill(2.5);
    }
    checkpoint
}

fn noise(side: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(3);
    (0..3 * side * side).map(|_| rng.random_range(0.0..1.0)).collect()
}

/// The logits on Burn and those of the compiled network.
fn logits(checkpoint: &Checkpoint, side: usize) -> [Vec<f32>; 2] {
    let device = Device::flex();
    let network = Yolo::from_checkpoint(&checkpoint.fuse().unwrap(), &device).unwrap();
    let images = Tensor::from_data(TensorData::new(noise(side), [1, 3, side, side]), &device);
    let burn = network.forward(images).into_iter().flat_map(|level| host_values(level).unwrap()).collect();
    let compiled = CompiledNetwork::new(checkpoint.fuse().unwrap(), Options::default(), None).unwrap();
    let levels = compiled.run(&noise(side), 1, [side; 2]).unwrap();
    [burn, levels.into_iter().flat_map(|level| level.values).collect()]
}

fn assert_executors_agree(checkpoint: &Checkpoint) {
    let [burn, compiled] = logits(checkpoint, 64);
    let scale = burn.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
    assert_eq!(burn.len(), compiled.len());
    assert!(scale > 0.1, "{scale}");
    for (a, b) in burn.iter().zip(&compiled) {
        assert!((a - b).abs() <= TOLERANCE * scale, "{a} {b} on {}", Isa::detect());
    }
}

#[test]
fn a_module_of_one_file_works_with_everything() {
    registry::register(&TOY);
    let architecture = Architecture::from_yaml(YAML, None).unwrap();
    let again = Architecture::from_yaml(&architecture.to_yaml().unwrap(), None).unwrap();
    assert_eq!(again, architecture);

    // Summary: by hand, with four of the batch normalisation per output channel left out of the parameters.
    let summary = &architecture.layer_summaries()[2];
    let parameters = 16 * 12 * 9 + 12 * 12 * 9 + (12 + 16) * 16 + 2 * (12 + 12 + 16);
    assert_eq!((summary.block, summary.parameters, summary.channels), ("Toy", parameters, (16, 16)));

    // A file and back.
    let dense = lively(architecture);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toy.safetensors");
    dense.save(&path, FloatFormat::F32).unwrap();
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded.architecture, dense.architecture);
    assert_eq!(
        loaded.weights.f32s("model.2.far.conv.weight").unwrap(),
        dense.weights.f32s("model.2.far.conv.weight").unwrap()
    );
    assert_executors_agree(&loaded);

    // Zeros, in the module too.
    let options = PruneOptions::new(Method::Layer, 0.5);
    let sparse = apply(&dense, &plan(&dense, &options).unwrap()).unwrap();
    let zeros = Sparsity::of(&sparse).unwrap().layers.into_iter().find(|layer| layer.name == "model.2.far");
    assert_eq!(zeros.unwrap().zeros, 12 * 12 * 9 / 2);
    assert_executors_agree(&sparse);

    // Channels: the sum couples `near` and `far`.
    let coupling = Coupling::of(&dense.architecture);
    let group = &coupling.groups[coupling.produced_by("model.2.near").unwrap()];
    assert_eq!(
        group.producers.iter().map(|conv| conv.name.as_str()).collect::<Vec<_>>(),
        ["model.2.near", "model.2.far"]
    );
    let scores = ChannelScores::l2(&dense, false).unwrap().normalised();
    let options = ChannelOptions { round_to: 1, ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.4)) };
    let narrow = remove(&dense, &select(&dense.architecture, &scores, &options, None).unwrap()).unwrap();
    let toy = narrow.architecture.layers[2].block.get::<Toy>().unwrap();
    assert!(toy.near.out_channels < 12 && toy.near.out_channels == toy.far.out_channels);
    assert_executors_agree(&narrow);

    // It does not say what it is in PyTorch.
    let options = TorchOptions { format: FloatFormat::F32, masks: false, hyp: None };
    let pt = folder.path().join("toy.pt");
    let error = narrow.save_torch(&pt, &options).unwrap_err().to_string();
    assert!(error.contains("layer 2 (Toy) cannot be written for YOLOv5") && !pt.exists(), "{error}");
    narrow.save_state_dict(&pt, &options).unwrap();

    let onnx = folder.path().join("toy.onnx");
    let options = OnnxOptions {
        axes: Axes::Fixed { batch: 1, size: [64, 64] },
        outputs: Outputs::Decoded,
        opset: 13,
        precision: FloatFormat::F32,
    };
    let written = narrow.export_onnx(&onnx, &options).unwrap();
    assert_eq!(written.parameters, narrow.fuse().unwrap().architecture.summary().parameters);
}

#[test]
fn an_sppf_network_rewritten_with_spp_gives_the_same_bits() {
    let architecture = Architecture::variant("yolov5n", Some(3)).unwrap();
    let sppf = lively(architecture);
    let mut spp = sppf.clone();
    let block = &mut spp.architecture.layers[9].block;
    let SppfSpec { cv1, cv2, pool, .. } = block.get::<SppfSpec>().unwrap().clone();
    assert_eq!(pool, 5);
    *block = Block::new(SppSpec { cv1, cv2, pools: vec![5, 9, 13] });
    spp.check_tensors().unwrap();
    let bits = |checkpoint: &Checkpoint| {
        logits(checkpoint, 192).map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    assert!(bits(&spp) == bits(&sppf));

    let yaml = yolo_model::architecture::variant_yaml("yolov5n").unwrap();
    let yaml = yaml.replace("SPPF, [1024, 5]", "SPP, [1024, [5, 9, 13]]");
    assert_eq!(Architecture::from_yaml(&yaml, Some(3)).unwrap(), spp.architecture);
    // Two pools more than SPPF, and a list around them.
    let layers = |checkpoint: &Checkpoint| checkpoint.architecture.summary().layers;
    assert_eq!(layers(&spp), layers(&sppf) + 3);
}

#[test]
fn a_module_that_nobody_knows_is_named() {
    let text = tiny().architecture.to_yaml().unwrap().replace("C3:", "C4:");
    let error = Architecture::from_yaml(&text, None).unwrap_err().to_string();
    assert!(error.contains("C4") && error.contains("known are Conv, Bottleneck, C3, SPP, SPPF"), "{error}");
}

/// The blocks of YOLOv5-Lite: channels that are split and shuffled.
#[test]
fn a_network_of_shuffle_blocks_runs_everywhere() {
    let yaml = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [16, 16]
backbone:
  - [-1, 1, conv_bn_relu_maxpool, [16]]
  - [-1, 1, Shuffle_Block, [24, 2]]
  - [-1, 2, Shuffle_Block, [24, 1]]
head:
  - [-1, 1, C3, [24, False]]
  - [[3], 1, Detect, [nc, anchors]]
";
    let dense = lively(Architecture::from_yaml(yaml, None).unwrap());
    assert_executors_agree(&dense);
    let names: Vec<&str> =
        dense.weights.names().filter(|name| name.starts_with("model.2.1.branch2.3")).collect();
    assert_eq!(names, ["model.2.1.branch2.3.weight"]);
    assert_eq!(dense.weights.get("model.1.branch1.0.weight").unwrap().shape, [16, 1, 3, 3]);
    let again = Architecture::from_yaml(&dense.architecture.to_yaml().unwrap(), None).unwrap();
    assert_eq!(again, dense.architecture);
    // Nothing is pruned around a shuffle, and the plan says why.
    let coupling = Coupling::of(&dense.architecture);
    let group = &coupling.groups[coupling.produced_by("model.1.branch2.5").unwrap()];
    assert!(group.fixed.as_deref().unwrap().contains("dealt out"), "{:?}", group.fixed);
}
