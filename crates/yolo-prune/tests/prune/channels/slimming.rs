//! Slimming: the gradient, and the rule for its strength on a simulated training.

use std::collections::HashMap;

use yolo_model::Checkpoint;
use yolo_prune::Pattern;
use yolo_prune::channels::{Coupling, SMALL_SCALE, SlimEpoch, Slimming, Strength};

use super::networks::{random, tiny_architecture};

type Scales = HashMap<String, Vec<f32>>;

fn scales(checkpoint: &Checkpoint) -> Scales {
    let named = checkpoint.weights.iter().filter(|(name, _)| name.ends_with(".bn.weight"));
    named.map(|(name, tensor)| (name.to_owned(), tensor.f32s().unwrap().to_vec())).collect()
}

#[test]
fn the_gradient_pulls_every_scale_but_the_spared_to_zero() {
    let mut dense = random(tiny_architecture(), 41);
    let gammas = dense.weights.get_mut("model.1.bn.weight").unwrap().f32s_mut().unwrap();
    (gammas[3], gammas[4]) = (-1.0, 0.0);
    let slimming = Slimming::new(&dense, 0.75, &[Pattern::new("model.0")]).unwrap();
    let scales = scales(&dense);
    let gradients: Scales = slimming.gradients(&scales, 0.1).unwrap().into_iter().collect();
    let coupling = Coupling::of(&dense.architecture);
    assert!(!gradients.contains_key("model.0.bn.weight"));
    assert_eq!(gradients.len(), scales.len() - 1);
    for group in coupling.groups.iter().filter(|group| group.name != "model.0") {
        let spared = group.channels / 4;
        let mut first = None;
        for conv in &group.producers {
            let (gamma, gradient) = (&scales[&conv.bn("weight")], &gradients[&conv.bn("weight")]);
            let mean = gamma.iter().map(|g| g.abs()).sum::<f32>() / gamma.len() as f32;
            let pulled: Vec<usize> = (0..group.channels).filter(|&c| gradient[c] != 0.0).collect();
            for &channel in &pulled {
                let expected = 0.1 * mean * gamma[channel].signum();
                assert!((gradient[channel] - expected).abs() < 1e-6, "{}", conv.name);
            }
            // A scale of exactly zero is where it should be.
            let zeros = gamma.iter().filter(|gamma| **gamma == 0.0).count();
            assert_eq!(pulled.len(), group.channels - spared - zeros, "{}", conv.name);
            // All producers of a group spare the same channels.
            assert_eq!(*first.get_or_insert(pulled.clone()), pulled);
            if let [_] = group.producers[..] {
                let least_spared = (0..group.channels).filter(|c| !pulled.contains(c) && gamma[*c] != 0.0);
                let least_spared = least_spared.map(|c| gamma[c].abs()).fold(f32::INFINITY, f32::min);
                assert!(pulled.iter().all(|&c| gamma[c].abs() <= least_spared), "{}", conv.name);
            }
        }
    }
}

#[test]
fn progress_counts_channels_of_all_groups() {
    let dense = random(tiny_architecture(), 42);
    let slimming = Slimming::new(&dense, 1.0, &[]).unwrap();
    let mut scales = scales(&dense);
    assert_eq!(slimming.progress(&scales, 0.3).unwrap().small, 0.0);
    let total: usize = Coupling::of(&dense.architecture).groups.iter().map(|group| group.channels).sum();
    // Of a group with two producers both have to be small.
    scales.get_mut("model.5.bn.weight").unwrap()[..4].fill(0.001);
    scales.get_mut("model.2.cv1.bn.weight").unwrap()[..4].fill(0.001);
    let progress = slimming.progress(&scales, 4.0 / total as f64).unwrap();
    assert_eq!(progress.small, 4.0 / total as f64);
    assert!(progress.quantile < SMALL_SCALE);
    assert!(slimming.progress(&scales, 5.0 / total as f64).unwrap().quantile > 0.2);
    assert!(slimming.progress(&scales, 1.0).is_err());
    scales.remove("model.5.bn.weight");
    let error = slimming.progress(&scales, 0.5).unwrap_err().to_string();
    assert!(error.starts_with("model.5.bn.weight: its scales are missing"), "{error}");
}

/// A training in miniature: the loss holds every scale at its start by a spring, stiff for the `stiff` part of the
/// channels and weak for the others; the fitness falls with the tension of the stiff ones.
struct Training {
    slimming: Slimming,
    start: Scales,
    scales: Scales,
    stiffness: [f32; 2],
}

const STEPS: usize = 50;
const RATE: f32 = 0.01;

impl Training {
    fn new(stiffness: [f32; 2]) -> Self {
        let dense = random(tiny_architecture(), 43);
        let start = scales(&dense);
        Self { slimming: Slimming::new(&dense, 1.0, &[]).unwrap(), scales: start.clone(), start, stiffness }
    }

    fn is_stiff(channel: usize) -> bool {
        channel.is_multiple_of(2)
    }

    fn epoch(&mut self, strength: f64) {
        for _ in 0..STEPS {
            for (name, gradient) in self.slimming.gradients(&self.scales, strength).unwrap() {
                let start = &self.start[&name];
                for (channel, gamma) in self.scales.get_mut(&name).unwrap().iter_mut().enumerate() {
                    let stiffness = self.stiffness[usize::from(!Self::is_stiff(channel))];
                    *gamma -= RATE * (gradient[channel] + stiffness * (*gamma - start[channel]));
                }
            }
        }
    }

