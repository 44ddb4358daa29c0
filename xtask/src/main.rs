//! Maintenance of the workspace and downloads: `cargo xtask COMMAND`.

mod bars;
mod bench_peers;
mod ci;
mod fetch;
mod gpu_check;
mod gpu_lints;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Maintenance of the workspace and downloads"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything a change has to pass: format, lints, tests, doc tests, documentation
    Ci(ci::CiArgs),
    /// The house rules alone
    Tidy,
    /// COCO 2017: validation images (0.8 GB), annotations and labels
    FetchCoco(fetch::CocoArgs),
    /// The first 128 images of COCO train2017, with labels (7 MB)
    FetchCoco128(fetch::Coco128Args),
    /// Networks beside ONNX Runtime and PyTorch, in one run
    BenchPeers(bench_peers::BenchPeersArgs),
    /// Whether a GPU computes what the processor does, and how fast, beside PyTorch
    GpuCheck(gpu_check::GpuCheckArgs),
    /// Released YOLOv5 weights
    FetchWeights(fetch::WeightsArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Ci(args) => ci::run(root(), &args),
        Command::Tidy => report(tidy::violations(root())),
        Command::FetchCoco(args) => fetch::coco(&args),
        Command::FetchCoco128(args) => fetch::coco128(&args),
        Command::BenchPeers(args) => bench_peers::run(root(), &args),
        Command::GpuCheck(args) => gpu_check::run(root(), &args),
        Command::FetchWeights(args) => fetch::weights(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn report(violations: Vec<String>) -> Result<()> {
    if violations.is_empty() { Ok(()) } else { bail!(violations.join("\n")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
