//! Flags that every command has, and those of the commands that serve the terminal itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags that may stand before or behind any command.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Terminal")]
pub(crate) struct TerminalArgs {
    /// Show results, warnings and errors only: no progress, no remarks.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// How remarks, warnings and errors on stderr look: lines of text, or one JSON object a line.
    #[arg(
        long,
        value_enum,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yolo-cli completions bash > ~/.local/share/bash-completion/completions/yolo-cli
  yolo-cli completions zsh > ~/.zfunc/_yolo-cli              # with ~/.zfunc in fpath
  yolo-cli completions fish > ~/.config/fish/completions/yolo-cli.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  yolo-cli man --out ~/.local/share/man/man1 && man yolo-cli-val")]
pub(crate) struct ManArgs {
    /// Folder of the pages; one that is there is replaced.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  yolo-cli doctor")]
pub(crate) struct DoctorArgs {
    /// Print everything as JSON, alone, on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
