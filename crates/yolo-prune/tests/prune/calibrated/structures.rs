//! Structures hold, amounts are exact, limits and exclusions are respected.

use yolo_model::{Architecture, Checkpoint};
use yolo_prune::pattern::holds;
use yolo_prune::{
    Allocation, Criterion, LatencyBudget, LatencyTable, Limit, Method, Pattern, PruneError, PruneOptions,
    PrunePlan, Repair, Sparsity, Structure, Unit, apply, nonzero_gflops, plan,
};

use super::networks::{pixels, random, raw_batches, small_and_slow, tiny};
use super::{Batches, calibrated};

fn narrow() -> Checkpoint {
    random(Architecture::variant("yolov5n", Some(3)).unwrap(), 91)
}

fn small_batch() -> Batches {
    vec![([2, 64, 64], pixels([2, 64, 64], 92))]
}

/// Every mask of the plan has the structure, and everything that is not pruned is listed.
fn assert_structure(dense: &Checkpoint, plan: &PrunePlan, structure: Structure) {
    let convs = dense.architecture.convs();
    assert_eq!(plan.masks.len() + plan.skipped.len(), convs.len());
    for layer in &plan.masks {
        let conv = convs.iter().find(|conv| conv.weight() == layer.tensor).unwrap();
        assert!(
            holds(&layer.mask, conv.spec.weight_shape(), structure),
            "{} is not {structure}",
            layer.tensor
        );
    }
    let pruned = apply(dense, plan).unwrap();
    plan.check(&pruned).unwrap();
    assert!(Sparsity::of(&pruned).unwrap().conv_zeros >= plan.pruned());
}

const OPTIONS: [(Criterion, Repair); 5] = [
    (Criterion::Magnitude, Repair::None),
    (Criterion::Magnitude, Repair::Reconstruct),
    (Criterion::Wanda, Repair::Bias),
    (Criterion::Snip, Repair::None),
    (Criterion::Reconstruction, Repair::Reconstruct),
];

/// The plan, with images where the options need some.
fn planned(dense: &Checkpoint, options: &PruneOptions, batches: &Batches) -> PrunePlan {
    if options.needs_images() { calibrated(dense, options, batches) } else { plan(dense, options) }.unwrap()
}

#[test]
fn n_of_m_holds_everywhere_but_in_the_stem_and_the_head() {
    for (_, dense) in small_and_slow(91) {
        for (n, m) in [(2, 4), (1, 4)] {
            assert_n_of_m(&dense, n, m);
        }
    }
    // 255 output channels do not fit.
    let coco = random(Architecture::variant("yolov5n", None).unwrap(), 93);
    let options =
        PruneOptions { structure: Structure::NofM { n: 2, m: 4 }, ..PruneOptions::new(Method::Layer, 0.5) };
    let skipped: Vec<String> = plan(&coco, &options).unwrap().skipped.into_iter().map(|s| s.tensor).collect();
    let head = [0, 1, 2].map(|level| format!("model.24.m.{level}.weight"));
    assert_eq!(skipped, [&["model.0.conv.weight".to_owned()], &head[..]].concat());
}

fn assert_n_of_m(dense: &Checkpoint, n: usize, m: usize) {
    let structure = Structure::NofM { n, m };
    for (criterion, repair) in OPTIONS {
        let options = PruneOptions {
            criterion: Some(criterion),
            repair: Some(repair),
            structure,
            ..PruneOptions::new(Method::Layer, 0.5)
        };
        let plan = planned(dense, &options, &small_batch());
        assert_structure(dense, &plan, structure);
        // 3 input channels; the head's outputs are eights and its inputs sixteens with three classes.
        let skipped: Vec<_> = plan.skipped.iter().map(|s| (s.tensor.as_str(), s.reason.as_str())).collect();
        let reason =
            format!("{n}:{m} needs output channels in eights and input channels in 16s; it has 16 and 3");
        assert_eq!(skipped, [("model.0.conv.weight", reason.as_str())]);
        for layer in &plan.masks {
            assert_eq!(layer.mask.pruned(), layer.mask.len() / m * (m - n), "{}", layer.tensor);
        }
        assert!((plan.amount - (1.0 - n as f64 / m as f64)).abs() < 1e-12);
    }
}

#[test]
fn blocks_go_or_stay_as_a_whole() {
    for (_, dense) in small_and_slow(91) {
        for structure in [Structure::Block { out: 4, inp: 1 }, Structure::Block { out: 1, inp: 4 }] {
            for (criterion, repair) in OPTIONS {
                for allocation in [Allocation::Layer, Allocation::Global, Allocation::Erk] {
                    assert_blocks(&dense, structure, (criterion, repair), allocation);
                }
            }
        }
    }
}

