//! The trained network that other tests start from is what its training makes.

use std::path::Path;

use yolo_model::Checkpoint;

use crate::training_support::{TRAIN_TINY, squares};

/// The training that `tests/fixtures/trained.safetensors` is the result of.
const TEACH: &str = "--epochs 25 --nominal-batch-size 8 --noval --noautoanchor --project teach";
/// Set to write the fixture instead of comparing with it.
const WRITE: &str = "YOLO_WRITE_FIXTURES";
/// Largest difference of a weight after 25 epochs on another processor, whose sums are rounded in another order.
const OTHER_PROCESSOR: f32 = 0.05;

#[test]
fn the_fixture_is_what_its_training_makes() {
    let case = squares();
    case.run(&format!("{TRAIN_TINY} {TEACH}")).ok();
    let made = case.read("teach/exp/weights/last.safetensors");
    let fixture = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/trained.safetensors"));
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(fixture, made).unwrap();
    }
    if made == std::fs::read(fixture).unwrap() {
        return;
    }
    eprintln!("other bytes than the fixture's, as on another processor");
    let found = Checkpoint::load(&case.path("teach/exp/weights/last.safetensors")).unwrap();
    let expected = Checkpoint::load(fixture).unwrap();
    assert_eq!(found.architecture, expected.architecture);
    for (name, tensor) in expected.weights.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        let (found, expected) = (found.weights.f32s(name).unwrap(), tensor.f32s().unwrap());
        let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < OTHER_PROCESSOR, "{name} differs by up to {difference}");
    }
}
