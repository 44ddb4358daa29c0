//! Flags of YOLOv5's scripts that change nothing here. They are accepted, with one line that says why.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Which command a group of flags is for.
pub(crate) const TRAIN: usize = 0;
pub(crate) const VAL: usize = 1;
pub(crate) const DETECT: usize = 2;

/// What the flags of loggers do elsewhere.
const LOGGERS: &str = "nothing is sent to a logging service; results.csv has the figures of every epoch";
const DNN: &str = "it chooses OpenCV's runtime for .onnx files; checkpoints run on this program's own";

/// A flag without effect.
struct Inert {
    name: &'static str,
    /// What its value is called, if it has one.
    value: Option<&'static str>,
    /// The commands that accept it.
    commands: &'static [usize],
    /// Why it changes nothing.
    reason: &'static str,
}

const FLAGS: [Inert; 10] = [
    Inert { name: "dnn", value: None, commands: &[VAL, DETECT], reason: DNN },
    Inert {
        name: "update",
        value: None,
        commands: &[DETECT],
        reason: "checkpoints of every YOLOv5 version load as they are, and input files are never rewritten",
    },
    Inert {
        name: "sync-bn",
        value: None,
        commands: &[TRAIN],
        reason: "one process trains on all devices, and a single device sees the statistics of the whole batch",
    },
    Inert {
        name: "quad",
        value: None,
        commands: &[TRAIN],
        reason: "batches are not merged in fours; --imgsz of twice the side trains on larger images",
    },
    Inert {
        name: "local_rank",
        value: Some("RANK"),
        commands: &[TRAIN],
        reason: "there is one process for all devices: --device cuda:0,1",
    },
    Inert { name: "bbox_interval", value: Some("EPOCHS"), commands: &[TRAIN], reason: LOGGERS },
    Inert { name: "entity", value: Some("NAME"), commands: &[TRAIN], reason: LOGGERS },
    Inert { name: "upload_dataset", value: Some("SPLIT"), commands: &[TRAIN], reason: LOGGERS },
    Inert { name: "artifact_alias", value: Some("NAME"), commands: &[TRAIN], reason: LOGGERS },
    Inert { name: "bucket", value: Some("URL"), commands: &[TRAIN], reason: LOGGERS },
];

impl Inert {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).help(format!("Has no effect: {}", self.reason));
        let arg = arg.help_heading("Flags of YOLOv5 without effect");
        match self.value {
            None => arg.action(ArgAction::SetTrue),
            Some(name) => arg.value_name(name).num_args(0..=1).allow_negative_numbers(true),
        }
    }
}

/// Those of the flags without effect of a command ([`TRAIN`], [`VAL`], [`DETECT`]) that were typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct InertFlags<const COMMAND: usize> {
    /// A line for each.
    lines: Vec<String>,
}

impl<const COMMAND: usize> InertFlags<COMMAND> {
    fn known() -> impl Iterator<Item = &'static Inert> {
        FLAGS.iter().filter(|flag| flag.commands.contains(&COMMAND))
    }

    /// Says of each that it has no effect, and why.
    pub(crate) fn warn(&self) {
        self.lines.iter().for_each(|line| tracing::warn!("{line}"));
    }
}

impl<const COMMAND: usize> Args for InertFlags<COMMAND> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::known().map(Inert::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const COMMAND: usize> FromArgMatches for InertFlags<COMMAND> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_typed =
            |flag: &&Inert| matches.value_source(flag.name) == Some(clap::parser::ValueSource::CommandLine);
        let line = |flag: &Inert| format!("--{} has no effect: {}", flag.name, flag.reason);
        Ok(Self { lines: Self::known().filter(is_typed).map(line).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(typed: &[&str]) -> Vec<String> {
        let command = InertFlags::<TRAIN>::augment_args(Command::new("train"));
        let matches = command.try_get_matches_from([&["train"], typed].concat()).unwrap();
        InertFlags::<TRAIN>::from_arg_matches(&matches).unwrap().lines
    }

    #[test]
    fn every_typed_flag_says_why_it_changes_nothing() {
        assert!(lines(&[]).is_empty());
        let said = lines(&["--quad", "--local_rank", "-1", "--upload_dataset"]);
        assert_eq!(said.len(), 3);
        assert!(said[0].starts_with("--quad has no effect: "), "{said:?}");
        assert!(said[1].starts_with("--local_rank has no effect: there is one process"), "{said:?}");
    }
}
