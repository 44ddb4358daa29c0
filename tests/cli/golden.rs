//! Golden files: what networks, files, logits and trainings were before the last change of the code.
//!
//! They lie in `tests/golden`. `YOLO_UPDATE_GOLDENS=1` rewrites them; a change that rewrites one says why. Numbers
//! whose last bits depend on the processor are compared exactly on the processor that wrote them, and to a
//! tolerance elsewhere.

mod describe;
mod inputs;
mod record;

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::demo::{self, DemoOptions};
use yolo_model::architecture::VARIANTS;
use yolo_model::onnx::{Axes, OnnxOptions, Outputs};
use yolo_model::weights::{FloatFormat, PackOptions};
use yolo_model::{Architecture, Channel, Checkpoint, Head, NmsOptions, RawMap, Xyxy, nms};
use yolo_nn::Yolo;
use yolo_prune::channels::{ChannelOptions, ChannelPlan, ChannelScores, Quantity, Target, remove, select};
use yolo_prune::{Method, PruneOptions, apply, plan};
use yolo_runtime::{CompiledNetwork, Isa, Options};

use crate::support::Case;
use crate::training_support::{TRAIN, TRAINED, files, shapes, squares, table, teach, trained};
use inputs::{demo_network, image, mixed_network, varied};
use record::{Digests, Figures, compare_text, recorded, sha256, updates};

/// Logits on another processor than the one that wrote the files: relative to the larger of the value and 1.
const LOGIT_TOLERANCE: f64 = 1e-3;
/// Losses after a few steps on another processor.
const LOSS_TOLERANCE: f64 = 0.03;
/// Height and width of the image on which networks run; no network may swap them.
const IMAGE: [usize; 2] = [64, 96];

#[test]
fn networks_are_what_they_were() {
    let mut digests = Digests::new("networks.txt");
    for (name, _) in VARIANTS {
        let architecture = Architecture::variant(name, None).unwrap();
        for (item, text) in describe::items(&architecture) {
            match *name {
                "yolov5n" => compare_text(&format!("networks/{name}/{item}"), &text),
                _ => digests.add(&format!("{name} {item}"), text.as_bytes()),
            }
        }
    }
    digests.compare();
    for (name, architecture) in [("demo", demo_network()), ("mixed", mixed_network())] {
        for (item, text) in describe::items(&architecture) {
            compare_text(&format!("networks/{name}/{item}"), &text);
        }
    }
}

#[test]
fn the_same_channels_go() {
    let mut digests = Digests::new("channels.txt");
    let yolov5n = Architecture::variant("yolov5n", None).unwrap();
    for (name, architecture) in [("yolov5n", yolov5n), ("demo", demo_network()), ("mixed", mixed_network())] {
        let dense = varied(architecture, 11);
        let scores = ChannelScores::l1(&dense, false).unwrap();
        let options = ChannelOptions::new(Target::less(Quantity::Channels, 0.5));
        let plan: ChannelPlan = select(&dense.architecture, &scores, &options, None).unwrap();
        let narrow = remove(&dense, &plan).unwrap();
        compare_text(&format!("networks/{name}/l1-plan.txt"), &describe::plan(&plan));
        compare_text(&format!("networks/{name}/l1-narrowed.yaml"), &narrow.architecture.to_yaml().unwrap());
        digests.add(&format!("{name} narrowed.safetensors"), &saved(&narrow, FloatFormat::F32));
    }
    digests.compare();
}

#[test]
fn files_have_the_same_bytes() {
    let mut digests = Digests::new("files.txt");
    for (name, architecture) in [("demo", demo_network()), ("mixed", mixed_network())] {
        let dense = varied(architecture, 12);
        let fused = dense.fuse().unwrap();
        let method = PruneOptions::new(Method::Layer, 0.3);
        let pruned = apply(&dense, &plan(&dense, &method).unwrap()).unwrap();
        for (form, checkpoint) in [("dense", &dense), ("fused", &fused), ("pruned", &pruned)] {
            digests.add(&format!("{name} {form} f32"), &saved(checkpoint, FloatFormat::F32));
            digests.add(&format!("{name} {form} f16"), &saved(checkpoint, FloatFormat::F16));
        }
        for (int8, half) in [(false, false), (true, false), (true, true)] {
            let bytes = written(|path| pruned.save_packed(path, PackOptions { int8, half }).unwrap());
            digests.add(&format!("{name} pruned packed int8={int8} half={half}"), &bytes);
        }
        let fixed = Axes::Fixed { batch: 2, size: [64, 96] };
        for (form, axes, outputs, opset) in [
            ("decoded fixed", fixed, Outputs::Decoded, 17),
            ("decoded dynamic", Axes::Dynamic, Outputs::Decoded, 17),
            ("raw fixed", fixed, Outputs::Logits, 13),
        ] {
            let options = OnnxOptions { axes, outputs, opset, precision: FloatFormat::F32 };
            let bytes = written(|path| drop(dense.export_onnx(path, &options).unwrap()));
            digests.add(&format!("{name} onnx {form} {opset}"), &bytes);
        }
    }
    digests.compare();
}

