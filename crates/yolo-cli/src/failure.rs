//! What went wrong, in one line: errors as they are, panics of the tensor library as errors of its device.

mod memory;

use anyhow::{Error, Result, anyhow};
use yolo_detect::DetectError;
use yolo_device::{DeviceError, DeviceName, Panic, first_line, is_out_of_memory};
use yolo_measure::MeasureError;
use yolo_prune::{PermuteError, PruneError};
use yolo_train::TrainError;
use yolo_train::memory::largest_fitting;

use crate::args::Command;
use crate::device;
use memory::Load;

/// What `command` returned or why it panicked, as one result.
pub(crate) fn explained(command: &Command, outcome: Result<Result<()>, Panic>) -> Result<()> {
    let message = match &outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => panic.message.clone(),
    };
    // Messages of files and flags may hold any words; only a device that is not the processor runs out of memory
    // in a way that can be told.
    let name = device_name(command).filter(|name| !name.is_cpu());
    match (name, outcome) {
        (Some(name), outcome) if is_out_of_memory(&message) => {
            // An error that was explained already is left alone.
            match outcome {
                Ok(Err(error)) if error.downcast_ref::<DeviceError>().is_some() => Err(with_flags(error)),
                _ => Err(out_of_memory(command, &name)),
            }
        }
        (_, Ok(outcome)) => outcome.map_err(with_flags),
        (Some(name), Err(_)) => {
            let (device, reason) = (name.to_string(), first_line(&message));
            Err(with_flags(DeviceError::Failed { device, reason }.into()))
        }
        (None, Err(panic)) => Err(internal(&panic)),
    }
}

/// `error` with the flags that avoid it, which libraries do not know.
fn with_flags(error: Error) -> Error {
    let error = device::with_flags(error);
    let of_detection = |error: &DetectError| match error {
        DetectError::NotFiniteInHalf => Some("leave --half out"),
        DetectError::Format { .. } => Some("leave --half out, and train with --amp off"),
        _ => None,
    };
    let of_pruning = |error: &PruneError| match error {
        PruneError::NeedsImages => Some("--calibration IMAGE_DIR"),
        _ => None,
    };
    let flags = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(TrainError::Detect(error)) => of_detection(error),
        Some(TrainError::Prune(error)) => of_pruning(error),
        Some(TrainError::Overflow) => Some("train with --amp off"),
        _ => {
            let permuted = cause.downcast_ref().and_then(|error| match error {
                PermuteError::Prune(error) => of_pruning(error),
                _ => None,
            });
            let measured = cause.downcast_ref().and_then(|error| match error {
                MeasureError::Detect(error) => of_detection(error),
                MeasureError::Prune(error) => of_pruning(error),
                _ => None,
            });
            permuted
                .or(measured)
                .or_else(|| cause.downcast_ref().and_then(of_pruning))
                .or_else(|| cause.downcast_ref().and_then(of_detection))
        }
    });
    match flags {
        Some(flags) => anyhow!("{error:#}: {flags}"),
        None => error,
    }
}

fn internal(panic: &Panic) -> Error {
    let message = first_line(&panic.message);
    anyhow!("internal error at {}: {message}; please report it (YOLO_LOG=debug shows more)", panic.place)
}

fn out_of_memory(command: &Command, name: &DeviceName) -> Error {
    let device = name.to_string();
    let Some(load) = Load::of(command) else {
        return anyhow!("--device {device}: out of memory; use a smaller --batch-size");
    };
    tracing::info!("out of memory: looking for the batch size that fits");
    let fits = largest_fitting(load.batch_size, |n| load.fits(n));
    anyhow!("--device {device}: out of memory at --batch-size {}; {}", load.batch_size, advice(fits))
}

/// What to do where memory ran out and this batch size `fits`, if any does.
fn advice(fits: Option<usize>) -> String {
    match fits {
        Some(batch_size) => format!("--batch-size {batch_size} fits"),
        None => "not even one image fits, so use a smaller --imgsz, or --device cpu".to_owned(),
    }
}

/// What was typed behind `--device`, where the command has it.
fn device_name(command: &Command) -> Option<DeviceName> {
    let name = match command {
        Command::Val(args) => &args.compute.device,
        Command::Detect(args) => &args.device,
        Command::Prune(args) => &args.device,
        Command::Train(args) => &args.compute.device,
        Command::PruneFinetune(args) => &args.compute.device,
        Command::Sweep(args) => &args.compute.device,
        Command::DeviceCheck(args) => &args.device,
        Command::Bench(args) if args.backends.contains(&crate::args::BackendArg::Tch) => "tch",
        _ => return None,
    };
    DeviceName::parse(name).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn command(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    fn panic(message: &str) -> Result<Result<()>, Panic> {
        Err(Panic { message: message.to_owned(), place: "conv.rs:3:5".to_owned() })
    }

    #[test]
    fn a_panic_on_a_gpu_is_an_error_of_the_gpu() {
        let val = command("yolo-cli val --device cuda:1");
        let error = explained(&val, panic("Torch(\"no kernel image\\nException\")")).unwrap_err().to_string();
        assert_eq!(error, "--device cuda:1: no kernel image");
    }

    #[test]
    fn a_panic_on_the_processor_is_a_bug() {
        let val = command("yolo-cli val");
        let error = explained(&val, panic("index out of bounds")).unwrap_err().to_string();
        assert!(
            error.starts_with("internal error at conv.rs:3:5: index out of bounds; please report"),
            "{error}"
        );
        assert!(explained(&val, Ok(Ok(()))).is_ok());
        let other = explained(&val, Ok(Err(anyhow!("x.pt: out of memory")))).unwrap_err().to_string();
        assert_eq!(other, "x.pt: out of memory");
    }

    #[test]
    fn errors_of_half_precision_name_the_flag() {
        let train_error = TrainError::from(DetectError::NotFiniteInHalf);
        let measure_error = MeasureError::from(DetectError::NotFiniteInHalf);
        for error in [
            Error::from(DetectError::NotFiniteInHalf),
            Error::from(train_error).context("a.pt"),
            measure_error.into(),
        ] {
            let error = explained(&command("yolo-cli val --half"), Ok(Err(error))).unwrap_err().to_string();
            assert!(error.ends_with("use single precision: leave --half out"), "{error}");
        }
    }

    #[test]
    fn a_pruning_without_images_names_the_flag() {
        let train_error = TrainError::from(PruneError::NeedsImages);
        let permute_error = PermuteError::from(PruneError::NeedsImages);
        for error in [Error::from(PruneError::NeedsImages), train_error.into(), permute_error.into()] {
            let error =
                explained(&command("yolo-cli prune --weights a.pt --out b.safetensors"), Ok(Err(error)));
            let error = error.unwrap_err().to_string();
            assert!(error.ends_with("without labels: --calibration IMAGE_DIR"), "{error}");
        }
    }

    #[test]
    fn memory_that_ran_out_says_so() {
        let val = command("yolo-cli val --weights nowhere.pt --device tch --batch-size 64 --offline");
        let error = explained(&val, panic("CUDA out of memory.")).unwrap_err().to_string();
        assert!(error.starts_with("--device tch: out of memory at --batch-size 64; "), "{error}");
    }
}
