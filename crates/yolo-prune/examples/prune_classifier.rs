//! Prunes a network that is not a detector: a small classifier, put together by hand, with random weights. Half of its
//! weights are removed by magnitude; then channels are removed until half of its FLOPs are left.
//!
//!     cargo run -p yolo-prune --example prune_classifier
//!
//! Nothing here needs images, so the feature `nn` is off and no tensor library is compiled.

use std::error::Error;

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::program::{Lowering, Program, ProgramLayout, ProgramModel};
use yolo_model::{Layout, Model};
use yolo_prune::channels::{ChannelOptions, ChannelScores, Quantity, Size, Target, remove, select};
use yolo_prune::{Method, PruneOptions, Sparsity, apply, nonzero_gflops, plan};

/// Height and width of the images.
const IMAGE: [usize; 2] = [32, 32];
const CLASSES: usize = 10;

/// Ten classes for images of 32×32: three convolutions around a shortcut, one that sees the whole map, and the classes.
fn classifier() -> Result<Program, Box<dyn Error>> {
    let mut lowering = Lowering::new(3);
    let stem = lowering.conv("stem", &ConvSpec::new(3, 16, 3, 2), 0)?; // 16×16
    let stem = lowering.max_pool(3, stem)?;
    let down = lowering.conv("body.down", &ConvSpec::new(16, 32, 3, 2), stem)?; // 8×8
    let same = lowering.conv("body.same", &ConvSpec::new(32, 32, 3, 1), down)?;
    let body = lowering.add([same, down])?;
    let body = lowering.max_pool(3, body)?;
    let whole = ConvSpec { kernel: [8; 2], padding: [0; 2], ..ConvSpec::new(32, 64, 1, 1) };
    let whole = lowering.conv("whole", &whole, body)?; // 1×1
    let classes = ConvSpec { activation: Activation::Identity, ..ConvSpec::new(64, CLASSES, 1, 1) };
    lowering.output_conv("classes", &classes, whole)?;
    Ok(lowering.finish())
}

fn main() -> Result<(), Box<dyn Error>> {
    let layout = ProgramLayout::new(classifier()?, IMAGE);
    let dense = ProgramModel::random(layout, &mut StdRng::seed_from_u64(0))?;
    without_weights(&dense)?;
    without_channels(&dense)
}

/// Half of all convolution weights, the smallest of the whole network.
fn without_weights(dense: &ProgramModel) -> Result<(), Box<dyn Error>> {
    let plan = plan(dense, &PruneOptions::new(Method::Global, 0.5))?;
    let pruned = apply(dense, &plan)?;
    let sparsity = Sparsity::of(&pruned)?;
    if sparsity.conv_zeros != plan.pruned() {
        return Err(format!("{} weights are zero, not {}", sparsity.conv_zeros, plan.pruned()).into());
    }
    println!("weights: {} of {} are zero, as planned", sparsity.conv_zeros, sparsity.conv_weights);
    for layer in &sparsity.layers {
        println!("  {:<10}{:>7} weights{:>7.1} % zero", layer.name, layer.weights, 100.0 * layer.fraction());
    }
    let [before, after] = [dense.layout.gflops(), nonzero_gflops(&dense.layout, &sparsity)];
    println!("  {:.3} of {:.3} MFLOPs are left without multiplications by zero", 1e3 * after, 1e3 * before);
    Ok(())
}

/// Channels until half of the FLOPs are left: a smaller dense network.
fn without_channels(dense: &ProgramModel) -> Result<(), Box<dyn Error>> {
    let scores = ChannelScores::l1(dense, false)?.normalised();
    let options = ChannelOptions { round_to: 4, ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.5)) };
    let plan = select(&dense.layout, &scores, &options, None)?;
    let smaller = remove(dense, &plan)?;
    let [before, planned, reached] =
        [Size::of(&dense.layout, None), plan.predict(&dense.layout)?, Size::of(&smaller.layout, None)];
    if planned != reached {
        return Err(format!("the network is {reached:?}, not {planned:?}").into());
    }
    println!("channels: {} of {} are left, as planned", reached.channels, before.channels);
    for group in &plan.groups {
        println!("  {:<10}{:>7} of {} channels", group.group, group.kept.len(), group.width);
    }
    println!("  {} of {} parameters", reached.parameters, before.parameters);
    println!("  {:.3} of {:.3} MFLOPs", 1e3 * reached.gflops, 1e3 * before.gflops);
    smaller.check_tensors()?;
    Ok(())
}