#[test]
fn the_drawn_data_set_has_the_same_bytes() {
    let mut digests = Digests::new("demo-set.txt");
    let case = Case::empty();
    for (name, image_size, seed) in [("small", 64, 0), ("large", 320, 7)] {
        let options = DemoOptions { train_images: 6, val_images: 3, image_size, seed };
        demo::write(&case.path(name), &options, |_| {}).unwrap();
        for (file, bytes) in files(&case, name) {
            digests.add(&format!("{name}/{file}"), &bytes);
        }
    }
    digests.compare();
}

#[test]
fn logits_are_what_they_were() {
    let mut figures = Figures::new("logits.txt", LOGIT_TOLERANCE);
    let device = Device::flex();
    let (pixels, shape) = image(2, IMAGE);
    for (name, architecture) in [("demo", demo_network()), ("mixed", mixed_network())] {
        let dense = varied(architecture, 13);
        let fused = dense.fuse().unwrap();
        for (form, checkpoint) in [("unfused", &dense), ("fused", &fused)] {
            let network = Yolo::from_checkpoint(checkpoint, &device).unwrap();
            let data = TensorData::new(pixels.clone(), shape);
            let maps = network.forward(Tensor::<4>::from_data(data, &device));
            for (level, map) in maps.into_iter().enumerate() {
                let dims = map.dims();
                let values = map.into_data().try_into_vec_as::<f32>().unwrap();
                figures.add(&format!("{name} {form} burn level {level}"), &dims, &values);
            }
        }
        for isa in [Some(Isa::Portable), None] {
            let options = Options { threads: 2, isa, ..Options::default() };
            let network = CompiledNetwork::new(dense.fuse().unwrap(), options, None).unwrap();
            let unit = isa.map_or("best", Isa::name);
            for (level, map) in network.run(&pixels, 2, IMAGE).unwrap().iter().enumerate() {
                figures.add(&format!("{name} runtime {unit} level {level}"), &map.dims, &map.values);
            }
        }
    }
    figures.compare();
}

#[test]
fn detections_are_what_they_were() {
    let mut text = String::new();
    for (name, architecture) in [("demo", demo_network()), ("mixed", mixed_network())] {
        let head = architecture.head();
        let depth = head.n_channels();
        let sizes: Vec<[usize; 2]> = head.strides().iter().map(|s| IMAGE.map(|side| side / s)).collect();
        let logits: Vec<Vec<f32>> = sizes.iter().map(|[h, w]| inputs::logits(depth * h * w)).collect();
        let maps: Vec<RawMap> = sizes
            .iter()
            .zip(&logits)
            .map(|(&[height, width], logits)| RawMap { logits, height, width })
            .collect();
        let rows = head.decode(&maps, 0.0);
        text += &format!("{name}: {} rows\n", rows.len());
        let all = rows.rows().zip(objectness_and_classes(head, &maps));
        for ((b, scores), [objectness, classes]) in all.step_by(5) {
            let folded: Vec<f32> = classes.iter().map(|score| score * objectness[0]).collect();
            assert_eq!(scores, folded);
            text += &format!("{:?}\n", [vec![b.cx, b.cy, b.w, b.h], objectness, classes].concat());
        }
        for (form, options) in
            [("validation", NmsOptions::validation()), ("detection", NmsOptions::detection())]
        {
            text += &format!("{name}: {form}\n");
            for found in nms(&rows, &options).iter().take(40) {
                let Xyxy { x1, y1, x2, y2 } = found.bbox;
                text += &format!("{:?} score {:?} class {}\n", [x1, y1, x2, y2], found.score, found.class);
            }
        }
    }
    compare_text("detections.txt", &text);
}

