//! `bench-peers`: the same networks in ONNX Runtime and OpenVINO and the same layers in PyTorch, in one run with ours.

mod processor;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

/// Scripts that run the peers.
const SCRIPTS: &str = "crates/yolo-runtime/benches/peers";
/// Endings of the images that an INT8 network is calibrated with.
const IMAGES: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];
/// The exit code that says that a package is missing; other problems of a Python have others.
const MISSING: i32 = 77;
/// Images that NNCF looks at, at most.
const CALIBRATION: usize = 300;

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
    /// Folder of images with which NNCF makes the INT8 network, at most 300 of them
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

/// A program that takes turns with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// ONNX Runtime in single precision.
    Onnxruntime,
    /// OpenVINO in single precision.
    OpenvinoF32,
    /// OpenVINO in the precision that it chooses: bf16 where the processor has units for it.
    OpenvinoDefault,
    /// OpenVINO with a network that NNCF made INT8.
    OpenvinoInt8,
}

impl Peer {
    const ALL: [Self; 4] = [Self::Onnxruntime, Self::OpenvinoF32, Self::OpenvinoDefault, Self::OpenvinoInt8];

    /// Its name as it is typed.
    fn name(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime",
            Self::OpenvinoF32 => "openvino-f32",
            Self::OpenvinoDefault => "openvino-default",
            Self::OpenvinoInt8 => "openvino-int8",
        }
    }

    /// The Python packages that it needs.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Onnxruntime => &["numpy", "onnxruntime"],
            Self::OpenvinoF32 | Self::OpenvinoDefault => &["numpy", "openvino"],
            Self::OpenvinoInt8 => &["numpy", "openvino", "nncf", "PIL"],
        }
    }
}

/// Exports the first network, and lets everyone take turns.
pub(crate) fn run(root: &Path, args: &BenchPeersArgs) -> Result<()> {
    let peers = chosen(args)?;
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
        bench.arg("--peer").arg(command(peer, args, &scripts, &onnx)?);
    }
    bench.arg("--weights").args(&args.weights);
    succeed(bench.status(), "yolo-cli bench")?;
    if args.layers { layers(root, &program, dense, args) } else { Ok(()) }
}

/// The peers that were named, or all that can run; the others are said.
fn chosen(args: &BenchPeersArgs) -> Result<Vec<Peer>> {
    let mut chosen = Vec::new();
    for peer in if args.peers.is_empty() { &Peer::ALL[..] } else { &args.peers } {
        match obstacle(*peer, args)? {
            None => chosen.push(*peer),
            Some(obstacle) if args.peers.is_empty() => eprintln!("skipped: {}: {obstacle}", peer.name()),
            Some(obstacle) => bail!("{}: {obstacle}", peer.name()),
        }
    }
    if chosen.is_empty() {
        bail!("no peer can run; `{} -m pip install onnxruntime` installs one", args.python.display());
    }
    Ok(chosen)
}

/// What keeps a peer from running, with the fix.
fn obstacle(peer: Peer, args: &BenchPeersArgs) -> Result<Option<String>> {
    let python = args.python.display();
    for package in peer.packages() {
        let mut import = Command::new(&args.python);
        let script = format!(
            "import importlib.util as u, sys; sys.exit({MISSING} * (u.find_spec('{package}') is None))"
        );
        let status = import.args(["-c", &script]).status();
        let status = status.with_context(|| format!("--python {python} could not be started"))?;
        if status.code() == Some(MISSING) {
            let name = if *package == "PIL" { "pillow" } else { package };
            return Ok(Some(format!("{python} has no {name}; `{python} -m pip install {name}`")));
        }
        if !status.success() {
            bail!("--python {python} failed ({status}); name a Python 3 that works");
        }
    }
    if peer == Peer::OpenvinoInt8 && args.images.is_none() {
        return Ok(Some("it needs images to be calibrated with; name a folder with --images".to_owned()));
    }
    Ok(None)
}

/// The command of a peer, as a JSON array of words.
fn command(peer: Peer, args: &BenchPeersArgs, scripts: &Path, onnx: &Path) -> Result<String> {
    let int8;
    let (script, model, precision) = match peer {
        Peer::Onnxruntime => ("onnxruntime_peer.py", onnx, None),
        Peer::OpenvinoF32 => ("openvino_peer.py", onnx, Some("f32")),
        Peer::OpenvinoDefault => ("openvino_peer.py", onnx, Some("default")),
        Peer::OpenvinoInt8 => {
            int8 = onnx.with_extension("int8.xml");
            quantize(args, scripts, onnx, &int8)?;
            ("openvino_peer.py", int8.as_path(), Some("int8"))
        }
    };
    let (size, threads) = (args.imgsz.to_string(), args.threads.to_string());
    let mut words = vec![
        args.python.display().to_string(),
        scripts.join(script).display().to_string(),
        model.display().to_string(),
        threads,
        "1".to_owned(),
        size.clone(),
        size,
    ];
    words.extend(precision.map(str::to_owned));
    serde_json::to_string(&words).context("a command has no JSON form")
}

/// Makes the INT8 network.
fn quantize(args: &BenchPeersArgs, scripts: &Path, onnx: &Path, out: &Path) -> Result<()> {
    let Some(folder) = &args.images else { bail!("--images is missing") };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("--images {}", folder.display()))? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
        if ending.is_some_and(|ending| IMAGES.contains(&ending.as_str())) {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    files.truncate(CALIBRATION);
    if files.is_empty() {
        bail!("--images {}: there are no images in it ({})", folder.display(), IMAGES.join(", "));
    }
    eprintln!("NNCF makes an INT8 network with {} images", files.len());
    let size = args.imgsz.to_string();
    let mut child = Command::new(&args.python)
        .arg(scripts.join("openvino_int8.py"))
        .args([onnx, out])
        .args([&size, &size])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("openvino_int8.py")?;
    if let Some(mut input) = child.stdin.take() {
        // It may have failed already, which it then says.
        let _ = input.write_all(files.join("\n").as_bytes());
    }
    let output = child.wait_with_output().context("openvino_int8.py")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let reason = said.lines().find_map(|line| line.strip_prefix("failed "));
    match (reason, output.status.success()) {
        (Some(reason), _) => bail!("openvino-int8: {reason}"),
        (None, false) => bail!("openvino-int8: openvino_int8.py failed ({})", output.status),
        (None, true) => Ok(()),
    }
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
