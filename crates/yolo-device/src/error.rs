//! What can be wrong with a device, in one line each that says what to do.

/// Why a device cannot be used. Which of these can happen depends on the back ends that are compiled in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error("there is no device {name:?}; use cpu, flex, cuda:0, tch or tch:cuda:0")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Its back end is not in this program.
    #[error("{device}: this program was built without {what}; build it with the feature {feature}")]
    NotCompiled {
        /// What was asked for.
        device: String,
        /// The back end.
        what: &'static str,
        /// The feature that has it.
        feature: &'static str,
    },
    /// There is no driver, or no GPU.
    #[error("{device}: no NVIDIA GPU was found: {why}")]
    NoGpu {
        /// What was asked for.
        device: String,
        /// What seems to be missing, and how to find out more.
        why: String,
    },
    /// There are GPUs, but not that one.
    #[error("{device}: there is no GPU {index}; {}", there_are(*count))]
    NoSuchGpu {
        /// What was asked for.
        device: String,
        /// The index.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A GPU that is in the list twice.
    #[error("{device}: GPU {index} is named twice")]
    Twice {
        /// What was asked for.
        device: String,
        /// The index.
        index: usize,
    },
    /// The device cannot compute in half precision.
    #[error("{device} cannot compute in half precision")]
    NoHalf {
        /// What was asked for.
        device: String,
    },
    /// libtorch is not the one that this program was built with.
    #[error(
        "{device}: libtorch {found} was loaded from {place}, but this program was built for {wanted}; install it with \
         `pip install torch=={wanted}.*` or build this program anew"
    )]
    LibtorchVersion {
        /// What was asked for.
        device: String,
        /// Version that was loaded.
        found: String,
        /// Its folder.
        place: String,
        /// Version that is needed.
        wanted: &'static str,
    },
    /// No threads for detectors on the processor.
    #[error("{reason}")]
    Threads {
        /// What the runtime says.
        reason: String,
    },
    /// Anything else that its back end has to say.
    #[error("{device}: {reason}{}", hint(reason))]
    Failed {
        /// What was asked for.
        device: String,
        /// What the back end says.
        reason: String,
    },
}

fn there_are(count: usize) -> String {
    match count {
        1 => "the only one is 0".to_owned(),
        _ => format!("there are 0 to {}", count.saturating_sub(1)),
    }
}

/// What a message of a back end comes from, if it is known.
fn hint(reason: &str) -> &'static str {
    let toolkit = ["libdevice", "CUDA installation not found", "nvrtc", "NVRTC"];
    if toolkit.iter().any(|word| reason.contains(word)) {
        return "; install the CUDA toolkit and set CUDA_PATH to its folder (docs/gpu.md)";
    }
    ""
}

/// Whether a message of a back end means that memory ran out.
pub fn is_out_of_memory(message: &str) -> bool {
    // CubeCL, CUDA's driver, libtorch on a GPU, libtorch on a processor.
    let signs = [
        "out of device memory",
        "out-of-memory",
        "can't allocate buffer of size",
        "CUDA_ERROR_OUT_OF_MEMORY",
        "out of memory",
        "can't allocate memory",
        "not enough memory",
    ];
    signs.iter().any(|sign| message.contains(sign))
}

/// The first line of what a back end says, without the wrapping of `unwrap` and C++.
pub fn first_line(message: &str) -> String {
    // A message that was printed for debugging has its line ends escaped.
    let line = message.lines().next().unwrap_or_default();
    let line = line.split("\\n").next().unwrap_or_default();
    let wrapping = "called `Result::unwrap()` on an `Err` value: ";
    let line = line.strip_prefix(wrapping).unwrap_or(line);
    let line = line.strip_prefix("Torch(\"").unwrap_or(line);
    line.trim_end_matches("\")").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_recognised() {
        let messages = [
            "out of device memory allocating 1048576 bytes",
            "An out-of-memory error happened during launch",
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB.\")",
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
        ];
        for message in messages {
            assert!(is_out_of_memory(message), "{message}");
        }
        assert!(!is_out_of_memory("mat1 and mat2 shapes cannot be multiplied"));
    }

    #[test]
    fn a_message_is_cut_to_what_matters() {
        let torch = "called `Result::unwrap()` on an `Err` value: Torch(\"bad shape\\nException raised from x.cpp:1\")";
        assert_eq!(first_line(torch), "bad shape");
        assert_eq!(first_line("one\ntwo"), "one");
        assert_eq!(first_line(""), "");
    }

    #[test]
    fn messages_say_what_to_do() {
        let device = || "cuda:3".to_owned();
        let error = DeviceError::NoSuchGpu { device: device(), index: 3, count: 2 }.to_string();
        assert_eq!(error, "cuda:3: there is no GPU 3; there are 0 to 1");
        let reason = "CUDA installation not found.".to_owned();
        let error = DeviceError::Failed { device: device(), reason }.to_string();
        assert!(error.contains("set CUDA_PATH"), "{error}");
    }
}
