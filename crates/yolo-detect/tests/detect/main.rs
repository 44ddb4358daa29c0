//! Detectors on noise: what they refuse, ensembles, augmentation, and executors against each other.
#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_data::image::RgbImage;
use yolo_detect::{
    Batch, CompiledExecutor, DetectError, DetectOptions, Detector, Images, Options, Output, RunOptions,
};
use yolo_model::{Architecture, Checkpoint, FusedCheckpoint, Predictions};
use yolo_runtime::CompiledNetwork;

/// Height and width of the images.
const SIZE: [usize; 2] = [64, 96];
const PLAIN: RunOptions = RunOptions { score_threshold: -1.0, augment: false, keep_logits: false };

fn network(num_classes: usize, seed: u64) -> Checkpoint {
    let architecture = Architecture::variant("yolov5n", Some(num_classes)).unwrap();
    Checkpoint::random(architecture, &mut StdRng::seed_from_u64(seed)).unwrap()
}

fn compiled(checkpoint: &Checkpoint) -> CompiledNetwork {
    let options = Options { threads: 1, ..Options::default() };
    CompiledNetwork::new(checkpoint.fuse().unwrap(), options, None).unwrap()
}

fn detector(checkpoint: &Checkpoint) -> Detector {
    Detector::new(CompiledExecutor::new(vec![compiled(checkpoint)])).unwrap()
}

fn pixels(n: usize) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(7);
    (0..n * 3 * SIZE[0] * SIZE[1]).map(|_| rng.random()).collect()
}

fn run(detector: &Detector, options: RunOptions) -> Output {
    let pixels = pixels(2);
    detector.prepare(SIZE, options.augment).unwrap();
    let batch = detector.upload(Images::new(&pixels, SIZE).unwrap()).unwrap();
    batch.wait().unwrap();
    batch.run(options).unwrap()
}

fn n_rows(predictions: &[Predictions]) -> Vec<usize> {
    predictions.iter().map(Predictions::len).collect()
}

#[test]
fn ensembles_join_the_rows_of_their_networks() {
    let (one, other) = (network(3, 1), network(3, 2));
    let both = Detector::new(CompiledExecutor::new(vec![compiled(&one), compiled(&other)])).unwrap();
    assert!(!both.overlaps());
    for augment in [false, true] {
        let options = RunOptions { augment, ..PLAIN };
        let [one, other] = [&one, &other].map(|network| run(&detector(network), options).predictions);
        let joined = run(&both, options).predictions;
        for (image, rows) in joined.iter().enumerate() {
            let mut expected = one[image].clone();
            expected.append(other[image].clone());
            assert_eq!(rows, &expected);
        }
    }
}

#[test]
fn augmentation_adds_rows_and_keeps_the_logits_of_the_plain_image() {
    let detector = detector(&network(3, 1));
    let plain = run(&detector, RunOptions { keep_logits: true, ..PLAIN });
    let augmented = run(&detector, RunOptions { keep_logits: true, augment: true, ..PLAIN });
    // Per cell three anchors: levels of 96, 24 and 6 cells. The plain pass loses the coarsest level, the second
    // one is 64×96 again, the third one as well and loses the finest.
    assert_eq!(n_rows(&plain.predictions), [3 * (96 + 24 + 6); 2]);
    assert_eq!(n_rows(&augmented.predictions), [3 * (96 + 24) + 3 * (96 + 24 + 6) + 3 * (24 + 6); 2]);
    let first_pass = |output: &Output| -> Vec<_> {
        output.predictions[0]
            .rows()
            .take(3 * (96 + 24))
            .map(|(bbox, scores)| (bbox, scores.to_vec()))
            .collect()
    };
    assert_eq!(first_pass(&augmented), first_pass(&plain));
    let [plain, augmented] = [plain, augmented].map(|output| output.logits.unwrap().into_parts());
    assert_eq!(plain, augmented);
    assert_eq!(plain.len(), 2, "one part per image");
}

#[test]
fn launched_batches_give_the_rows_of_batches_that_run() {
    let detector = detector(&network(3, 1));
    for augment in [false, true] {
        let options = RunOptions { augment, ..PLAIN };
        let pixels = pixels(2);
        let batch: Batch = detector.upload(Images::new(&pixels, SIZE).unwrap()).unwrap();
        let launched = batch.launch(options).unwrap();
        drop(batch);
        let computed = launched.read().unwrap();
        let output = std::thread::scope(|scope| scope.spawn(|| computed.decode()).join().unwrap());
        assert_eq!(output.predictions, run(&detector, options).predictions);
    }
}