    /// 1 at the start, 0 where all stiff scales are gone.
    fn fitness(&self) -> f64 {
        let mut left = Vec::new();
        for (name, start) in &self.start {
            let stiff = (0..start.len()).filter(|&channel| Self::is_stiff(channel));
            left.extend(stiff.map(|c| f64::from(self.scales[name][c] / start[c])));
        }
        left.iter().sum::<f64>() / left.len() as f64
    }

    /// Trains with the strength of the rule; gives the strengths, and the fitness behind every epoch.
    fn run(&mut self, fraction: f64, epochs: usize, tolerance: f64) -> (Vec<f64>, Vec<f64>) {
        let mut strength = Strength::new(tolerance, Some(self.fitness())).unwrap();
        let (mut strengths, mut fitnesses) = (Vec::new(), Vec::new());
        for epoch in 0..epochs {
            let per_epoch = f64::from(RATE) * STEPS as f64;
            let value = strength.update(&SlimEpoch {
                progress: self.slimming.progress(&self.scales, fraction).unwrap(),
                steps_done: if epoch == 0 { 0.0 } else { per_epoch },
                steps_left: per_epoch * (epochs - epoch) as f64,
                fitness: Some(self.fitness()),
            });
            self.epoch(value);
            strengths.push(value);
            fitnesses.push(self.fitness());
        }
        (strengths, fitnesses)
    }

    fn small(&self) -> f64 {
        self.slimming.progress(&self.scales, 0.5).unwrap().small
    }
}

/// Whatever the loss does, weak channels are gone at the end and stiff ones are not. No strength was given.
#[test]
fn the_rule_finds_the_strength_that_reaches_the_fraction() {
    for weak in [0.0, 0.02, 0.1, 0.3] {
        for fraction in [0.2, 0.35] {
            for epochs in [10, 30] {
                let mut training = Training::new([2.0, weak]);
                let (strengths, fitnesses) = training.run(fraction, epochs, 0.5);
                let small = training.small();
                let fitness = fitnesses[epochs - 1];
                let (first, last) = (strengths[0], strengths[epochs - 1]);
                println!(
                    "weak {weak}, {fraction} in {epochs} epochs: {small:.3} small, fitness {fitness:.2}, strength {first:.3} to {last:.3}"
                );
                assert!((small - fraction).abs() < 0.03, "{weak} {fraction} {epochs}: {small}");
                assert!(fitness > 0.5, "{weak} {fraction} {epochs}: {fitness}");
            }
        }
    }
}

/// Asked for more than the network has to spare, the strength gives way before the fitness is gone.
#[test]
fn the_strength_falls_when_the_fitness_falls() {
    let run = |tolerance| {
        let mut training = Training::new([0.5, 0.1]);
        let (_, fitnesses) = training.run(0.9, 40, tolerance);
        (fitnesses.into_iter().fold(f64::INFINITY, f64::min), training.small())
    };
    let ((careful, some), (reckless, most)) = (run(0.2), run(0.99));
    println!(
        "fitness at its lowest: {careful:.2} with tolerance 0.2 ({some:.2} small), {reckless:.2} without ({most:.2})"
    );
    assert!(careful > 0.6 && reckless < 0.3, "{careful} {reckless}");
    assert!(some > 0.2 && most > 0.7, "{some} {most}");
}

#[test]
fn a_rule_read_from_a_file_continues() {
    let mut rule = Strength::new(0.1, None).unwrap();
    let progress =
        Training::new([1.0, 0.1]).slimming.progress(&Training::new([1.0, 0.1]).scales, 0.4).unwrap();
    let epoch = SlimEpoch { progress, steps_done: 0.0, steps_left: 2.0, fitness: Some(0.5) };
    assert_eq!(rule.update(&epoch), (progress.quantile - SMALL_SCALE) / 2.0);
    let mut copy: Strength = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
    assert_eq!(copy, rule);
    // The same quantile an epoch later: the loss held against all of it, and the fitness broke.
    let gap = progress.quantile - SMALL_SCALE;
    let epoch = SlimEpoch { steps_done: 0.5, steps_left: 1.5, fitness: Some(0.3), ..epoch };
    let expected = 0.5 * (gap / 2.0 + gap / 1.5);
    assert!((rule.update(&epoch) - expected).abs() < 1e-12);
    assert_eq!(copy.update(&epoch), rule.value());
    // Nothing is left to do.
    assert_eq!(rule.update(&SlimEpoch { steps_left: 0.0, ..epoch }), 0.0);
}

#[test]
fn invalid_options_are_refused() {
    let dense = random(tiny_architecture(), 44);
    let message = |checkpoint: &Checkpoint, max_fraction, pattern: &str| {
        Slimming::new(checkpoint, max_fraction, &[Pattern::new(pattern)]).unwrap_err().to_string()
    };
    assert!(message(&dense.fuse().unwrap(), 0.5, "model.0").contains("before fusing"));
    assert!(message(&dense, 1.1, "model.0").contains("between 0 and 1, not 1.1"));
    assert!(message(&dense, 0.5, "modle.0").contains("matches no convolution"));
    assert!(message(&dense, 0.5, "*").contains("no group of channels is left"));
    let mut dead = dense;
    dead.weights.get_mut("model.3.bn.weight").unwrap().f32s_mut().unwrap().fill(0.0);
    assert!(message(&dead, 0.5, "model.0").starts_with("model.3.bn.weight: the mean of its magnitudes is 0"));
    assert!(Strength::new(1.0, None).is_err());
}
