//! Magnitude pruning of whole networks: exact counts, the reference's account, and what must not change.

mod packing;

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::{Mask, Method, Pattern, PruneError, PruneOptions, Rank, Sparsity, apply, plan};

/// A network with a batch normalisation that changes the order of magnitudes between channels.
fn network() -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(7);
    let architecture = Architecture::variant("yolov5n", Some(80)).unwrap();
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    let scales: Vec<String> =
        checkpoint.weights.names().filter(|name| name.ends_with(".bn.weight")).map(str::to_owned).collect();
    for name in scales {
        for scale in checkpoint.weights.get_mut(&name).unwrap().f32s_mut().unwrap() {
            *scale = rng.random_range(0.1..3.0);
        }
    }
    checkpoint
}

fn released() -> Option<Checkpoint> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/weights/yolov5n.pt"));
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(Checkpoint::load(&path).unwrap())
}

/// Specification §8: the weights that go at 30 % and 50 %, from the shapes alone.
#[test]
fn counts_of_all_sizes() {
    let cases = [
        ("yolov5n", 558_566, 930_944),
        ("yolov5s", 2_164_685, 3_607_808),
        ("yolov5m", 6_345_907, 10_576_512),
        ("yolov5l", 13_950_874, 23_251_456),
        ("yolov5x", 25_997_952, 43_329_920),
    ];
    for (name, at_30, at_50) in cases {
        let convs = Architecture::variant(name, None).unwrap().convs();
        let count = |amount: f64| -> usize {
            let weights = convs.iter().map(|conv| conv.spec.weight_shape().iter().product::<usize>());
            weights.map(|n| (amount * n as f64).round_ties_even() as usize).sum()
        };
        assert_eq!((count(0.3), count(0.5)), (at_30, at_50), "{name}");
    }
}

/// Their costs and zeros are counted nowhere, so they are left alone, and a plan says so.
#[test]
fn transposed_convolutions_are_listed() {
    let yaml = yolo_model::architecture::variant_yaml("yolov5n").unwrap();
    let upsample = yaml.lines().find(|line| line.contains("nn.Upsample")).unwrap();
    let yaml = yaml.replacen(upsample, "  - [-1, 1, nn.ConvTranspose2d, [512, 2, 2]]", 1);
    let architecture = Architecture::from_yaml(&yaml, Some(2)).unwrap();
    let dense = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(3)).unwrap();
    let plan = plan(&dense, &PruneOptions::new(Method::Layer, 0.5)).unwrap();
    let skipped: Vec<_> = plan.skipped.iter().map(|s| (s.tensor.as_str(), s.reason.as_str())).collect();
    assert_eq!(skipped, [("model.11.weight", "the weights of transposed convolutions are not pruned")]);
    let pruned = apply(&dense, &plan).unwrap();
    assert_eq!(pruned.weights.get("model.11.weight"), dense.weights.get("model.11.weight"));
    let zeros = pruned.weights.f32s("model.10.conv.weight").unwrap().iter().filter(|value| **value == 0.0);
    assert_eq!(zeros.count(), 128 * 256 / 2);
}

#[test]
fn every_convolution_loses_its_share() {
    let dense = network().fuse().unwrap().into_checkpoint();
    let plan = plan(&dense, &PruneOptions::new(Method::Layer, 0.3)).unwrap();
    let pruned = apply(&dense, &plan).unwrap();
    let sparsity = Sparsity::of(&pruned).unwrap();
    assert_eq!((plan.pruned(), sparsity.conv_zeros), (558_566, 558_566));
    for layer in &sparsity.layers {
        assert_eq!(layer.zeros, (0.3 * layer.weights as f64).round_ties_even() as usize, "{}", layer.name);
    }
    // What stays is what it was, bit for bit, and larger than all that went.
    for layer in &plan.masks {
        let (before, after) =
            (dense.weights.f32s(&layer.tensor).unwrap(), pruned.weights.f32s(&layer.tensor).unwrap());
        let kept = (0..before.len()).filter(|&i| layer.mask.keeps(i));
        assert!(kept.clone().all(|i| before[i].to_bits() == after[i].to_bits()));
        let smallest = kept.map(|i| before[i].abs()).fold(f32::INFINITY, f32::min);
        let gone = (0..before.len()).filter(|&i| !layer.mask.keeps(i));
        assert!(gone.map(|i| before[i].abs()).fold(0.0, f32::max) <= smallest, "{}", layer.tensor);
    }
}