fn assert_blocks(
    dense: &Checkpoint,
    structure: Structure,
    (criterion, repair): (Criterion, Repair),
    allocation: Allocation,
) {
    let convs = dense.architecture.convs();
    let total: usize = convs.iter().map(|conv| conv.spec.weight_shape().iter().product::<usize>()).sum();
    let options = PruneOptions {
        criterion: Some(criterion),
        repair: Some(repair),
        structure,
        allocation: Some(allocation),
        ..PruneOptions::new(Method::Layer, 0.5)
    };
    let plan = planned(dense, &options, &small_batch());
    assert_structure(dense, &plan, structure);
    // Whole blocks cannot meet a count to the weight; four of each convolution is the most.
    let missing = (0.5 * total as f64 - plan.pruned() as f64).abs();
    assert!(missing <= 4.0 * convs.len() as f64, "{structure} {allocation:?} {criterion:?}: {missing}");
}

const COMPETING: [Allocation; 5] =
    [Allocation::Global, Allocation::Erk, Allocation::Lamp, Allocation::Flops, Allocation::Sensitivity];

#[test]
fn totals_are_exact() {
    let dense = tiny(94);
    let total = Sparsity::of(&dense).unwrap().conv_weights;
    for allocation in COMPETING {
        for amount in [0.0, 0.137, 0.5, 0.9] {
            for repair in [Repair::None, Repair::Reconstruct] {
                let options = PruneOptions {
                    allocation: Some(allocation),
                    repair: Some(repair),
                    ..PruneOptions::new(Method::Layer, amount)
                };
                let plan = planned(&dense, &options, &raw_batches(95));
                let expected = (amount * total as f64).round_ties_even() as usize;
                assert_eq!(plan.pruned(), expected, "{allocation:?} {amount}");
                let zeros = Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap().conv_zeros;
                assert_eq!(zeros, expected, "{allocation:?} {amount} {repair:?}");
                assert!(plan.masks.iter().all(|layer| layer.mask.pruned() < layer.mask.len()));
            }
        }
    }
}

#[test]
fn reconstruction_takes_the_total_as_well() {
    let dense = tiny(96);
    let total = Sparsity::of(&dense).unwrap().conv_weights;
    for amount in [0.2, 0.5, 0.8] {
        let plan = planned(&dense, &PruneOptions::new(Method::Reconstruction, amount), &raw_batches(97));
        assert_eq!(plan.pruned(), (amount * total as f64).round_ties_even() as usize);
        assert_eq!(Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap().conv_zeros, plan.pruned());
    }
}

#[test]
fn limits_hold_and_the_last_that_matches_counts() {
    let dense = tiny(98);
    let total = Sparsity::of(&dense).unwrap().conv_weights;
    let limit = |least, most| Limit { least, most };
    for allocation in COMPETING.into_iter().chain([Allocation::Layer]) {
        let options = PruneOptions {
            allocation: Some(allocation),
            min_sparsity: 0.1,
            max_sparsity: 0.8,
            limits: [
                (Pattern::new("model.2"), limit(0.6, 0.65)),
                (Pattern::new("model.2.cv3"), limit(0.0, 0.05)),
                (Pattern::new("model.10.*"), limit(0.0, 0.0)),
            ]
            .into_iter()
            .collect(),
            ..PruneOptions::new(Method::Layer, 0.5)
        };
        let plan = planned(&dense, &options, &raw_batches(99));
        for layer in &plan.masks {
            let share = layer.mask.pruned() as f64 / layer.mask.len() as f64;
            let (least, most) = match layer.tensor.as_str() {
                "model.2.cv3.conv.weight" => (0.0, 0.05),
                name if name.starts_with("model.2.") => (0.6, 0.65),
                name if name.starts_with("model.10.") => (0.0, 0.0),
                _ => (0.1, 0.8),
            };
            assert!((least..=most).contains(&share), "{allocation:?} {}: {share}", layer.tensor);
        }
        if allocation != Allocation::Layer {
            assert_eq!(plan.pruned(), (0.5 * total as f64).round_ties_even() as usize, "{allocation:?}");
        }
    }
}

#[test]
fn an_amount_of_flops_is_reached() {
    let dense = narrow();
    let program = dense.architecture.program();
    let sizes = program.sizes([640; 2]);
    let per_weight: Vec<(String, f64)> = program
        .convs()
        .map(|(index, conv)| (conv.weight(), 2.0 * (sizes[index + 1][0] * sizes[index + 1][1]) as f64))
        .collect();
    let whole: f64 = program
        .convs()
        .zip(&per_weight)
        .map(|((_, conv), (_, flops))| flops * conv.spec.weight_shape().iter().product::<usize>() as f64)
        .sum();
    for allocation in [Allocation::Layer, Allocation::Erk, Allocation::Flops, Allocation::Sensitivity] {
        for amount in [0.3, 0.5] {
            let options = PruneOptions {
                allocation: Some(allocation),
                unit: Unit::Flops,
                ..PruneOptions::new(Method::Layer, amount)
            };
            let plan = planned(&dense, &options, &small_batch());
            let saved = |layer: &yolo_prune::LayerMask| {
                let (_, flops) = per_weight.iter().find(|(name, _)| *name == layer.tensor).unwrap();
                flops * layer.mask.pruned() as f64
            };
            let gone: f64 = plan.masks.iter().map(saved).sum();
            // One weight of the stem counts most: 320×320 positions.
            let most = amount * whole + 2.0 * 320.0 * 320.0;
            assert!((amount * whole..most).contains(&gone), "{allocation:?} {amount}: {}", gone / whole);
            let pruned = apply(&dense, &plan).unwrap();
            let counted = dense.architecture.summary().gflops
                - nonzero_gflops(&pruned.architecture, &Sparsity::of(&pruned).unwrap());
            assert!((counted * 1e9 - gone).abs() < 1e-6 * gone, "{counted} {gone}");
        }
    }
}

