//! All ten sizes: tensors, shapes, parameters, GFLOPs, layers.

use yolo_model::architecture::VARIANTS;
use yolo_model::{Architecture, Head};

use crate::json;

#[test]
fn tensors_and_counts_of_all_sizes() {
    for (name, _) in VARIANTS {
        let Some(reference) = json(&format!("reference/arch/{name}.json")) else { return };
        let architecture = Architecture::variant(name, None).unwrap();

        let tensors: Vec<(String, Vec<usize>)> =
            architecture.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let expected: Vec<(String, Vec<usize>, String)> =
            serde_json::from_value(reference["state_dict"].clone()).unwrap();
        let expected: Vec<(String, Vec<usize>)> =
            expected.into_iter().map(|(k, shape, _)| (k, shape)).collect();
        assert_eq!(tensors, expected, "{name}");

        let summary = architecture.summary();
        assert_eq!(summary.parameters as u64, reference["params"].as_u64().unwrap(), "{name}");
        assert_eq!(summary.conv_weights as u64, reference["conv_weights"].as_u64().unwrap(), "{name}");
        assert_eq!(architecture.convs().len() as u64, reference["convs"].as_u64().unwrap(), "{name}");
        assert_eq!(rounded(summary.gflops), rounded(reference["gflops_640"].as_f64().unwrap()), "{name}");

        let fused = Architecture { fused: true, ..architecture.clone() }.summary();
        assert_eq!(fused.parameters as u64, reference["fused_params"].as_u64().unwrap(), "{name}");
        assert_eq!(rounded(fused.gflops), rounded(reference["fused_gflops_640"].as_f64().unwrap()), "{name}");

        let strides: Vec<usize> = serde_json::from_value(reference["stride"].clone()).unwrap();
        let Head::AnchorBased(detect) = architecture.head() else { panic!("{name}") };
        assert_eq!(detect.strides, strides, "{name}");
        let anchors: Vec<[f32; 2]> = serde_json::from_value(reference["anchors"].clone()).unwrap();
        assert_eq!(detect.anchors.concat(), anchors, "{name}");
    }
}

/// The reference's figures have three decimals.
fn rounded(gflops: f64) -> u64 {
    (gflops * 1e3).round() as u64
}

/// Specification §1.8: module objects with one activation per block.
#[test]
fn layers_as_the_released_files_count_them() {
    let cases = [
        ("yolov5n", 270, 213),
        ("yolov5s", 270, 213),
        ("yolov5m", 369, 290),
        ("yolov5l", 468, 367),
        ("yolov5x", 567, 444),
        ("yolov5n6", 355, 280),
        ("yolov5m6", 481, 378),
        ("yolov5l6", 607, 476),
        ("yolov5x6", 733, 574),
    ];
    for (name, unfused, fused) in cases {
        let architecture = Architecture::variant(name, None).unwrap();
        assert_eq!(architecture.summary().layers, unfused, "{name}");
        assert_eq!(Architecture { fused: true, ..architecture }.summary().layers, fused, "{name}");
    }
}

/// Specification §1.5.
#[test]
fn parameters_per_layer() {
    let n = Architecture::variant("yolov5n", None).unwrap().layer_summaries();
    let parameters: Vec<usize> = n.iter().map(|layer| layer.parameters).collect();
    let golden = [
        1760, 4672, 4800, 18560, 29184, 73984, 156_928, 295_424, 296_448, 164_608, 33024, 0, 0, 90880, 8320,
        0, 0, 22912, 36992, 0, 74496, 147_712, 0, 296_448, 115_005,
    ];
    assert_eq!(parameters, golden);
}

#[test]
fn the_number_of_classes_only_changes_the_head() {
    let one = Architecture::variant("yolov5s", Some(1)).unwrap();
    assert_eq!(one.head().n_channels(), 18);
    // Specification §1.1: 3 · (251 + 5) = 768 is not scaled.
    let odd = Architecture::variant("yolov5n6", Some(251)).unwrap();
    assert_eq!(odd.out_channels()[7], 768);
    assert_eq!(Architecture::variant("yolov5n6", None).unwrap().out_channels()[7], 192);
}

#[test]
fn the_explicit_form_is_the_same_network() {
    for (name, _) in VARIANTS {
        let architecture = Architecture::variant(name, Some(7)).unwrap();
        let yaml = architecture.to_yaml().unwrap();
        assert_eq!(Architecture::from_yaml(&yaml, None).unwrap(), architecture, "{name}");
    }
}

#[test]
fn a_custom_yaml_of_the_same_vocabulary() {
    let yaml = "
nc: 3
depth_multiple: 1.0
width_multiple: 1.0
channel_multiple: 4
activation: nn.LeakyReLU(0.1)
anchors: [[100, 90, 30, 20], [8, 10, 12, 14]]
backbone:
  - [-1, 1, Conv, [12, 3, 2]]
  - [-1, 1, Conv, [20, 3, 2, 1, 4]]
  - [-1, 1, Bottleneck, [20]]
head:
  - [-1, 2, C3, [24, False]]
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 0], 1, Concat, [1]]
  - [[-1, 3], 1, Detect, [nc, anchors]]
";
    let architecture = Architecture::from_yaml(yaml, None).unwrap();
    let Head::AnchorBased(detect) = architecture.head() else { panic!("another head") };
    assert_eq!((detect.in_channels.clone(), detect.strides.clone()), (vec![36, 24], vec![2, 4]));
    // Finer levels get the smaller anchors, whatever the order in the file.
    assert_eq!(detect.anchors[0], [[8.0, 10.0], [12.0, 14.0]]);
    assert_eq!(architecture.convs()[1].spec.weight_shape(), [20, 3, 3, 3]);
}

#[test]
fn errors_name_the_layer_and_the_reason() {
    let with = |line: &str| {
        format!(
            "nc: 2\ndepth_multiple: 1\nwidth_multiple: 1\nanchors: [[1, 2]]\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n{line}\nhead:\n  - [[-1], 1, Detect, [nc, anchors]]\n"
        )
    };
    let cases = [
        ("  - [-1, 1, Frobnicate, [8]]", "layer 1: Frobnicate is not a module known here"),
        ("  - [-1, 1, Conv, [eight]]", "layer 1: Conv needs a whole number as argument 1"),
        ("  - [-1, 1, Conv, []]", "layer 1: Conv needs a whole number as argument 1"),
        ("  - [5, 1, Conv, [8]]", "layer 1: Conv reads from"),
        ("  - [-1, 2, Conv, [16]]", "layer 1 (Conv) 1: expects 8 input channels but receives 16"),
        ("  - [-1, 0, Conv, [8]]", "layer 1: Conv is repeated 0 times"),
        ("  - [-1, 1, Conv, [8, 3, 1, None, 1, 1, nn.PReLU()]]", "needs True, False or nn.SiLU()"),
        (
            "  - [-1, 1, C3TR, [16, True, 1, 0.625]]",
            "layer 1: C3TR has 10 channels in the middle, which 4 heads cannot share",
        ),
        ("  - [-1, 1, Expand, [3]]", "8 channels do not make squares of 3 pixels"),
        ("  - [-1, 1, C3SPP, [8, False]]", "layer 1: C3SPP needs a list of whole numbers as argument 2"),
        ("  - [-1, 1, Conv, [8, 3, 1, 1, 3]]", "groups do not divide"),
        ("nonsense: 1", "nonsense"),
    ];
    for (line, expected) in cases {
        let error = Architecture::from_yaml(&with(line), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(Architecture::variant("yolov5z", None).unwrap_err().to_string().contains("yolov5x6"));
}
