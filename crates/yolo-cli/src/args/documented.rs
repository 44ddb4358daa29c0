//! What documents and help texts tell a reader to type is understood. `tests/cli/documented.rs` runs it.
#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, Parser};

use super::Cli;
use commands::{documents, of_document, of_program, of_text};

/// The tests that run the commands read them in the same way.
#[path = "../../../../tests/cli/documented/commands.rs"]
mod commands;

/// The examples in the help of `command` and those below it.
fn of_help(command: &clap::Command) -> Vec<(String, String)> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines =
        help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("yolo-cli"));
    let own = lines.map(|line| (format!("{} --help", command.get_name()), line.to_owned()));
    own.chain(command.get_subcommands().flat_map(of_help)).collect()
}

/// The program's words in a typed line, up to a comment, a pipe or a redirection; none for other programs.
fn words(typed: &str) -> Option<Vec<String>> {
    let typed = of_program(typed)?;
    let ends = |word: &&str| ["|", ">", "2>", "&&", ";", "&"].contains(word) || word.starts_with('#');
    let words = typed.split_whitespace().take_while(|word| !ends(word));
    Some(words.map(|word| word.trim_matches(['\'', '"']).to_owned()).collect())
}

#[test]
fn every_command_that_is_shown_is_understood() {
    let mut shown: Vec<_> = documents().iter().flat_map(|file| of_document(file)).collect();
    shown.extend(of_help(&Cli::command()));
    let mut checked = 0;
    for (place, typed) in shown {
        let Some(words) = words(&typed) else { continue };
        checked += 1;
        if let Err(error) = Cli::try_parse_from(&words)
            && !matches!(
                error.kind(),
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
            )
        {
            panic!("{place}: {typed}\n{error}");
        }
    }
    assert!(checked > 60, "only {checked} commands were found");
}

#[test]
fn commands_are_cut_out_of_text() {
    let text =
        "$ no\n```console\n$ yolo-cli val --data 'a' \\\n    --prune 0.3 # why\nval\n$ ls\n```\n$ no\n";
    let found = of_text(text);
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 6]);
    let expected = ["yolo-cli", "val", "--data", "a", "--prune", "0.3"].map(str::to_owned);
    assert_eq!(words(&found[0].1), Some(expected.to_vec()));
    assert_eq!(words(&found[1].1), None);
}
