//! `device-check`: whether a device computes what the processor does, and how fast.

mod figures;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use yolo_data::dataset::Split;
use yolo_device::{Backend, DeviceName, catching, first_line, loader_threads};
use yolo_measure::device_peer;
use yolo_train::device_check::{DeviceCheck, Example, Load, Outcome, Row, Trainer, table};

use crate::args::DeviceCheckArgs;
use crate::console::Output;
use crate::device;
use crate::measure::open_split;
use crate::peers::about_peer;
use crate::presets::DEMO;
use crate::resolve::{Weights, data_config};

/// Prints a row for each comparison, and all of them as a table at the end.
pub(crate) fn run(args: &DeviceCheckArgs) -> Result<()> {
    let output = Output::new(args.json);
    let rows = run_checks(args)?;
    for line in table(&rows) {
        output.line(line)?;
    }
    output.json(&rows)?;
    let failed = rows.iter().filter(|row| row.outcome == Outcome::Failed).count();
    if failed > 0 {
        bail!(
            "--device {}: {failed} of {} checks failed; they are marked in the table",
            args.device,
            rows.len()
        );
    }
    Ok(())
}

/// A check: its name, and what it does.
type Check<'a> = (&'static str, &'a dyn Fn() -> Result<Vec<Row>>);

/// Runs every check, those that tell most first; one that fails or panics is a row too.
fn run_checks(args: &DeviceCheckArgs) -> Result<Vec<Row>> {
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let name = DeviceName::parse(&args.device)?.first().to_string();
    let (device, reference) = (device::parse(&name)?, device::parse("flex")?);
    let weights = Weights::load(&args.weights, args.offline)?;
    let check = DeviceCheck {
        device: &device,
        reference: &reference,
        weights: &weights.checkpoint,
        is_quick: args.quick,
        deadline,
    };
    let has_half = check.formats().next().is_some();
    let checks: [Check; 8] = [
        ("layers", &|| Ok(check.layers()?)),
        ("odd widths", &|| Ok(check.odd_widths()?)),
        ("loss", &|| Ok(check.losses()?)),
        ("reference", &|| reference_losses(args, &check)),
        ("training", &|| Ok(check.steps()?)),
        ("an epoch", &|| epoch(args)),
        ("figures", &|| figures::check(args, &weights, &name, has_half)),
        ("speed", &|| speed(args, &check)),
    ];
    let mut rows = Vec::new();
    for (name, run) in checks {
        let found = match check.is_late() {
            true => vec![Row::late(name)],
            false => outcome(name, catching(run).map_err(|panic| first_line(&panic.message))),
        };
        found.iter().for_each(|row| tracing::info!("{}", row.line()));
        rows.extend(found);
    }
    Ok(rows)
}

fn outcome(name: &str, outcome: std::result::Result<Result<Vec<Row>>, String>) -> Vec<Row> {
    match outcome {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            let error = device::with_flags(error);
            vec![Row::failed(name, &first_line(&format!("{error:#}")))]
        }
        Err(panic) => vec![Row::failed(name, &panic)],
    }
}

fn reference_losses(args: &DeviceCheckArgs, check: &DeviceCheck) -> Result<Vec<Row>> {
    match &args.reference {
        Some(folder) => Ok(check.reference_losses(folder)?),
        None => Ok(vec![Row::skipped("loss and gradients of a reference", "no --reference")]),
    }
}

/// An epoch of the example on all devices that were named, and on as many times the processor.
fn epoch(args: &DeviceCheckArgs) -> Result<Vec<Row>> {
    let name = DeviceName::parse(&args.device)?;
    let dense = Weights::load(DEMO.as_ref(), true)?.checkpoint;
    let config = data_config(DEMO.as_ref())?;
    let [train, val] = [Split::Train, Split::Val].map(|split| open_split(&config, split, true, None));
    let example = Example::new(&dense, train?, val?)?;
    let [got, expected] =
        [name.to_string(), vec!["flex"; name.count()].join(",")].map(|name| Backend::open(&name, false));
    let (got, expected) = (got?, expected?);
    let trainer = |backend: &Backend, run: &dyn Fn(&Trainer) -> Result<Vec<Row>>| {
        run(&Trainer {
            device: &backend.device,
            other_devices: &backend.other_devices,
            compile: &|checkpoint| backend.steady_detector(checkpoint),
            workers: loader_threads(None),
        })
    };
    trainer(&got, &|got| {
        trainer(&expected, &|expected| Ok(example.compare(&name.to_string(), got, expected)?))
    })
}

/// How fast networks are, and beside the peer if there is one.
fn speed(args: &DeviceCheckArgs, check: &DeviceCheck) -> Result<Vec<Row>> {
    let (speeds, mut rows) = check.speed()?;
    let is_gpu = DeviceName::parse(&args.device)?.is_gpu();
    match &args.peer {
        Some(_) if check.is_late() => rows.push(Row::late("the peer")),
        Some(command) => {
            let (load, names) = Load::usual(check.is_quick);
            let beside = device_peer::beside(command, names, load, &speeds, is_gpu);
            rows.extend(beside.map_err(|error| about_peer(error, "--peer: it is empty; name a program"))?);
        }
        None => {}
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_breaks_is_a_row() {
        let broken = outcome("loss", Err("no kernel image".to_owned()));
        assert_eq!(broken[0].outcome, Outcome::Failed);
        let broken = outcome("loss", Ok(Err(anyhow::anyhow!("one\ntwo"))));
        assert_eq!((broken[0].outcome, broken[0].measured.as_str()), (Outcome::Failed, "one"));
    }
}
