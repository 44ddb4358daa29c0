//! `bench-peers`: the same networks in ONNX Runtime and OpenVINO and the same layers in PyTorch, in one run with ours.

mod int8;
mod peer;
mod processor;
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::peer::{Peer, choose};

/// Scripts that run the peers.
const SCRIPTS: &str = "crates/yolo-runtime/benches/peers";

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench-peers --weights yolov5n.pt half.safetensors --python VENV/bin/python
  cargo xtask bench-peers --weights yolov5s.pt s-70.safetensors --images images/train2017 --python VENV/bin/python
  cargo xtask bench-peers --weights yolo11n.pt --peers onnxruntime,openvino-f32

  python3 -m venv VENV && VENV/bin/pip install onnxruntime openvino==2026.4.1 nncf pillow")]
pub(crate) struct BenchPeersArgs {
    /// Checkpoints; the peers run the first one
    #[arg(long, num_args = 1.., required = true)]
    weights: Vec<PathBuf>,
    /// Who takes turns with ours [default: all that are installed; INT8 with --images]
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Folder of images, with those below it, with which NNCF makes the INT8 network; at most 300 of them
    #[arg(long)]
    images: Option<PathBuf>,
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
    /// A Python with the packages of the peers, and torch for --layers
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// A yolo-cli that is there already, in place of a release build
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Exports the first network, and lets everyone take turns.
pub(crate) fn run(root: &Path, args: &BenchPeersArgs) -> Result<()> {
    let peers = peers(args)?;
    let images = match &args.images {
        Some(folder) if peers.contains(&Peer::OpenvinoInt8) => int8::images(folder)?,
        _ => Vec::new(),
    };
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build(root)?,
    };
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
    println!("{}", processor::line());
    let scripts = root.join(SCRIPTS);
    let mut bench = bench(&program, args);
    bench.args(["--repetitions", &args.repetitions.to_string()]);
    for peer in peers {
        let int8 = onnx.with_extension("int8.xml");
        if peer == Peer::OpenvinoInt8 {
            let script = scripts.join("openvino_int8.py");
            int8::quantize(&args.python, &script, [&onnx, &int8], &size, &images)?;
        }
        bench.arg("--peer").arg(command(peer, args, &scripts, [&onnx, &int8])?);
    }
    bench.arg("--weights").args(&args.weights);
    succeed(bench.status(), "yolo-cli bench")?;
    if args.layers { layers(root, &program, dense, args) } else { Ok(()) }
}

/// Who takes part; those who do not are said.
fn peers(args: &BenchPeersArgs) -> Result<Vec<Peer>> {
    let mut modules: Vec<&str> = Peer::ALL.iter().flat_map(|peer| peer.modules()).copied().collect();
    modules.push("torch");
    let missing = python::missing(&args.python, &modules)?;
    if args.layers && missing.contains(&"torch") {
        bail!("--layers: {}", python::install(&args.python, &["torch"]));
    }
    let obstacle = |peer: Peer| {
        let lacks: Vec<&str> =
            peer.modules().iter().copied().filter(|module| missing.contains(module)).collect();
        if !lacks.is_empty() {
            return Some(python::install(&args.python, &lacks));
        }
        let lacks_images = peer == Peer::OpenvinoInt8 && args.images.is_none();
        lacks_images.then(|| "it is calibrated with images; name a folder of them with --images".to_owned())
    };
    let (chosen, skipped) = choose(&args.peers, obstacle)?;
    skipped.iter().for_each(|line| eprintln!("skipped: {line}"));
    Ok(chosen)
}

/// The command of a peer, as a JSON array of words.
fn command(peer: Peer, args: &BenchPeersArgs, scripts: &Path, [onnx, int8]: [&Path; 2]) -> Result<String> {
    let (script, model, precision) = match peer {
        Peer::Onnxruntime => ("onnxruntime_peer.py", onnx, None),
        Peer::OpenvinoF32 => ("openvino_peer.py", onnx, Some("f32")),
        Peer::OpenvinoDefault => ("openvino_peer.py", onnx, Some("default")),
        Peer::OpenvinoInt8 => ("openvino_peer.py", int8, Some("int8")),
    };
    let size = args.imgsz.to_string();
    let mut words =
        [&args.python, &scripts.join(script), model].map(|path| path.display().to_string()).to_vec();
    words.extend([args.threads.to_string(), "1".to_owned(), size.clone(), size]);
    words.extend(precision.map(str::to_owned));
    serde_json::to_string(&words).context("a command has no JSON form")
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
