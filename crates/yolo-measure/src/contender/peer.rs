//! Another program that takes turns with ours.
//!
//! It says one of these lines when it has started:
//!
//! - `ready NAME`: it runs its network once for every line `run`, and answers with the milliseconds that it took;
//! - `comparable NAME`: the same, and for a line `rows COUNT`, followed by that many `f32` (little-endian) of images, it
//!   answers `shape N A B` and then the `f32` of its output;
//! - `failed REASON`: it cannot run.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::agreement::Output;
use crate::{MeasureError, Result};

/// A program that runs a network whenever it is asked.
pub(super) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    command: String,
    /// How it calls itself.
    pub(super) name: String,
    /// Whether it gives away what it computes.
    pub(super) is_comparable: bool,
}

impl Peer {
    /// Starts `command`, words separated by spaces or a JSON array of words, and waits until it is ready.
    pub(super) fn start(command: &str) -> Result<Self> {
        let words = words(command)?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(MeasureError::NoPeer);
        };
        let child =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| wrong(command, error))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(wrong(command, "it has no input or output"));
        };
        let answers = BufReader::new(answers);
        let owned = command.to_owned();
        let mut peer =
            Self { child, requests, answers, command: owned, name: String::new(), is_comparable: false };
        let line = peer.line()?;
        (peer.is_comparable, peer.name) = match line.split_once(' ') {
            Some(("ready", name)) => (false, name.to_owned()),
            Some(("comparable", name)) => (true, name.to_owned()),
            Some(("failed", reason)) => return Err(wrong(command, reason)),
            _ => return Err(wrong(command, format!("it said {line:?}, not \"ready NAME\""))),
        };
        Ok(peer)
    }

    /// One run; the milliseconds that the peer says.
    pub(super) fn run(&mut self) -> Result<f64> {
        self.ask("run", &[])?;
        let line = self.line()?;
        line.parse::<f64>()
            .map_err(|error| self.wrong(format!("it said {line:?}, not milliseconds: {error}")))
    }

    /// What it computes from `images`.
    pub(super) fn output(&mut self, images: &[f32]) -> Result<Output> {
        let bytes: Vec<u8> = images.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.ask(&format!("rows {}", images.len()), &bytes)?;
        let line = self.line()?;
        let shape =
            shape(&line).ok_or_else(|| self.wrong(format!("it said {line:?}, not \"shape N A B\"")))?;
        let mut bytes = vec![0; shape.iter().product::<usize>() * size_of::<f32>()];
        let read = self.answers.read_exact(&mut bytes);
        read.map_err(|error| self.wrong(format!("its output is shorter than its shape: {error}")))?;
        let (values, _) = bytes.as_chunks();
        Ok(Output { shape, values: values.iter().map(|value| f32::from_le_bytes(*value)).collect() })
    }

    fn ask(&mut self, line: &str, bytes: &[u8]) -> Result<()> {
        writeln!(self.requests, "{line}")
            .and_then(|()| self.requests.write_all(bytes))
            .and_then(|()| self.requests.flush())
            .map_err(|error| self.wrong(format!("it has gone: {error}")))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).map_err(|error| self.wrong(error))?;
        if read == 0 {
            return Err(self.wrong("it ended; run it by hand to see why"));
        }
        Ok(line.trim_end().to_owned())
    }

    fn wrong(&self, reason: impl Display) -> MeasureError {
        wrong(&self.command, reason)
    }
}

/// What is wrong with the peer that `command` starts.
pub(super) fn wrong(command: &str, reason: impl Display) -> MeasureError {
    MeasureError::Peer { command: command.to_owned(), reason: reason.to_string() }
}

/// The words of a command: a JSON array keeps spaces in them.
fn words(command: &str) -> Result<Vec<String>> {
    if command.trim_start().starts_with('[') {
        let words = serde_json::from_str(command);
        return words.map_err(|error| wrong(command, format!("not a JSON array of words: {error}")));
    }
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

/// The extents of a line `shape N A B`, which together have a size that fits into memory.
fn shape(line: &str) -> Option<[usize; 3]> {
    /// 4 GiB of `f32`: no detector's output is as long.
    const LONGEST: usize = 1 << 30;
    let extents: Option<Vec<usize>> =
        line.strip_prefix("shape ")?.split(' ').map(|extent| extent.parse().ok()).collect();
    let shape: [usize; 3] = extents?.try_into().ok()?;
    let length = shape.iter().try_fold(1_usize, |length, extent| length.checked_mul(*extent))?;
    (length <= LONGEST).then_some(shape)
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_json_array_keeps_spaces_in_words() {
        assert_eq!(words(" python  peer.py 2").unwrap(), ["python", "peer.py", "2"]);
        assert_eq!(words(r#"["my python", "a b.py"]"#).unwrap(), ["my python", "a b.py"]);
        assert!(words("[python]").unwrap_err().to_string().contains("JSON array"));
    }

    #[test]
    fn shapes_have_three_extents_and_a_size_that_fits() {
        assert_eq!(shape("shape 1 252 8"), Some([1, 252, 8]));
        for bad in
            ["shape 1 252", "shape 1 2 3 4", "shape 1 -2 3", "1 2 3", "shape 99999999999 99999999999 9"]
        {
            assert_eq!(shape(bad), None, "{bad}");
        }
    }
}
