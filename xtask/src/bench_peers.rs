//! `bench-peers`: the same networks in ONNX Runtime and the same layers in PyTorch, in one run with ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

/// Scripts that run the peers.
const SCRIPTS: &str = "crates/yolo-runtime/benches/peers";

#[derive(Args)]
pub(crate) struct BenchPeersArgs {
    /// Checkpoints; ONNX Runtime runs the first one
    #[arg(long, num_args = 1.., required = true)]
    weights: Vec<PathBuf>,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 640)]
    imgsz: u32,
    /// Threads of everyone
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Vector unit of the runtime: avx512, avx2, neon, portable
    #[arg(long)]
    isa: Option<String>,
    /// Timed runs of each
    #[arg(long, default_value_t = 50)]
    repetitions: u32,
    /// Time every convolution in PyTorch as well
    #[arg(long)]
    layers: bool,
    /// A Python with onnxruntime, and torch for --layers (pip install onnxruntime torch)
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// Exports the first network, and lets everyone take turns.
pub(crate) fn run(root: &Path, args: &BenchPeersArgs) -> Result<()> {
    let program = build(root)?;
    let Some(dense) = args.weights.first() else { bail!("--weights is missing") };
    let folder = root.join("target/bench-peers");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let onnx = folder.join("dense.onnx");
    let size = args.imgsz.to_string();
    let export = Command::new(&program)
        .args(["export", "--format", "onnx", "--imgsz", &size, "--weights"])
        .arg(dense)
        .arg("--out")
        .arg(&onnx)
        .stdout(Stdio::null())
        .status();
    succeed(export, "yolo-cli export")?;
    let script = root.join(SCRIPTS).join("onnxruntime_peer.py");
    let peer = format!(
        "{} {} {} {} 1 {size} {size}",
        args.python.display(),
        script.display(),
        onnx.display(),
        args.threads
    );
    let mut bench = bench(&program, args);
    bench
        .args(["--repetitions", &args.repetitions.to_string(), "--peer", &peer, "--weights"])
        .args(&args.weights);
    succeed(bench.status(), "yolo-cli bench")?;
    if args.layers { layers(root, &program, dense, args) } else { Ok(()) }
}

fn build(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).current_dir(root).args(["build", "--release", "-p", "yolo-cli"]).status();
    succeed(status, "cargo build")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/yolo-cli"))
}

fn bench(program: &Path, args: &BenchPeersArgs) -> Command {
    let mut bench = Command::new(program);
    bench.args(["bench", "--imgsz", &args.imgsz.to_string(), "--threads", &args.threads.to_string()]);
    if let Some(isa) = &args.isa {
        bench.args(["--isa", isa]);
    }
    bench
}

/// Every convolution of `weights` in PyTorch, beside the time that it takes here.
fn layers(root: &Path, program: &Path, weights: &Path, args: &BenchPeersArgs) -> Result<()> {
    let mut ours = bench(program, args)
        .args(["--explain", "--json", "--repetitions", "3", "--weights"])
        .arg(weights)
        .stdout(Stdio::piped())
        .spawn()
        .context("yolo-cli bench")?;
    let Some(report) = ours.stdout.take() else { bail!("yolo-cli bench: it has no output") };
    let theirs = Command::new(&args.python)
        .arg(root.join(SCRIPTS).join("torch_layers.py"))
        .arg(args.threads.to_string())
        .stdin(report)
        .status();
    succeed(ours.wait(), "yolo-cli bench")?;
    succeed(theirs, "torch_layers.py")
}

fn succeed(status: std::io::Result<std::process::ExitStatus>, what: &str) -> Result<()> {
    let status = status.with_context(|| what.to_owned())?;
    if status.success() { Ok(()) } else { bail!("{what} failed ({status}); what it says is above") }
}
