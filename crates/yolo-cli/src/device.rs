//! `--device` → a device of Burn. The only place that names a back end.

use anyhow::{Result, bail};
use burn::tensor::Device;

/// The device called `name`: `cpu`, `cuda:0` (or just `0`, as YOLOv5 has it), `tch`, `tch:cuda:0`.
///
/// # Errors
/// A name that is not one, or a back end that is not in this binary; the message names the feature to build
/// with.
pub(crate) fn parse(name: &str) -> Result<Device> {
    match name {
        _ if is_cpu(name) => flex(),
        "tch" | "tch:cpu" => tch(None),
        _ => {
            if let Some(index) = name.strip_prefix("tch:cuda").and_then(index) {
                return tch(Some(index));
            }
            if let Some(index) = index(name).or_else(|| name.strip_prefix("cuda").and_then(index)) {
                return cuda(index);
            }
            bail!("there is no device {name:?}; use cpu, cuda:0, tch or tch:cuda:0")
        }
    }
}

/// Whether `name` means Burn's own back end on the CPU.
pub(crate) fn is_cpu(name: &str) -> bool {
    matches!(name, "" | "cpu" | "flex")
}

/// Threads that share the forward pass of a batch on the device called `name`.
pub(crate) fn forward_threads(name: &str) -> usize {
    if is_cpu(name) { cores() } else { 1 }
}

/// Threads that decode images: as many as asked for, or eight, but not more than there are cores.
pub(crate) fn loader_threads(asked: Option<usize>) -> usize {
    asked.unwrap_or(8).min(cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `""`, `":2"` or `"2"` as an index.
fn index(text: &str) -> Option<usize> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(':').unwrap_or(text).parse().ok() }
}

#[cfg(feature = "flex")]
fn flex() -> Result<Device> {
    // Tensors of every layer come and go with each batch; giving their pages back in between costs a tenth of
    // the time.
    yolo_model::kernels::keep_freed_memory();
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex() -> Result<Device> {
    missing("the CPU", "flex")
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    Ok(Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<Device> {
    missing("CUDA", "cuda")
}

#[cfg(feature = "tch")]
#[allow(deprecated)] // Burn 0.22 keeps libtorch as it is, under a deprecation notice.
fn tch(cuda: Option<usize>) -> Result<Device> {
    Ok(cuda.map_or_else(Device::libtorch, Device::libtorch_cuda))
}

#[cfg(not(feature = "tch"))]
fn tch(_cuda: Option<usize>) -> Result<Device> {
    missing("libtorch", "tch")
}

#[allow(dead_code)] // With every back end compiled in, nothing is missing.
fn missing(what: &str, feature: &str) -> Result<Device> {
    bail!(
        "this yolo-cli was built without {what}; build it with `cargo build --release -p yolo-cli --features {feature}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(index(""), Some(0));
        assert_eq!(index(":3"), Some(3));
        assert_eq!(index("1"), Some(1));
        assert_eq!(index("x"), None);
        assert!(parse("cpu").is_ok());
        let error = |name: &str| parse(name).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error("gpu").contains("there is no device"));
        #[cfg(not(feature = "cuda"))]
        for name in ["cuda", "cuda:0", "0"] {
            assert!(error(name).contains("--features cuda"), "{name}: {}", error(name));
        }
        #[cfg(not(feature = "tch"))]
        assert!(error("tch:cuda:0").contains("--features tch"));
    }
}
