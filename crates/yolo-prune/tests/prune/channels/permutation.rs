//! Reordering channels before n:m: the same function, and more of the scores stays.

use std::collections::HashMap;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::architecture::ConvSpec;
use yolo_model::modules::C3Spec;
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::channels::Coupling;
use yolo_prune::pattern::holds;
use yolo_prune::{
    Criterion, Method, Pattern, PermuteError, Permuted, PruneError, PruneOptions, Rank, Structure, apply,
    permute, plan,
};

use super::networks::{
    difference, image, logits, random, released, runs_slow, sixteens_architecture, tiny_architecture, yolov5n,
};

/// Of the logits, relative to the largest.
const TOLERANCE: f32 = 1e-4;
const TWO_OF_FOUR: Structure = Structure::NofM { n: 2, m: 4 };

fn options() -> PruneOptions {
    PruneOptions { structure: TWO_OF_FOUR, ..PruneOptions::new(Method::Layer, 0.5) }
}

/// yolov5n whose weights are mostly small: cubes of uniform numbers, times a factor for each input channel.
fn heavy_tailed() -> Checkpoint {
    with_heavy_tails(yolov5n())
}

fn with_heavy_tails(mut network: Checkpoint) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(21);
    for conv in network.architecture.convs() {
        let [_, inputs, height, width] = conv.spec.weight_shape();
        let factors: Vec<f32> = (0..inputs).map(|_| rng.random_range(0.2f32..1.0).powi(3)).collect();
        let values = network.weights.get_mut(&conv.weight()).unwrap().f32s_mut().unwrap();
        for (index, value) in values.iter_mut().enumerate() {
            let factor = factors[index / (height * width) % inputs];
            *value *= 4.0 * factor * rng.random_range(-1.0f32..1.0).powi(2);
        }
    }
    network
}

/// Sums over the convolutions that 2:4 prunes of `checkpoint`: all magnitudes as they rank, and those kept.
fn magnitudes(checkpoint: &Checkpoint, options: &PruneOptions) -> [f64; 2] {
    let plan = plan(checkpoint, options).unwrap();
    let ranked = if options.rank == Rank::Fused {
        checkpoint.fuse().unwrap().into_checkpoint()
    } else {
        checkpoint.clone()
    };
    let mut sums = [0.0; 2];
    for layer in &plan.masks {
        for (index, value) in ranked.weights.f32s(&layer.tensor).unwrap().iter().enumerate() {
            sums[0] += f64::from(value.abs());
            sums[1] += if layer.mask.keeps(index) { f64::from(value.abs()) } else { 0.0 };
        }
    }
    sums
}

fn assert_near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-6 * b.abs(), "{a} {b}");
}

/// Everything a permutation promises; returns it.
fn assert_permutes(dense: &Checkpoint, options: &PruneOptions) -> (Checkpoint, Permuted) {
    let (reordered, permuted) = permute(dense, options).unwrap();
    assert_eq!((&reordered.architecture, &reordered.pruning), (&dense.architecture, &dense.pruning));
    assert_ne!(reordered.weights, dense.weights);
    let images = image(128, 3);
    let worst = difference(&logits(&reordered, &images), &logits(dense, &images));
    assert!(worst <= TOLERANCE, "{worst}");

    for group in &permuted.groups {
        assert!(group.after >= group.before, "{}: {} {}", group.group, group.before, group.after);
        let is_listed = permuted.plan.groups.iter().any(|listed| listed.group == group.group);
        assert_eq!(group.after > group.before, is_listed, "{}", group.group);
    }
    // The account is that of the pruning itself.
    let (before, after) = (magnitudes(dense, options), magnitudes(&reordered, options));
    assert_near(permuted.total, before[0]);
    assert_near(after[0], before[0]);
    assert_near(permuted.before, before[1]);
    assert_near(permuted.after, after[1]);
    assert!(after[1] > before[1]);
    (reordered, permuted)
}

/// What reads each group, weight by weight: a group's own account, worked out from the masks.
fn kept_by_group(checkpoint: &Checkpoint, options: &PruneOptions) -> HashMap<String, f64> {
    let plan = plan(checkpoint, options).unwrap();
    let ranked = checkpoint.fuse().unwrap();
    let mut kept = HashMap::new();
    for group in Coupling::of(&checkpoint.architecture).groups {
        for consumer in &group.consumers {
            let Some(mask) = plan.mask_of(&consumer.conv) else { continue };
            let [_, inputs, height, width] = consumer.conv.spec.weight_shape();
            let weights = ranked.weights.f32s(&consumer.conv.weight()).unwrap();
            for (index, weight) in weights.iter().enumerate().filter(|(index, _)| mask.keeps(*index)) {
                let input = index / (height * width) % inputs;
                if consumer.offsets.iter().any(|o| (*o..*o + group.channels).contains(&input)) {
                    *kept.entry(group.name.clone()).or_default() += f64::from(weight.abs());
                }
            }
        }
    }
    kept
}

