//! Measured plans and the latency table.

use crate::reference::{Random, Zeros, assert_close, conv, naive};
use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::{Architecture, Checkpoint};
use yolo_runtime::{
    ConvGeometry, Network, Op, Options, Output, Plan, Selection, geometries, measure_conv, measure_network,
    measure_plans,
};

fn network() -> Network {
    let mut random = Random::new(1);
    let ops = vec![
        Op::Conv(conv("down", 0, [3, 16], [3, 3], &mut random, Zeros::None)),
        Op::Conv(conv("left", 1, [16, 8], [1, 1], &mut random, Zeros::Share(0.6))),
        Op::Conv(conv("right", 1, [16, 9], [1, 1], &mut random, Zeros::Share(0.6))),
        Op::Conv(conv("deep", 2, [8, 8], [3, 3], &mut random, Zeros::Share(0.9))),
        Op::Concat { inputs: vec![4, 3] },
        Op::Conv(conv("last", 5, [17, 6], [3, 3], &mut random, Zeros::Blocks(0.5))),
    ];
    Network { batch: 2, input: [3, 24, 40], ops, output: Output::Maps(vec![6, 3]) }
}

#[test]
fn measured_plans_compute_the_same_and_their_choices_can_be_kept() {
    let network = network();
    let image = Random::new(2).numbers(2 * 3 * 24 * 40);
    let expected = naive(&network, &image);
    let options = Options { threads: 2, selection: Selection::Measure, ..Options::default() };
    let plan = Plan::new(network.clone(), &options).unwrap();
    let mut output = vec![0.0; plan.output_len()];
    plan.run(&image, &mut output).unwrap();
    assert_close(&output, &expected, 1e-4, "measured");
    let names: Vec<&str> = plan.convolutions().iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["down", "left+right", "deep", "last"], "twins run as one");
    let text: Vec<String> = plan.choices().values().map(ToString::to_string).collect();
    let choices = plan.choices().into_keys().zip(text.iter().map(|text| text.parse().unwrap())).collect();
    let again = Plan::new(network, &Options { choices, ..options }).unwrap();
    assert!(again.convolutions().iter().all(|report| report.candidates.is_empty()));
    assert_eq!(again.choices(), plan.choices());
    let mut same = vec![0.0; plan.output_len()];
    again.run(&image, &mut same).unwrap();
    assert_eq!(same, output);
    assert_eq!(
        again.profile(&image, &mut same).unwrap().iter().filter(|(name, _)| name == "deep").count(),
        1
    );
}

#[test]
fn weights_stay_within_their_budget() {
    let mut random = Random::new(3);
    // As many channels as fill the groups of every dense kernel.
    let ops = vec![Op::Conv(conv("c", 0, [32, 24], [3, 3], &mut random, Zeros::None))];
    let network = Network { batch: 1, input: [32, 40, 40], ops, output: Output::Maps(vec![1]) };
    let options =
        Options { threads: 1, selection: Selection::Measure, weight_growth: 0.0, ..Options::default() };
    let plan = Plan::new(network, &options).unwrap();
    assert!(plan.memory().weights <= 4 * (32 * 24 * 9 + 24), "{:?}", plan.memory());
    assert_eq!(plan.memory().total(), {
        let memory = plan.memory();
        memory.weights + memory.indices + memory.arena + memory.scratch
    });
}

#[test]
fn the_latency_table_has_a_time_and_a_kernel_for_every_sparsity() {
    let geometry = ConvGeometry {
        in_channels: 16,
        out_channels: 24,
        size: [20, 28],
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    let points =
        measure_conv(&geometry, &[0.0, 0.5, 1.0], &Options { threads: 1, ..Options::default() }).unwrap();
    assert_eq!(points.iter().map(|point| point.sparsity).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
    assert!(points.iter().all(|point| point.milliseconds > 0.0 && point.milliseconds < 1e3));
    let impossible = ConvGeometry { kernel: [30, 30], padding: [0, 0], ..geometry };
    assert!(measure_conv(&impossible, &[0.0], &Options::default()).is_err());
}

#[test]
fn every_convolution_has_a_time_in_its_network_at_every_sparsity() {
    let network = network();
    let mut told = Vec::new();
    let options = Options { threads: 1, ..Options::default() };
    let times = measure_network(&network, &[0.0, 0.9], &options, &mut |done| told.push(done)).unwrap();
    assert_eq!(told, [1, 2]);
    let names: Vec<&str> = times.convs.keys().map(String::as_str).collect();
    assert_eq!(names, ["deep", "down", "last", "left", "right"], "twins have a time each");
    assert_eq!(times.whole.len(), 2);
    for (at, whole) in times.whole.iter().enumerate() {
        let sum: f64 = times.convs.values().map(|row| row[at]).sum();
        assert!(sum > 0.0 && sum < whole + 1e-9, "{sum} of {whole}");
        // They share one step, by 8 and 9 channels.
        let [left, right] = ["left", "right"].map(|name| times.convs[name][at]);
        assert!((left / right - 8.0 / 9.0).abs() < 1e-9, "{left} {right}");
    }
    let plan = Plan::new(network, &options).unwrap();
    let whole = measure_plans(&[&plan, &plan]).unwrap();
    assert!(whole.len() == 2 && whole.iter().all(|ms| *ms > 0.0 && *ms < 1e3), "{whole:?}");
}

#[test]
fn geometries_are_those_of_the_plan() {
    for (name, image) in [("yolov5n", [64, 96]), ("yolov5n6", [64, 128])] {
        let architecture = Architecture::variant(name, Some(3)).unwrap();
        let checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(4)).unwrap();
        let found = geometries(&checkpoint.architecture.program(), image);
        let plan =
            Plan::new(Network::of(&checkpoint.fuse().unwrap(), 1, image).unwrap(), &Options::default())
                .unwrap();
        let reports = plan.convolutions();
        assert_eq!(found.len(), reports.len(), "{name}");
        for ((name, geometry), report) in found.iter().zip(reports) {
            assert_eq!(*name, report.name);
            let [height, width] = geometry.kernel;
            assert_eq!([geometry.out_channels, geometry.in_channels, height, width], report.weight, "{name}");
            assert_eq!(geometry.stride, report.stride, "{name}");
            let size = [0, 1].map(|axis| geometry.size[axis].div_ceil(geometry.stride[axis]));
            assert_eq!(size, report.size, "{name}");
        }
    }
}
