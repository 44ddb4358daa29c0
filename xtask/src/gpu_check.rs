//! `gpu-check`: the checks of `yolo-cli device-check` on a GPU, with PyTorch beside them, in one command.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

/// Runs the same layers in PyTorch.
const PEER: &str = "crates/yolo-cli/benches/peers/torch_layers_of.py";

/// Seconds that a check which has begun may still take: with 450 for the beginning, eight minutes.
const GRACE: u64 = 30;

#[derive(Args)]
pub(crate) struct GpuCheckArgs {
    /// The device to check: cuda:0, tch, tch:cuda:0, flex
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// Small images and one small network: to try out the check itself on a processor
    #[arg(long)]
    quick: bool,
    /// Weights whose figures are compared [default: the example's]
    #[arg(long, requires = "data")]
    weights: Option<PathBuf>,
    /// Data set that they are measured on
    #[arg(long, requires = "weights")]
    data: Option<PathBuf>,
    /// Folder with the loss.json and loss_batch.safetensors of a reference for --weights
    #[arg(long)]
    reference: Option<PathBuf>,
    /// A yolo-cli that was built already, such as one for a machine without the means to build it
    #[arg(long)]
    program: Option<PathBuf>,
    /// A Python with torch; without one, nobody runs beside us
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// No check begins after this many seconds
    #[arg(long, default_value_t = 450)]
    seconds: u64,
}

/// Builds what the device needs, and checks it.
pub(crate) fn run(root: &Path, args: &GpuCheckArgs) -> Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build(root, feature(&args.device))?,
    };
    let mut check = Command::new(program);
    check.args(["device-check", "--device", &args.device, "--seconds", &args.seconds.to_string()]);
    if args.quick {
        check.arg("--quick");
    }
    for (flag, path) in
        [("--weights", &args.weights), ("--data", &args.data), ("--reference", &args.reference)]
    {
        if let Some(path) = path {
            check.arg(flag).arg(path);
        }
    }
    if has_torch(&args.python) {
        let (script, device) = (root.join(PEER), peer_device(&args.device));
        check.arg("--peer").arg(format!("{} {} {device}", args.python.display(), script.display()));
        if args.quick {
            check.envs([("SECONDS", "0.5"), ("WARM_UP", "1")]);
        }
    } else {
        eprintln!("{} has no torch: nobody runs beside us", args.python.display());
    }
    let limit = Duration::from_secs(args.seconds + GRACE);
    match within(limit, check.spawn().context("yolo-cli device-check")?)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("the check failed ({status}); what it says is above"),
        None => bail!("the check was stopped after {} s; --seconds gives it more", limit.as_secs()),
    }
}

/// The status of `child` once it ends; none if it had to be stopped at `limit`, as where a GPU hangs.
fn within(limit: Duration, mut child: Child) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// The feature of yolo-cli that `device` needs.
fn feature(device: &str) -> Option<&'static str> {
    match device.split([':', ',']).next() {
        Some("tch") => Some("tch"),
        Some("cpu" | "flex") => None,
        _ => Some("cuda"),
    }
}

/// What PyTorch calls `device`, or the first of several.
fn peer_device(device: &str) -> String {
    let device = device.split(',').next().unwrap_or_default();
    let device = device.strip_prefix("tch").unwrap_or(device);
    match device.strip_prefix(':').unwrap_or(device) {
        "" | "flex" | "cpu" => "cpu".to_owned(),
        "cuda" => "cuda:0".to_owned(),
        gpu if gpu.starts_with("cuda:") => gpu.to_owned(),
        index => format!("cuda:{index}"),
    }
}

fn build(root: &Path, feature: Option<&str>) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--release", "-p", "yolo-cli"]);
    if let Some(feature) = feature {
        build.args(["--features", feature]);
    }
    let status = build.status().context("cargo build")?;
    if !status.success() {
        bail!("cargo build failed ({status}); docs/gpu.md has the usual reasons");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/yolo-cli"))
}

fn has_torch(python: &Path) -> bool {
    let import = Command::new(python)
        .args(["-c", "import torch"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    import.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_stopped() {
        let sleep = |seconds: &str| Command::new("sleep").arg(seconds).spawn().expect("sleep");
        assert!(within(Duration::from_secs(60), sleep("0")).expect("a status").is_some());
        assert!(within(Duration::from_millis(150), sleep("60")).expect("a status").is_none());
    }

    #[test]
    fn devices_are_named_as_pytorch_does() {
        let cases = [
            ("cuda:1", "cuda:1"),
            ("cuda", "cuda:0"),
            ("1", "cuda:1"),
            ("tch:cuda:1", "cuda:1"),
            ("tch:cuda", "cuda:0"),
            ("tch", "cpu"),
            ("flex,flex", "cpu"),
            ("cuda:1,0", "cuda:1"),
            ("tch:cuda:0,1", "cuda:0"),
        ];
        for (device, expected) in cases {
            assert_eq!(peer_device(device), expected, "{device}");
        }
        let features = ["cuda:0,1", "0", "tch", "tch:cuda:0", "flex,flex"].map(feature);
        assert_eq!(features, [Some("cuda"), Some("cuda"), Some("tch"), Some("tch"), None]);
    }
}