#[test]
fn the_function_stays_and_two_of_four_keeps_more() {
    let dense = heavy_tailed();
    for checkpoint in [dense.fuse().unwrap().into_checkpoint(), dense] {
        let (reordered, permuted) = assert_permutes(&checkpoint, &options());
        assert!(permuted.after > 1.005 * permuted.before, "{} {}", permuted.before, permuted.after);
        let (before, after) = (kept_by_group(&checkpoint, &options()), kept_by_group(&reordered, &options()));
        assert_eq!(before.len(), permuted.groups.len());
        for group in &permuted.groups {
            assert_near(group.before, before[&group.group]);
            assert_near(group.after, after[&group.group]);
        }
        // The pattern holds, and what reads the image or the stem's 16 channels is left as it is.
        let plan = plan(&reordered, &options()).unwrap();
        let pruned = apply(&reordered, &plan).unwrap();
        for layer in &plan.masks {
            let shape: [usize; 4] =
                pruned.weights.require(&layer.tensor).unwrap().shape[..].try_into().unwrap();
            assert!(holds(&layer.mask, shape, TWO_OF_FOUR), "{}", layer.tensor);
        }
        assert!(plan.mask_of(&reordered.architecture.convs()[0]).is_none());
    }
}

#[test]
fn fused_and_unfused_networks_get_the_same_order_and_stored_magnitudes_another() {
    let dense = with_heavy_tails(random(sixteens_architecture(), 1));
    let (reordered, permuted) = permute(&dense, &options()).unwrap();
    let (again, same) = permute(&dense, &options()).unwrap();
    assert_eq!((&again.weights, &same), (&reordered.weights, &permuted));
    let (_, fused) = permute(&*dense.fuse().unwrap(), &options()).unwrap();
    assert_eq!(fused, permuted);
    let stored = PruneOptions { rank: Rank::Stored, ..options() };
    let (_, stored) = assert_permutes(&dense, &stored);
    assert_ne!(stored.plan, permuted.plan);
    // An order that was found leaves little to find.
    let (_, second) = permute(&reordered, &options()).unwrap();
    assert!(second.before >= permuted.after * (1.0 - 1e-6));
}

#[test]
fn what_is_not_pruned_has_no_say() {
    let dense = heavy_tailed();
    let exclude = vec![Pattern::new("model.2"), Pattern::new("model.17")];
    let (_, permuted) = assert_permutes(&dense, &PruneOptions { exclude, ..options() });
    let consumers = |name: &str| {
        let group = permuted.groups.iter().find(|group| group.group == name).unwrap();
        group.consumers.clone()
    };
    // Of model.5 and the two of model.17, and of model.18 and the head, whose 24 outputs are eights.
    assert_eq!(consumers("model.4.cv3"), ["model.5"]);
    assert_eq!(consumers("model.17.cv3"), ["model.18", "model.24.m.0"]);
    assert_eq!(consumers("model.9.cv1"), ["model.9.cv2"]);
    let skipped: Vec<&str> = permuted.skipped.iter().map(|skipped| skipped.group.as_str()).collect();
    assert!(skipped.contains(&"model.2.cv1") && skipped.contains(&"model.17.cv2"), "{skipped:?}");
    assert!(permuted.skipped.iter().all(|s| s.reason == "no convolution that reads it is pruned"));
    assert_eq!(
        permuted.groups.len() + permuted.skipped.len(),
        Coupling::of(&dense.architecture).groups.len()
    );
}

/// Groups of m that would reach from one coupling group into the next make both stay.
#[test]
fn fixed_and_unaligned_groups_stay_with_a_reason() {
    let mut architecture = tiny_architecture();
    if let Some(conv) = architecture.layers[3].block.get_mut::<ConvSpec>() {
        *conv = ConvSpec { groups: 8, ..conv.clone() };
    }
    // model.8 reads 12 channels of model.5 and 20 of model.2.
    if let Some(conv) = architecture.layers[5].block.get_mut::<ConvSpec>() {
        conv.out_channels = 12;
    }
    let c3 = architecture.layers[2].block.get_mut::<C3Spec>().unwrap();
    c3.cv3.out_channels = 20;
    if let Some(conv) = architecture.layers[3].block.get_mut::<ConvSpec>() {
        (conv.in_channels, conv.groups) = (20, 4);
    }
    architecture.validate().unwrap();
    let dense = random(architecture, 6);
    let structure = Structure::NofM { n: 4, m: 8 };
    let options = PruneOptions { structure, ..PruneOptions::new(Method::Layer, 0.5) };
    let (_, permuted) = permute(&dense, &options).unwrap();
    let reason = |name: &str| {
        let skipped = permuted.skipped.iter().find(|skipped| skipped.group == name);
        skipped.unwrap_or_else(|| panic!("{name} in {permuted:?}")).reason.clone()
    };
    assert!(reason("model.2.cv3").contains("model.3 is a convolution with 4 groups"));
    assert_eq!(reason("model.5"), "its 12 channels are not a multiple of 8");
    let fixed: Vec<&str> = permuted.plan.groups.iter().map(|group| group.group.as_str()).collect();
    assert!(!fixed.contains(&"model.2.cv3") && !fixed.contains(&"model.5"), "{fixed:?}");
}

