//! `bench`: how long networks take, side by side.

mod agreement;
mod contender;
mod explain;
mod peer;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use yolo_report::format::bytes;
use yolo_report::results::SCHEMA;
use yolo_report::timings::{Timing, lines};
use yolo_runtime::{Options, Selection, Team};

use self::contender::Contender;
use crate::args::{BackendArg, BenchArgs};
use crate::console::{Output, progress_bar};
use crate::image_size::fitting;
use crate::interrupt;
use crate::resolve::Weights;

/// Runs before the clock counts: caches fill, pages are mapped, clocks rise.
const WARM_UP: usize = 3;

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
        if let Some(line) = memory_line(contender) {
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
        let (peer, agreement) = Contender::peer(command, &weights, args.batch_size[0] as usize, image)?;
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
                contenders.push(match backend {
                    BackendArg::Runtime => Contender::compiled(&weights, batch, image, options)?,
                    BackendArg::Flex | BackendArg::Tch => {
                        Contender::on_device(&weights, backend, batch, image)?
                    }
                });
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
    let mut times = vec![Vec::with_capacity(repetitions); contenders.len()];
    let bar = progress_bar("Timing", (WARM_UP + repetitions) as u64);
    for repetition in 0..WARM_UP + repetitions {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let ms = contender.run()?;
            if repetition >= WARM_UP {
                times.push(ms / contender.batch as f64);
            }
            if interrupt::requested() {
                bar.finish_and_clear();
                bail!("interrupted");
            }
        }
        bar.set_position(repetition as u64 + 1);
    }
    bar.finish_and_clear();
    let mut first = None;
    let figures = contenders.iter().zip(&mut times).map(|(contender, times)| {
        times.sort_by(f64::total_cmp);
        let quantile = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize];
        let median = quantile(0.5);
        Timing {
            weights: contender.name.clone(),
            backend: contender.backend.clone(),
            batch_size: contender.batch,
            ms_per_image: median,
            ms_fast: quantile(0.1),
            ms_slow: quantile(0.9),
            gflops_per_second: contender.gflops / median * 1e3,
            ratio: median / *first.get_or_insert(median),
        }
    });
    Ok(figures.collect())
}

fn memory_line(contender: &Contender) -> Option<String> {
    let memory = contender.plan()?.memory();
    let size = |n: usize| bytes(n as u64);
    Some(format!(
        "{} (batch {}): {} of memory: weights {}, activations {} (live at once: {}), lists {}, scratch {}",
        contender.name,
        contender.batch,
        size(memory.total()),
        size(memory.weights),
        size(memory.arena),
        size(memory.live),
        size(memory.indices),
        size(memory.scratch)
    ))
}

/// How a file is called in tables.
fn short_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