/// The objectness of every row, and the scores of its classes before they are multiplied by it.
fn objectness_and_classes(head: Head<'_>, maps: &[RawMap<'_>]) -> Vec<[Vec<f32>; 2]> {
    let mut rows = Vec::new();
    for (level, map) in maps.iter().enumerate() {
        let cells = map.height * map.width;
        let groups = head.level(level).groups;
        for (group, planes) in groups.iter().zip(map.logits.chunks_exact(groups[0].len() * cells)) {
            rows.extend((0..cells).map(|cell| {
                [Channel::Objectness, Channel::Class].map(|wanted| {
                    let channels = group.iter().enumerate().filter(|(_, channel)| **channel == wanted);
                    channels.map(|(at, _)| 1.0 / (1.0 + (-planes[at * cells + cell]).exp())).collect()
                })
            }));
        }
    }
    rows
}

#[test]
fn a_short_training_ends_with_the_same_bytes() {
    let case = shapes(24, 8);
    let mut figures = Figures::new("training.txt", LOSS_TOLERANCE);
    let args = "--epochs 2 --batch-size 5 --nominal-batch-size 15 --hyp in/steady-high.yaml --project runs";
    case.run(&format!("{TRAIN} {args} --name train")).ok();
    add_run(&mut figures, &case, "train", &["best", "last"]);
    figures.compare();
}

/// What [`trained`] reads is what a training makes.
#[test]
fn the_trained_network_is_what_a_training_makes() {
    let case = squares();
    teach(&case);
    let mut figures = Figures::new("trained.txt", LOSS_TOLERANCE);
    add_run(&mut figures, &case, "teach", &["last"]);
    figures.compare();
    if updates() {
        std::fs::write(TRAINED, case.read("runs/teach/weights/last.safetensors")).unwrap();
    }
    // On every processor: the file in use is the one whose training was recorded.
    let in_use = format!("teach last: {}\n", sha256(&std::fs::read(TRAINED).unwrap()));
    assert!(
        recorded("trained.txt").contains(&in_use),
        "{TRAINED} is of another training; YOLO_UPDATE_GOLDENS=1"
    );
}

#[test]
fn short_fine_tunings_end_with_the_same_bytes() {
    let case = trained();
    let mut figures = Figures::new("fine-tuning.txt", LOSS_TOLERANCE);
    let args = "prune-finetune --weights in/trained.safetensors --data in/squares/data.yaml --imgsz 64 --batch-size 8 \
        --epochs 2 --project runs";
    for (name, flags) in [
        ("layer", "--amount 0.5 --method layer"),
        ("gradual", "--amount 0.6 --method global --gradual 1"),
        ("channels", "--channels 0.4 --round-to 2"),
    ] {
        case.run(&format!("{args} {flags} --name {name}")).ok();
        add_run(&mut figures, &case, name, &["pruned", "best", "finetuned"]);
        let summary = case.json(&format!("runs/{name}/summary.json"));
        for stage in summary["stages"].as_array().unwrap() {
            // Validation takes the kernels that are fastest just now, so the last digits vary.
            let figures_of = ["precision", "recall", "map50", "map"].map(|key| &stage["native"][key]);
            let rounded = figures_of.map(|figure| format!("{:.3}", figure.as_f64().unwrap()));
            let title = format!("{name} {}", stage["stage"].as_str().unwrap());
            figures.add_text(&title, &rounded.join(" "));
        }
    }
    figures.compare();
}

/// Adds the digests of the weights of a run, and its table with its losses.
fn add_run(figures: &mut Figures, case: &Case, run: &str, weights: &[&str]) {
    for name in weights {
        let bytes = case.read(&format!("runs/{run}/weights/{name}.safetensors"));
        figures.add_text(&format!("{run} {name}"), &sha256(&bytes));
    }
    let (titles, rows) = table(case, &format!("runs/{run}"));
    figures.add_text(&format!("{run} titles"), &titles.join(","));
    for (epoch, row) in rows.iter().enumerate() {
        figures.add_numbers(&format!("{run} losses of epoch {epoch}"), &row[1..4]);
        figures.add_text(&format!("{run} epoch {epoch}"), &format!("{row:?}"));
    }
}

/// The bytes that `write` writes to a path.
fn written(write: impl FnOnce(&std::path::Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path);
    std::fs::read(path).unwrap()
}

fn saved(checkpoint: &Checkpoint, format: FloatFormat) -> Vec<u8> {
    written(|path| checkpoint.save(path, format).unwrap())
}