#[test]
fn convolutions_compete_globally() {
    let dense = network().fuse().unwrap().into_checkpoint();
    let plan = plan(&dense, &PruneOptions::new(Method::Global, 0.3)).unwrap();
    assert_eq!(plan.pruned(), 558_566);
    let pruned = Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap();
    let (least, most) = pruned
        .layers
        .iter()
        .map(|l| l.fraction())
        .fold((1.0f64, 0.0f64), |(lo, hi), f| (lo.min(f), hi.max(f)));
    assert!(least < 0.1 && most > 0.4, "{least} {most}");
}

/// Pruning the unfused network by the magnitudes of the fused one commutes with fusing.
#[test]
fn fusing_before_and_after_gives_the_same_zeros() {
    let dense = network();
    for method in [Method::Layer, Method::Global] {
        let options = PruneOptions::new(method, 0.4);
        let first = plan(&dense, &options).unwrap();
        let later = plan(&dense.fuse().unwrap(), &options).unwrap();
        assert_eq!(first.masks, later.masks);
        let stored = plan(&dense, &PruneOptions { rank: Rank::Stored, ..options }).unwrap();
        assert_ne!(first.masks, stored.masks);
        assert_eq!(first.pruned(), stored.pruned());
    }
}

/// Specification §8: 0.299113 fused, 0.298354 unfused.
#[test]
fn sparsity_of_the_released_network() {
    let Some(dense) = released() else { return };
    let options = PruneOptions::new(Method::Layer, 0.3);
    let sparsity = |checkpoint: &Checkpoint| {
        Sparsity::of(&apply(checkpoint, &plan(checkpoint, &options).unwrap()).unwrap()).unwrap()
    };
    let fused = sparsity(&dense.fuse().unwrap());
    assert_eq!((fused.zeros, fused.parameters), (558_566, 1_867_405));
    assert_eq!(format!("{:.6} {:.6}", fused.sparsity(), sparsity(&dense).sparsity()), "0.299113 0.298354");
}

#[test]
fn excluded_convolutions_stay_and_are_listed() {
    let dense = network();
    let exclude = vec![Pattern::new("model.24"), Pattern::new("model.0")];
    let options = PruneOptions { exclude, ..PruneOptions::new(Method::Layer, 0.5) };
    let plan = plan(&dense, &options).unwrap();
    let skipped: Vec<&str> = plan.skipped.iter().map(|s| s.tensor.as_str()).collect();
    assert_eq!(
        skipped,
        ["model.0.conv.weight", "model.24.m.0.weight", "model.24.m.1.weight", "model.24.m.2.weight"]
    );
    let pruned = Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap();
    assert_eq!(pruned.layers[0].zeros, 0);
    assert_eq!(pruned.conv_zeros, plan.pruned());
}

#[test]
fn all_and_nothing() {
    let dense = network();
    let before = Sparsity::of(&dense).unwrap().conv_zeros;
    for method in [Method::Layer, Method::Global] {
        let pruned_at = |amount: f64| {
            let plan = plan(&dense, &PruneOptions::new(method, amount)).unwrap();
            (plan.pruned(), Sparsity::of(&apply(&dense, &plan).unwrap()).unwrap())
        };
        assert_eq!(pruned_at(0.0).0, 0);
        assert_eq!(pruned_at(0.0).1.conv_zeros, before);
        // Even where nearly all weights are to go, every convolution keeps one.
        let (pruned, sparsity) = pruned_at(0.9999);
        assert!(sparsity.layers.iter().all(|layer| layer.zeros < layer.weights));
        assert!((1_861_600..1_861_888).contains(&pruned), "{pruned}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let dense = network();
    let error = |options: &PruneOptions| plan(&dense, options).unwrap_err();
    for amount in [-0.1, 1.0, 1.5, f64::NAN] {
        let error = error(&PruneOptions::new(Method::Layer, amount));
        assert!(matches!(error, PruneError::Allocation { .. }), "{error}");
    }
    let with = |pattern: &str| PruneOptions {
        exclude: vec![Pattern::new(pattern)],
        ..PruneOptions::new(Method::Layer, 0.3)
    };
    assert!(error(&with("modle.24")).to_string().contains("modle.24"));
    assert!(matches!(error(&with("*")), PruneError::NothingLeft));

    let mut plan = plan(&dense, &PruneOptions::new(Method::Layer, 0.3)).unwrap();
    assert!(matches!(plan.check(&dense), Err(PruneError::NotZero { .. })));
    plan.masks[3].mask = Mask::keep_all(5);
    assert!(matches!(apply(&dense, &plan), Err(PruneError::MaskLength { mask: 5, .. })));
}
