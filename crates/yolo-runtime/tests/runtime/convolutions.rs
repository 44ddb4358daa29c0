//! Every convolution kernel against a slow convolution in f64. Tests run with debug assertions, in which every
//! access of a kernel is checked against the extent of what it may touch.

use crate::reference::{Random, Zeros, assert_close, conv, naive};
use yolo_runtime::{Activation, Choices, Conv, Isa, KernelId, Network, Op, Options, Output, Plan};

const KERNELS: [&str; 24] = [
    "zip-2x10-p",
    "zip-2x6-p2",
    "zip-2x3-p4",
    "zip-2x1-p1",
    "dense-8x3-g",
    "dense-8x3-p",
    "dense-8x2-p16",
    "dense-4x6-g",
    "dense-4x5-p",
    "dense-4x3-p4",
    "dense-6x4-g",
    "dense-6x2-p",
    "blocks-4x6-g",
    "blocks-4x3-p",
    "blocks-4x5-p2",
    "blocks-8x3-g",
    "pair-2x10-p",
    "pair-2x10-p4",
    "pair-2x6-g",
    "pair-2x5-p1",
    "pair-2x1-p",
    "quad-4x6-p",
    "quad-4x3-p4",
    "quad-4x1-g",
];

fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
}

fn check(conv: Conv, input: [usize; 3], batch: usize, isa: Isa, kernel: Option<&str>) {
    let network = Network { batch, input, ops: vec![Op::Conv(conv.clone())], output: Output::Maps(vec![1]) };
    let what = format!(
        "{input:?} x{batch} k{:?} s{:?} p{:?} out {} {isa} {kernel:?}",
        conv.kernel, conv.stride, conv.padding, conv.out_channels
    );
    let choices: Choices =
        kernel.map(|kernel| (conv.name.clone(), kernel.parse::<KernelId>().unwrap())).into_iter().collect();
    let image = Random::new(7).numbers(batch * input.iter().product::<usize>());
    let expected = naive(&network, &image);
    let plan =
        Plan::new(network, &Options { threads: 2, isa: Some(isa), choices, ..Options::default() }).unwrap();
    if let Some(kernel) = kernel {
        assert_eq!(plan.convolutions()[0].chosen.to_string(), kernel);
    }
    let mut output = vec![f32::NAN; plan.output_len()];
    plan.run(&image, &mut output).unwrap();
    assert_close(&output, &expected, 2e-5, &what);
}

#[test]
fn every_kernel_on_every_unit_at_every_sparsity() {
    let sparsities = [
        Zeros::None,
        Zeros::Share(0.3),
        Zeros::Share(0.5),
        Zeros::Share(0.9),
        Zeros::Share(1.0),
        Zeros::Blocks(0.5),
    ];
    for isa in isas() {
        for kernel in KERNELS {
            for (seed, zeros) in sparsities.into_iter().enumerate() {
                let mut random = Random::new(seed as u64);
                check(conv("c", 0, [5, 13], [3, 3], &mut random, zeros), [5, 9, 14], 1, isa, Some(kernel));
                let mut down = conv("c", 0, [3, 7], [3, 3], &mut random, zeros);
                down.stride = [2, 2];
                check(down, [3, 10, 12], 1, isa, Some(kernel));
                check(conv("c", 0, [7, 9], [1, 1], &mut random, zeros), [7, 5, 11], 1, isa, Some(kernel));
            }
        }
    }
}

#[test]
fn patches_compute_the_same() {
    for isa in isas() {
        for kernel in ["patch-1x5-p", "patch-1x15-p4", "patch-1x20-p3", "patch-2x10-p2", "patch-2x15-p"] {
            for (seed, zeros) in [Zeros::None, Zeros::Share(0.5), Zeros::Share(0.95)].into_iter().enumerate()
            {
                let mut random = Random::new(seed as u64);
                // Columns of tiles are a multiple of 5 wide whatever the grid; rows leave patches that are smaller.
                check(conv("c", 0, [5, 13], [3, 3], &mut random, zeros), [5, 11, 80], 2, isa, Some(kernel));
                let mut down = conv("c", 0, [3, 7], [3, 3], &mut random, zeros);
                down.stride = [2, 2];
                check(down, [3, 34, 160], 1, isa, Some(kernel));
                check(conv("c", 0, [7, 9], [1, 1], &mut random, zeros), [7, 9, 80], 1, isa, Some(kernel));
            }
        }
    }
}

#[test]
fn a_kernel_that_cannot_do_a_convolution_is_passed_over() {
    let mut random = Random::new(1);
    let network = |stride: usize, width: usize| {
        let mut conv = conv("c", 0, [3, 7], [3, 3], &mut Random::new(2), Zeros::Share(0.5));
        conv.stride = [stride; 2];
        Network { batch: 1, input: [3, 12, width], ops: vec![Op::Conv(conv)], output: Output::Maps(vec![1]) }
    };
    for (stride, width) in [(1, 32), (3, 240)] {
        let network = network(stride, width);
        let image = random.numbers(3 * 12 * width);
        let choices = Choices::from([("c".to_owned(), "patch-1x10-p".parse().unwrap())]);
        let plan =
            Plan::new(network.clone(), &Options { threads: 1, choices, ..Options::default() }).unwrap();
        assert_ne!(plan.convolutions()[0].chosen.to_string(), "patch-1x10-p");
        let mut output = vec![0.0; plan.output_len()];
        plan.run(&image, &mut output).unwrap();
        assert_close(&output, &naive(&network, &image), 2e-5, "passed over");
    }
}