#[test]
fn executors_that_make_no_detector_are_errors() {
    let different = CompiledExecutor::new(vec![compiled(&network(3, 1)), compiled(&network(4, 1))]);
    let error = Detector::new(different).err().unwrap();
    assert!(matches!(error, DetectError::EnsembleClasses { first: 3, other: 4 }), "{error}");
    assert!(matches!(Detector::new(CompiledExecutor::new(Vec::new())), Err(DetectError::NoNetwork)));
}

#[test]
fn images_that_do_not_fit_are_errors() {
    let detector = detector(&network(3, 1));
    let error = detector.detect(&RgbImage::filled(8, 8, [9; 3]), &DetectOptions::new((640, 650)));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("650 is not a multiple of the largest stride 32"), "{error}");
    let pixels = vec![0; 3 * 64 * 50];
    let odd = detector.upload(Images::new(&pixels, [64, 50]).unwrap()).err().unwrap();
    assert!(matches!(odd, DetectError::ImageSize { size: 50, stride: 32 }), "{odd}");
    for size in [[64, 96], [0, 32], [64, 51]] {
        assert!(matches!(Images::new(&pixels, size), Err(DetectError::Pixels { .. })), "{size:?}");
    }
    assert!(Images::new(&[], SIZE).is_err());
}

#[test]
fn damaged_weights_are_an_error() {
    let mut broken = network(3, 1);
    let bias = broken.weights.iter_mut().find(|(name, _)| name.ends_with("m.0.bias")).unwrap();
    bias.1.f32s_mut().unwrap().fill(f32::NAN);
    let found = detector(&broken).detect(&RgbImage::filled(96, 64, [9; 3]), &DetectOptions::new((64, 96)));
    assert!(matches!(found, Err(DetectError::NotFinite)));
}

#[test]
fn boxes_lie_in_the_image() {
    let image = RgbImage { width: 50, height: 40, pixels: pixels(1)[..3 * 50 * 40].to_vec() };
    let mut options = DetectOptions::new((64, 96));
    options.nms.score_threshold = 0.0;
    let fused: FusedCheckpoint = network(3, 1).into_fused().unwrap();
    let detector = Detector::compiled(fused, Options { threads: 1, ..Options::default() }).unwrap();
    let found = detector.detect(&image, &options).unwrap();
    assert_eq!(found.speed.shape, [1, 3, 64, 96]);
    assert!(!found.boxes.is_empty());
    for object in &found.boxes {
        assert!((0.0..=50.0).contains(&object.bbox.x1) && (0.0..=50.0).contains(&object.bbox.x2));
        assert!((0.0..=40.0).contains(&object.bbox.y1) && (0.0..=40.0).contains(&object.bbox.y2));
    }
    options.classes = vec![1];
    assert!(detector.detect(&image, &options).unwrap().boxes.iter().all(|object| object.class == 1));
}

/// Burn adds up in another order than the compiled network; its threads do not change the order.
#[cfg(feature = "nn")]
#[test]
fn devices_give_the_rows_of_the_processor() {
    use burn::tensor::Device;

    let (network, device) = (network(3, 1), Device::flex());
    let on_device = |threads| Detector::on_device(&network.fuse().unwrap(), &device, threads).unwrap();
    assert!(on_device(1).overlaps() && !on_device(2).overlaps());
    for augment in [false, true] {
        let options = RunOptions { augment, ..PLAIN };
        let rows = run(&on_device(1), options).predictions;
        assert_eq!(rows, run(&on_device(2), options).predictions);
        let expected = run(&detector(&network), options).predictions;
        for (rows, expected) in rows.iter().zip(&expected) {
            assert_eq!(rows.len(), expected.len());
            let numbers = |rows: &Predictions| -> Vec<f32> {
                rows.rows().flat_map(|(b, scores)| [&[b.cx, b.cy, b.w, b.h], scores].concat()).collect()
            };
            let pairs = numbers(rows).into_iter().zip(numbers(expected));
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{worst} pixels");
        }
    }
}
