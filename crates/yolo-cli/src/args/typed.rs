//! Which flags were typed, for runs that continue with the flags of an earlier one.

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde::Serialize;

use super::Cli;

/// A flag as it was typed.
#[derive(Debug)]
struct Flag {
    /// Its name among the arguments, which is that of its field.
    id: String,
    /// It and its values.
    text: String,
}

/// What a resumed run obeys: which run it is, where it computes, and how it prints.
pub(crate) const OBEYED_WHEN_RESUMED: [&str; 7] =
    ["resume", "project", "device", "workers", "json", "quiet", "log_format"];

/// The flags behind the command.
#[derive(Debug, Default)]
pub(crate) struct Typed(Vec<Flag>);

/// What was typed, or the end of the process with a message.
pub(crate) fn parse() -> (Cli, Typed) {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    let typed = match matches.subcommand() {
        Some((name, matches)) => {
            command.find_subcommand(name).map(|command| Typed::of(command, matches)).unwrap_or_default()
        }
        None => Typed::default(),
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, typed),
        Err(error) => error.format(&mut command).exit(),
    }
}

impl Typed {
    fn of(command: &clap::Command, matches: &ArgMatches) -> Self {
        let flag = |arg: &clap::Arg| {
            let id = arg.get_id().as_str();
            let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
            let long = arg.get_long().filter(|_| is_typed)?;
            let raw = matches.get_raw(id).filter(|_| arg.get_action().takes_values());
            let values = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
            let words: Vec<String> = std::iter::once(format!("--{long}")).chain(values).collect();
            Some(Flag { id: id.to_owned(), text: words.join(" ") })
        };
        Self(command.get_arguments().filter_map(flag).collect())
    }

    /// Warns of flags whose value in `asked` is not the one in `saved`, with which the run in `place` continues.
    /// `kept` are the flags that a resumed run obeys.
    ///
    /// # Errors
    /// Flags that cannot be written as JSON.
    pub(crate) fn warn_ignored<T: Serialize>(
        &self,
        asked: &T,
        saved: &T,
        kept: &[&str],
        place: &std::path::Path,
    ) -> Result<()> {
        let (asked, saved) = (serde_json::to_value(asked)?, serde_json::to_value(saved)?);
        let is_ignored =
            |flag: &&Flag| !kept.contains(&flag.id.as_str()) && asked.get(&flag.id) != saved.get(&flag.id);
        let ignored: Vec<&str> = self.0.iter().filter(is_ignored).map(|flag| flag.text.as_str()).collect();
        if !ignored.is_empty() {
            tracing::warn!(
                "a resumed run keeps the flags in {}; ignored: {}",
                place.join(crate::run_dir::FLAGS).display(),
                ignored.join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_are_listed_as_they_were_typed() {
        let mut command = Cli::command();
        let words = ["yolo-cli", "train", "--epochs", "5", "--freeze", "0", "1", "--rect", "--batch", "4"];
        let matches = command.try_get_matches_from_mut(words).unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        let typed = Typed::of(command.find_subcommand(name).unwrap(), matches);
        let mut texts: Vec<&str> = typed.0.iter().map(|flag| flag.text.as_str()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["--batch-size 4", "--epochs 5", "--freeze 0 1", "--rect"]);
    }
}