#[test]
fn a_network_of_two_of_four_stays_as_it_is() {
    let dense = heavy_tailed();
    let sparse = apply(&dense, &plan(&dense, &options()).unwrap()).unwrap();
    let (same, permuted) = permute(&sparse, &options()).unwrap();
    assert!(permuted.plan.groups.is_empty());
    assert_eq!((&same.weights, &same.pruning), (&sparse.weights, &sparse.pruning));
    assert_near(permuted.before, permuted.total);
}

#[test]
fn invalid_requests_are_refused() {
    let dense = yolov5n();
    let error = |options: &PruneOptions| {
        let error = permute(&dense, options).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        error
    };
    for (text, structure) in
        [("unstructured", Structure::Unstructured), ("4x1", Structure::Block { out: 4, inp: 1 })]
    {
        let error = error(&PruneOptions { structure, ..options() });
        assert!(matches!(&error, PermuteError::Structure { structure } if structure == text), "{error}");
    }
    let prune_error = |options: &PruneOptions| match error(options) {
        PermuteError::Prune(error) => error,
        other => panic!("{other}"),
    };
    for (n, m) in [(4, 4), (0, 0), (0, 4)] {
        let error = prune_error(&PruneOptions { structure: Structure::NofM { n, m }, ..options() });
        assert!(matches!(error, PruneError::Structure(_)), "{error}");
    }
    let with = |pattern: &str| PruneOptions { exclude: vec![Pattern::new(pattern)], ..options() };
    assert!(matches!(prune_error(&with("modle.2")), PruneError::Pattern { .. }));
    assert!(matches!(prune_error(&with("*")), PruneError::NothingLeft));
    let wanda = PruneOptions { criterion: Some(Criterion::Wanda), ..options() };
    assert!(matches!(prune_error(&wanda), PruneError::NeedsImages));
    let too_wide = PruneOptions { structure: Structure::NofM { n: 2, m: 63 }, ..options() };
    assert!(matches!(prune_error(&too_wide), PruneError::NothingFits { .. }));

    let mut damaged = dense.clone();
    damaged.weights.get_mut("model.3.conv.weight").unwrap().f32s_mut().unwrap()[7] = f32::NAN;
    let error = permute(&damaged, &options()).unwrap_err().to_string();
    assert!(error.starts_with("model.3.conv.weight: 1 weights are NaN"), "{error}");
    let mut lacking = dense.clone();
    lacking.weights.remove("model.3.bn.bias");
    let error = permute(&lacking, &options()).unwrap_err().to_string();
    assert!(error.contains("model.3.bn.bias"), "{error}");
}

/// Prints what the released network keeps; `YOLO_SLOW_TESTS=1` adds 1:4, the fused network, and the time of a network
/// of yolov5x's size.
#[test]
fn the_released_network_keeps_more() {
    if runs_slow() {
        let mut rng = StdRng::seed_from_u64(2);
        let large = Checkpoint::random(Architecture::variant("yolov5x", None).unwrap(), &mut rng).unwrap();
        let start = Instant::now();
        permute(&large, &options()).unwrap();
        eprintln!("yolov5x: {:.1} s", start.elapsed().as_secs_f64());
    }
    let Some(dense) = released() else { return };
    let patterns: &[usize] = if runs_slow() { &[2, 1] } else { &[2] };
    for &n in patterns {
        let structure = Structure::NofM { n, m: 4 };
        let options = PruneOptions { structure, ..options() };
        let (_, permuted) = assert_permutes(&dense, &options);
        let percent = |kept: f64| 100.0 * kept / permuted.total;
        let (before, after) = (percent(permuted.before), percent(permuted.after));
        eprintln!("{n}:4 of yolov5n keeps {after:.2} % of the magnitude, without {before:.2} %");
        assert!(after > before + 0.5);
    }
    if runs_slow() {
        assert_permutes(&dense.fuse().unwrap(), &options());
    }
}
