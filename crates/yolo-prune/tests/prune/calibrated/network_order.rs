//! Whole networks: fitted ones come nearer to the dense one, and every run gives the same bits.

use std::path::{Path, PathBuf};

use rayon::ThreadPoolBuilder;
use yolo_model::Checkpoint;
use yolo_prune::{Allocation, Criterion, Method, PruneOptions, PrunePlan, Repair, Structure, apply};

use super::networks::{logits, pixels, raw_batches, relative_error, small_and_slow, tiny};
use super::{Batches, calibrated};

fn error_of(dense: &Checkpoint, options: &PruneOptions, batches: &Batches) -> f64 {
    let plan = calibrated(dense, options, batches).unwrap();
    relative_error(&logits(&apply(dense, &plan).unwrap(), batches), &logits(dense, batches))
}

#[test]
fn fitting_brings_the_logits_nearer() {
    let batches: Batches =
        vec![([4, 96, 96], pixels([4, 96, 96], 62)), ([2, 64, 128], pixels([2, 64, 128], 63))];
    let more = small_and_slow(61).into_iter().map(|(name, dense)| (name, dense, batches.clone()));
    for (name, dense, batches) in more.chain([("tiny", tiny(64), raw_batches(65))]) {
        let options = PruneOptions::new(Method::Layer, 0.5);
        let with = |repair: Repair| {
            error_of(&dense, &PruneOptions { repair: Some(repair), ..options.clone() }, &batches)
        };
        let (none, bias, fitted) = (with(Repair::None), with(Repair::Bias), with(Repair::Reconstruct));
        let chosen = error_of(&dense, &PruneOptions::new(Method::Reconstruction, 0.5), &batches);
        println!(
            "{name}: error {none:.3}, bias {bias:.3}, fitted {fitted:.3}, chosen and fitted {chosen:.3}"
        );
        assert!(bias < none, "{name}: {bias} {none}");
        assert!(2.0 * fitted < none && fitted < bias, "{name}: {fitted} {bias} {none}");
        assert!(2.0 * chosen < none, "{name}: {chosen} {none}");
    }
}

fn on_threads(count: usize, run: impl FnOnce() -> PrunePlan + Send) -> PrunePlan {
    ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(run)
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let batches: Batches =
        vec![([2, 64, 64], pixels([2, 64, 64], 67)), ([1, 96, 64], pixels([1, 96, 64], 68))];
    for (name, dense) in small_and_slow(66) {
        assert_same_on_threads(name, &dense, &batches);
    }
}

fn assert_same_on_threads(name: &str, dense: &Checkpoint, batches: &Batches) {
    for method in [Method::Reconstruction, Method::Wanda, Method::Snip, Method::Taylor, Method::Sensitivity] {
        let repair = if method == Method::Sensitivity {
            Repair::Bias
        } else {
            PruneOptions::new(method, 0.5).repair()
        };
        let options = PruneOptions { repair: Some(repair), ..PruneOptions::new(method, 0.5) };
        let run = || calibrated(dense, &options, batches).unwrap();
        let first = on_threads(1, run);
        for count in [2, 3] {
            // Masks, and every bit of every update.
            assert!(on_threads(count, run) == first, "{name}: {method:?} on {count} threads");
        }
    }
}

/// A convolution whose outputs are all zero, one with a channel of zeros, and one with constant channels.
#[test]
fn dead_channels_are_no_obstacle() {
    let mut dense = tiny(69).fuse().unwrap().into_checkpoint();
    let zero = |dense: &mut Checkpoint, name: &str, from: usize| {
        for what in ["weight", "bias"] {
            let tensor = dense.weights.get_mut(&format!("{name}.conv.{what}")).unwrap().f32s_mut().unwrap();
            let start = tensor.len() / 16 * from;
            tensor[start..].fill(0.0);
        }
    };
    zero(&mut dense, "model.2.cv1", 0);
    zero(&mut dense, "model.1", 13);
    dense.weights.get_mut("model.5.conv.weight").unwrap().f32s_mut().unwrap().fill(0.0);
    let batches = raw_batches(70);
    let structures =
        [Structure::Unstructured, Structure::Block { out: 4, inp: 1 }, Structure::NofM { n: 2, m: 4 }];
    for structure in structures {
        for criterion in [Criterion::Magnitude, Criterion::Wanda, Criterion::Snip, Criterion::Reconstruction]
        {
            for repair in [Repair::Bias, Repair::Reconstruct] {
                let allocation = match criterion {
                    Criterion::Magnitude => Allocation::Sensitivity,
                    _ => Allocation::Layer,
                };
                let options = PruneOptions {
                    criterion: Some(criterion),
                    allocation: Some(allocation),
                    structure,
                    repair: Some(repair),
                    ..PruneOptions::new(Method::Layer, 0.5)
                };
                let plan = calibrated(&dense, &options, &batches).unwrap();
                let again = calibrated(&dense, &options, &batches).unwrap();
                assert!(plan == again, "{criterion:?} {structure} {repair:?}");
                let pruned = apply(&dense, &plan).unwrap();
                for (name, tensor) in pruned.weights.iter() {
                    let Ok(values) = tensor.f32s() else { continue };
                    assert!(values.iter().all(|value| value.is_finite()), "{name}");
                }
                let error = relative_error(&logits(&pruned, &batches), &logits(&dense, &batches));
                assert!(error < 2.0, "{criterion:?} {structure} {repair:?}: {error}");
            }
        }
    }
}

/// Real weights, real images: half of the weights, and the logits are less than half as far from the dense network's
/// as without fitting.
#[test]
fn a_released_network_keeps_its_logits() {
    let weights = shared().join("weights/yolov5n.pt");
    if !weights.is_file() {
        eprintln!("skipped: {} is not here", weights.display());
        return;
    }
    let dense = Checkpoint::load(&weights).unwrap();
    let batches = raw_batches(131);
    let fitted = PruneOptions::new(Method::Reconstruction, 0.5);
    let plain =
        PruneOptions { repair: Some(Repair::None), criterion: Some(Criterion::Magnitude), ..fitted.clone() };
    let [with, without] = [fitted, plain].map(|options| error_of(&dense, &options, &batches));
    assert!(with < 0.5 * without, "{with} and {without}");
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared")
}
