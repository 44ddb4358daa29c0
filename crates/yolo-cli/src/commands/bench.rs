//! `bench`: how long networks take, side by side.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use burn::tensor::Device;
use yolo_measure::{Contender, MeasureError, WARM_UP, explain, take_turns};
use yolo_report::results::SCHEMA;
use yolo_report::timings::{Timing, lines};
use yolo_runtime::{Options, Selection, Team};

use crate::args::{BackendArg, BenchArgs};
use crate::console::{Output, progress_bar};
use crate::device;
use crate::image_size::fitting;
use crate::interrupt;
use crate::peers::about_peer;
use crate::resolve::Weights;

/// Measures every network on every back end at every batch size.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let output = Output::new(args.json);
    let image = match args.imgsz[..] {
        [height, width] => [height as usize, width as usize],
        _ => [args.imgsz[0] as usize; 2],
    };
    let team = Arc::new(Team::new(args.threads.map_or(0, |n| n as usize))?);
    let options = Options {
        isa: args.isa,
        selection: Selection::Measure,
        team: Some(Arc::clone(&team)),
        ..Options::default()
    };
    let mut contenders = peers(args, image, &output)?;
    contenders.extend(networks(args, image, &options)?);
    let isa = options.isa.unwrap_or_else(yolo_runtime::Isa::detect);
    output.line(format!(
        "{}×{} pixels, {} threads, {isa}, {} runs each, taking turns",
        image[0],
        image[1],
        team.threads(),
        args.repetitions
    ))?;
    let figures = measure(&mut contenders, args.repetitions as usize)?;
    for line in lines(&figures) {
        output.line(line)?;
    }
    let mut layers = Vec::new();
    for contender in &contenders {
        if let Some(line) = explain::memory_line(contender) {
            output.line(line)?;
        }
        if args.explain {
            for line in explain::lines(contender) {
                output.line(line)?;
            }
        }
        layers.push(explain::json(contender));
    }
    output.json(&serde_json::json!({
        "schema": SCHEMA,
        "imgsz": image,
        "threads": team.threads(),
        "isa": isa.name(),
        "repetitions": args.repetitions,
        "networks": figures,
        "runtime": layers.into_iter().flatten().collect::<Vec<_>>(),
    }))
}

/// The programs that take turns, each with the first network, compared with ours where they can be.
fn peers(args: &BenchArgs, image: [usize; 2], output: &Output) -> Result<Vec<Contender>> {
    if args.peer.is_empty() {
        return Ok(Vec::new());
    }
    let weights = load(args, &args.weights[0], image)?;
    let start = |command: &String| -> Result<Contender> {
        let (name, network) = (short_name(&weights.path), &weights.checkpoint);
        let peer = Contender::peer(command, &name, network, args.batch_size[0] as usize, image);
        let (peer, agreement) = peer.map_err(|error| match error {
            MeasureError::NoPeer | MeasureError::Peer { .. } => {
                about_peer(error, "--peer is empty; it takes a program with its arguments")
            }
            other => Error::from(other).context(weights.path.display().to_string()),
        })?;
        if let Some(agreement) = agreement {
            output.line(format!(
                "{} computes what we compute: boxes differ by {:.1e} pixels at most, scores by {:.1e}",
                peer.backend, agreement.pixels, agreement.score
            ))?;
        }
        Ok(peer)
    };
    args.peer.iter().map(start).collect()
}

/// Every network on every back end at every batch size.
fn networks(args: &BenchArgs, image: [usize; 2], options: &Options) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for path in &args.weights {
        let weights = load(args, path, image)?;
        for &backend in &args.backends {
            for batch in args.batch_size.iter().map(|batch| *batch as usize) {
                let (name, network) = (short_name(&weights.path), &weights.checkpoint);
                let on = |device: &str, opened: Device| {
                    Contender::on_device(&name, network, (device, &opened), batch, image)
                };
                let contender = match backend {
                    BackendArg::Runtime => Contender::compiled(&name, network, batch, image, options),
                    BackendArg::Flex => on("flex", device::parse("flex")?),
                    BackendArg::Tch => on("tch", device::parse("tch")?),
                };
                contenders.push(contender.with_context(|| weights.path.display().to_string())?);
            }
        }
    }
    Ok(contenders)
}

/// A checkpoint whose stride divides both sides of the images.
fn load(args: &BenchArgs, path: &Path, image: [usize; 2]) -> Result<Weights> {
    let weights = Weights::load(path, args.offline)?.answering(args.branches.end2end)?;
    let stride = weights.checkpoint.architecture.max_stride();
    if let Some(side) = image.iter().find(|side| !side.is_multiple_of(stride)) {
        let file = weights.path.display();
        bail!("{file}: --imgsz {side} is not a multiple of its stride; {} is", fitting(*side, stride));
    }
    Ok(weights)
}

/// Times all contenders in turns.
fn measure(contenders: &mut [Contender], repetitions: usize) -> Result<Vec<Timing>> {
    let bar = progress_bar("Timing", (WARM_UP + repetitions) as u64);
    let timings = take_turns(contenders, repetitions, &mut |rounds| {
        bar.set_position(rounds as u64);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    timings?.context("interrupted")
}

/// How a file is called in tables.
fn short_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
