//! What a change has to pass, cheapest first: `cargo xtask ci`. What only proves a slower path, and what runs everything
//! that the plain one only compiles, comes with `--full`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::gpu_lints;

/// What is built here is run once: without debug information, and without what would make the next build quicker.
const BUILD: [(&str, &str); 2] = [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")];
/// Makes tests run what they otherwise skip with one line.
const SLOW_TESTS: (&str, &str) = ("YOLO_SLOW_TESTS", "1");

#[derive(Args)]
pub(crate) struct CiArgs {
    /// Also slow tests (the check of this processor as a device is one), every bench once, examples, and lints for GPUs
    #[arg(long)]
    full: bool,
}

/// Runs every step; stops at the first that fails. Says in the end what each took.
///
/// Everything is built for the whole workspace at once, and with the same features and the same profile as single
/// packages are, so that no dependency is compiled twice. What is for GPUs has other features in any case.
pub(crate) fn run(root: &Path, args: &CiArgs) -> Result<()> {
    let mut steps = Steps { root, times: Vec::new() };
    let outcome = every_step(&mut steps, args.full);
    steps.report();
    outcome
}

fn every_step(steps: &mut Steps<'_>, full: bool) -> Result<()> {
    steps.cargo("format", "fmt --all --check", &[])?;
    steps.cargo("lints", "clippy --workspace --all-targets -- -D warnings", &[])?;
    tests(steps, full)?;
    steps.cargo("doc tests", "test --workspace --doc", &[])?;
    // Links that lead nowhere and the like.
    steps.cargo("documentation", "doc --workspace --no-deps", &[("RUSTDOCFLAGS", "-D warnings")])?;
    if full {
        steps.cargo("examples", "build --workspace --examples", &[])?;
        // Without `--bench`, criterion runs every benchmark once.
        steps.cargo("benches", "test --workspace --bench *", &[])?;
    }
    gpu_lints(steps, full)
}

/// Benches and examples are compiled by the lints; the tests do without them.
fn tests(steps: &mut Steps<'_>, full: bool) -> Result<()> {
    let slow = [SLOW_TESTS];
    let environment: &[_] = if full { &slow } else { &[] };
    let targets = "--workspace --lib --bins --tests";
    if has_nextest() {
        steps.cargo("tests", &format!("nextest run {targets} --no-fail-fast"), environment)
    } else {
        steps.cargo("tests", &format!("test {targets} --no-fail-fast"), environment)
    }
}

/// The lints of what is compiled for GPUs, which take minutes, unless that is what it was when they last passed.
fn gpu_lints(steps: &mut Steps<'_>, full: bool) -> Result<()> {
    if !full && gpu_lints::have_passed(steps.root)? {
        eprintln!("── lints for GPUs: what they see has not changed since they passed");
        return Ok(());
    }
    steps.cargo("lints for GPUs", gpu_lints::CLIPPY, &[gpu_lints::NO_LLVM])?;
    if full { gpu_lints::note_pass(steps.root) } else { Ok(()) }
}

fn has_nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// Runs steps in the folder `root`, and keeps their times.
struct Steps<'a> {
    root: &'a Path,
    times: Vec<(&'static str, Duration)>,
}

impl Steps<'_> {
    /// Runs cargo with `arguments`, which are separated by spaces, and with more variables in its environment.
    fn cargo(&mut self, step: &'static str, arguments: &str, environment: &[(&str, &str)]) -> Result<()> {
        eprintln!("── {step}: cargo {arguments}");
        let start = Instant::now();
        let mut command = Command::new("cargo");
        command.current_dir(self.root).args(arguments.split(' '));
        command.envs(BUILD).envs(environment.iter().copied());
        let status = command.status().context("cargo could not be started")?;
        self.times.push((step, start.elapsed()));
        if !status.success() {
            bail!("{step} failed: cargo {arguments}");
        }
        Ok(())
    }

    fn report(&self) {
        let total = ("in all", self.times.iter().map(|(_, time)| *time).sum());
        for (step, time) in self.times.iter().chain([&total]) {
            eprintln!("{:7.1} s  {step}", time.as_secs_f64());
        }
    }
}
