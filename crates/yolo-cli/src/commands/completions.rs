//! `completions` and `man`: what shells and `man` want to know, from the same flags as `--help`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::console::Output;

/// Prints the script of a shell.
pub(crate) fn run(args: &CompletionsArgs) -> Result<()> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "yolo-cli", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("the script cannot be printed to the standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a page per command.
pub(crate) fn man(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut pages = 0;
    write_pages(&command, "yolo-cli", &args.out, &mut pages)?;
    Output::new(false).line(format!("{pages} pages in {}", args.out.display()))
}

/// The page of `command` and those below it: `yolo-cli-data-check.1`.
fn write_pages(command: &clap::Command, name: &str, folder: &Path, pages: &mut usize) -> Result<()> {
    let mut page = Vec::new();
    // The page's title is the whole name; clap's is that of the last command.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    clap_mangen::Man::new(command.clone().name(title)).render(&mut page)?;
    let file = folder.join(format!("{name}.1"));
    yolo_files::write(&file, &page).with_context(|| {
        format!("{}: cannot be written; choose another folder with --out", file.display())
    })?;
    *pages += 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        write_pages(below, &format!("{name}-{}", below.get_name()), folder, pages)?;
    }
    Ok(())
}
