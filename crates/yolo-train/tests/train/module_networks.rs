//! Pruned networks of every module of YOLOv5 learn: two steps reduce the loss, and zeros stay.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::Checkpoint;
use yolo_nn::Yolo;
use yolo_prune::{Method, PruneOptions, apply, plan};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::{DetectionLoss, Loss};
use yolo_train::masks::Masks;
use yolo_train::optimizer::{Optimizer, PerParameter, Rule, clip};
use yolo_train::schedule::Rates;

use crate::shared;

const IMAGES: usize = 2;
/// Small enough to go downhill on every network.
const RATES: Rates = Rates { bias_lr: 1e-4, lr: 1e-4, momentum: 0.9, accumulate: 1 };

struct Batch {
    images: Vec<f32>,
    shape: [usize; 4],
    targets: Vec<Target>,
}

impl Batch {
    /// Noise, with three objects in each image, of sides that all levels of the network can have.
    fn new(checkpoint: &Checkpoint) -> Self {
        let architecture = &checkpoint.architecture;
        let side = (2 * architecture.max_stride()).max(64);
        let shape = [IMAGES, architecture.in_channels, side, side];
        let mut rng = StdRng::seed_from_u64(5);
        let images = (0..shape.iter().product()).map(|_| rng.random::<f32>()).collect();
        let classes = architecture.head().num_classes() as u32;
        let target = |index: usize| Target {
            image: index / 3,
            class: index as u32 % classes,
            bbox_norm: Cxcywh {
                cx: 0.3 + 0.1 * index as f32,
                cy: 0.4,
                w: 0.1 + 0.1 * (index % 3) as f32,
                h: 0.3,
            },
        };
        Self { images, shape, targets: (0..3 * IMAGES).map(target).collect() }
    }

    fn loss(&self, checkpoint: &Checkpoint) -> (Yolo, Loss) {
        let device = Device::flex().autodiff();
        let model = Yolo::from_checkpoint(checkpoint, &device).unwrap();
        let images = Tensor::<4>::from_data(TensorData::new(self.images.clone(), self.shape), &device);
        let head = model.architecture().head();
        let options = Hyperparameters::default().loss_options(head, self.shape[2], 0.0, false);
        let loss = DetectionLoss::new(head, options).forward(&model.forward(images), &self.targets).unwrap();
        (model, loss)
    }
}

/// Losses before the first, before the second and after the second step.
fn train(name: &str, dense: &Checkpoint) -> [f64; 3] {
    let plan = plan(dense, &PruneOptions::new(Method::Layer, 0.5)).unwrap();
    let masks = Masks::of(&plan);
    let mut pruned = apply(dense, &plan).unwrap();
    let before = pruned.weights.clone();
    let batch = Batch::new(&pruned);
    let mut optimizer = Optimizer::new(Rule::Sgd, 0.0);
    let losses = std::array::from_fn(|step| {
        let (model, loss) = batch.loss(&pruned);
        if step < 2 {
            let gradients = model.gradients(&loss.total.backward()).unwrap();
            let mut gradients: PerParameter = gradients.into_iter().collect();
            masks.apply_to(&mut gradients);
            clip(&mut gradients);
            optimizer.step(&mut pruned.weights, &gradients, &RATES).unwrap();
        }
        loss.terms.total()
    });
    masks.check(&pruned.weights, "the weights").unwrap_or_else(|error| panic!("{name}: {error}"));
    // Kernels are trained, those of transposed convolutions included.
    let kernels = before.iter().filter(|(_, tensor)| tensor.shape.len() == 4);
    let still: Vec<&str> = kernels
        .filter(|(name, tensor)| pruned.weights.get(name) == Some(*tensor))
        .map(|(name, _)| name)
        .collect();
    assert!(still.is_empty(), "{name}: nothing changed in {still:?}");
    losses
}

#[test]
fn two_steps_reduce_the_loss_and_keep_zeros() {
    let Some(folder) = shared("reference/yolov5-modules") else { return };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pt"));
    // A state dict needs the yaml beside it.
    paths.retain(|path| !path.to_string_lossy().ends_with("-state-dict.pt"));
    paths.sort();
    assert!(paths.len() >= 35, "{paths:?}");
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let dense = Checkpoint::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [first, second, third] = train(name, &dense);
        assert!(first > second && first > third && third > 0.0, "{name}: {first}, {second}, {third}");
    }
}