#[test]
fn short_convolutions_compute_the_same() {
    let mut random = Random::new(9);
    for isa in isas() {
        for kernel in ["8x3", "4x6", "4x2", "6x4"] {
            for family in ["winograd2", "winograd4", "winograds2"] {
                let kernel = format!("{family}-{kernel}-p");
                for (padding, size) in
                    [([1, 1], [20, 20]), ([1, 1], [9, 31]), ([0, 2], [13, 64]), ([1, 1], [3, 4])]
                {
                    let mut conv = conv("c", 0, [5, 13], [3, 3], &mut random, Zeros::Share(0.2));
                    conv.padding = padding;
                    if family == "winograds2" {
                        conv.stride = [2, 2];
                    }
                    check(conv, [5, size[0], size[1]], 2, isa, Some(&kernel));
                }
                if family != "winograds2" {
                    let mut stem = conv("c", 0, [3, 9], [6, 6], &mut random, Zeros::None);
                    stem.stride = [2, 2];
                    stem.padding = [2, 2];
                    check(stem.clone(), [3, 32, 44], 2, isa, Some(&kernel));
                    check(stem, [3, 21, 14], 1, isa, Some(&kernel));
                }
            }
        }
        let mut other = conv("c", 0, [2, 3], [5, 5], &mut random, Zeros::None);
        other.stride = [2, 2];
        let network =
            Network { batch: 1, input: [2, 9, 9], ops: vec![Op::Conv(other)], output: Output::Maps(vec![1]) };
        let choices = [("c".to_owned(), "winograd2-8x3-p".parse().unwrap())].into_iter().collect();
        let plan = Plan::new(network, &Options { choices, ..Options::default() }).unwrap();
        assert_eq!(
            plan.convolutions()[0].chosen.family,
            yolo_runtime::Family::Dense,
            "what cannot be is passed over"
        );
    }
}

#[test]
fn every_window_stride_and_padding() {
    let mut random = Random::new(3);
    for isa in isas() {
        for (kernel, padding) in [
            ([1, 1], [0, 0]),
            ([3, 3], [1, 1]),
            ([3, 3], [0, 0]),
            ([5, 5], [2, 2]),
            ([6, 6], [2, 2]),
            ([3, 1], [1, 0]),
            ([2, 4], [0, 3]),
            ([3, 3], [3, 2]),
            ([1, 1], [2, 1]),
        ] {
            for stride in [[1, 1], [2, 2], [1, 2], [3, 2]] {
                let mut conv = conv("c", 0, [3, 5], kernel, &mut random, Zeros::None);
                conv.stride = stride;
                conv.padding = padding;
                for size in [[12, 16], [7, 9]] {
                    check(conv.clone(), [3, size[0], size[1]], 1, isa, None);
                }
            }
        }
        let mut dilated = conv("c", 0, [2, 3], [3, 3], &mut random, Zeros::None);
        dilated.dilation = [2, 3];
        dilated.padding = [2, 3];
        check(dilated, [2, 11, 13], 1, isa, None);
    }
}

#[test]
fn channels_and_sizes_around_every_edge() {
    let mut random = Random::new(4);
    for isa in isas() {
        for channels in
            [[1, 1], [1, 3], [3, 2], [2, 4], [4, 5], [5, 7], [7, 8], [8, 9], [9, 12], [13, 17], [16, 25]]
        {
            for zeros in [Zeros::None, Zeros::Share(0.5)] {
                let conv = conv("c", 0, channels, [3, 3], &mut random, zeros);
                check(conv, [channels[0], 5, 6], 1, isa, None);
            }
        }
        for size in 1..=18 {
            let conv = conv("c", 0, [2, 3], [3, 3], &mut random, Zeros::None);
            check(conv.clone(), [2, size, 3], 1, isa, None);
            check(conv.clone(), [2, 3, size], 1, isa, None);
            check(conv, [2, size, size], 1, isa, None);
        }
    }
}

#[test]
fn batches_activations_and_long_rows() {
    let mut random = Random::new(5);
    for isa in isas() {
        for activation in [Activation::None, Activation::Silu, Activation::Relu, Activation::LeakyRelu(0.1)] {
            let mut conv = conv("c", 0, [4, 6], [3, 3], &mut random, Zeros::Share(0.4));
            conv.activation = activation;
            check(conv, [4, 8, 8], 3, isa, None);
        }
        let conv = conv("c", 0, [3, 4], [6, 6], &mut random, Zeros::None);
        let conv = Conv { stride: [2, 2], padding: [2, 2], ..conv };
        check(conv.clone(), [3, 64, 96], 1, isa, None);
        check(conv, [3, 4, 260], 2, isa, None);
    }
}

#[test]
fn measured_kernels_compute_the_same() {
    let mut random = Random::new(6);
    for isa in isas() {
        for zeros in [Zeros::None, Zeros::Share(0.7), Zeros::Blocks(0.7)] {
            let conv = conv("c", 0, [16, 24], [3, 3], &mut random, zeros);
            let network = Network {
                batch: 1,
                input: [16, 20, 20],
                ops: vec![Op::Conv(conv)],
                output: Output::Maps(vec![1]),
            };
            let image = random.numbers(16 * 400);
            let expected = naive(&network, &image);
            let options = Options {
                threads: 2,
                isa: Some(isa),
                selection: yolo_runtime::Selection::Measure,
                ..Options::default()
            };
            let plan = Plan::new(network.clone(), &options).unwrap();
            let mut output = vec![0.0; plan.output_len()];
            plan.run(&image, &mut output).unwrap();
            assert_close(&output, &expected, 2e-5, "measured");
            assert!(!plan.convolutions()[0].candidates.is_empty());
            let again = Plan::new(network, &Options { choices: plan.choices(), ..options }).unwrap();
            assert!(again.convolutions()[0].candidates.is_empty(), "a known choice is not measured again");
            assert_eq!(again.choices(), plan.choices());
        }
    }
}
