//! Another program that takes turns with ours.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program that says `ready NAME` when it is, then runs its network once for every line that it gets and answers
/// with the milliseconds that it took.
pub(super) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    command: String,
    /// How it calls itself.
    pub(super) name: String,
}

impl Peer {
    /// Starts `command`, words separated by spaces, and waits until it is ready.
    pub(super) fn start(command: &str) -> Result<Self> {
        let mut words = command.split_whitespace();
        let Some(program) = words.next() else {
            bail!("--peer is empty; it takes a program with its arguments")
        };
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("--peer {command}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("--peer {command}: it has no input or output");
        };
        let answers = BufReader::new(answers);
        let mut peer = Self { child, requests, answers, command: command.to_owned(), name: String::new() };
        let line = peer.line()?;
        match line.strip_prefix("ready ") {
            Some(name) => peer.name = name.to_owned(),
            None => bail!("--peer {command}: it said {line:?}, not \"ready NAME\""),
        }
        Ok(peer)
    }

    /// One run; the milliseconds that the peer says.
    pub(super) fn run(&mut self) -> Result<f64> {
        writeln!(self.requests, "run").and_then(|()| self.requests.flush()).context("the peer has gone")?;
        let line = self.line()?;
        line.parse().with_context(|| format!("--peer {}: it said {line:?}, not milliseconds", self.command))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).with_context(|| format!("--peer {}", self.command))?;
        if read == 0 {
            bail!("--peer {}: it ended; run it by hand to see why", self.command);
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