/// Times that were made up: a convolution takes a thousandth of its weights, and falls to a tenth.
fn made_up_times(dense: &Checkpoint, rest: f64) -> LatencyTable {
    let time = |conv: &yolo_model::architecture::ConvRef| {
        let whole = conv.spec.weight_shape().iter().product::<usize>() as f64 / 1000.0;
        (conv.name.clone(), vec![whole, 0.8 * whole, 0.1 * whole])
    };
    let convs: std::collections::BTreeMap<_, _> = dense.architecture.convs().iter().map(time).collect();
    let whole = rest + convs.values().map(|row| row[0]).sum::<f64>();
    LatencyTable::new(vec![0.0, 0.4, 0.9], convs, whole).unwrap()
}

#[test]
fn an_amount_of_milliseconds_is_reached() {
    let dense = narrow();
    let table = made_up_times(&dense, 3.0);
    let whole = table.dense();
    for allocation in [
        Allocation::Layer,
        Allocation::Global,
        Allocation::Erk,
        Allocation::Lamp,
        Allocation::Flops,
        Allocation::Sensitivity,
    ] {
        let with = |most: f64| PruneOptions {
            allocation: Some(allocation),
            unit: Unit::Milliseconds,
            latency: Some(LatencyBudget { table: table.clone(), most }),
            exclude: vec![Pattern::new("model.24")],
            ..PruneOptions::new(Method::Layer, 0.5)
        };
        for most in [1.1 * whole, 0.7 * whole] {
            let plan = planned(&dense, &with(most), &small_batch());
            let pruned = Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap();
            let time = table.predict(|name| pruned.of_conv(name));
            assert!(time <= most * (1.0 + 1e-9), "{allocation:?}: {time} of {most}");
            assert!(time >= most.min(whole) * 0.99, "{allocation:?}: only {time} of {most}");
        }
    }
}

#[test]
fn a_time_that_cannot_be_met_is_refused() {
    let dense = random(Architecture::variant("yolov5n", Some(3)).unwrap(), 92);
    let table = made_up_times(&dense, 3.0);
    let with = |most: f64| PruneOptions {
        unit: Unit::Milliseconds,
        latency: Some(LatencyBudget { table: table.clone(), most }),
        exclude: vec![Pattern::new("model.24")],
        ..PruneOptions::new(Method::Layer, 0.5)
    };
    let refused = |options: &PruneOptions| plan(&dense, options).unwrap_err();
    let by_errors = PruneOptions { allocation: Some(Allocation::Sensitivity), ..with(1.0) };
    for error in [refused(&with(1.0)), calibrated(&dense, &by_errors, &small_batch()).unwrap_err()] {
        // The head stays, and a tenth of everything else.
        let PruneError::TooSlow { most, least, dense: before } = error else { panic!("{error}") };
        let head = table.conv("model.24.m.0", 0.0).unwrap();
        assert!(most == 1.0 && before == table.dense(), "{most} {before}");
        assert!(least > 3.0 + head && least < 0.3 * before, "{least} of {before}");
    }
    let without = PruneOptions { latency: None, ..with(1.0) };
    assert!(matches!(refused(&without), PruneError::NeedsLatency));
    let blocks = PruneOptions { structure: "4x1".parse().unwrap(), ..with(1.0) };
    assert!(matches!(refused(&blocks), PruneError::LatencyOfStructure { .. }));
    let other = LatencyTable::new(vec![0.0], Default::default(), 5.0).unwrap();
    let other = PruneOptions { latency: Some(LatencyBudget { table: other, most: 1.0 }), ..with(1.0) };
    assert!(refused(&other).to_string().contains("no times of model.0"));
}

/// Groups of channels are left out where images are looked at, with the reason.
#[test]
fn grouped_convolutions_are_not_calibrated() {
    let dense = random(super::networks::mixed_architecture(), 100);
    for (method, skipped) in [(Method::Layer, 0), (Method::Reconstruction, 2), (Method::Wanda, 2)] {
        let plan = planned(&dense, &PruneOptions::new(method, 0.5), &raw_batches(101));
        let listed: Vec<_> = plan.skipped.iter().map(|s| (s.tensor.as_str(), s.reason.as_str())).collect();
        let expected = [
            ("model.1.conv.weight", "its 4 groups are not calibrated"),
            ("model.5.conv.weight", "its 2 groups are not calibrated"),
        ];
        assert_eq!(listed, expected[..skipped]);
        apply(&dense, &plan).unwrap();
    }
}
