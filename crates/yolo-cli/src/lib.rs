//! The commands behind `yolo-cli`: flags, tables and progress bars. What is worth reusing lives in the library
//! crates.

mod args;
mod batch_size;
mod channels;
mod clock;
mod commands;
mod console;
mod detect;
mod device;
mod failure;
mod image_size;
mod interrupt;
mod measure;
mod peers;
mod presets;
mod resolve;
mod run_dir;
mod selection;
mod torch_file;
mod training_view;
mod version;

use std::process::ExitCode;

use args::{Command, Typed};

/// Runs the program on the process's arguments: exit code 0 when done, 1 on failure with one line on stderr, 2
/// on bad arguments.
pub fn main() -> ExitCode {
    let (cli, typed) = args::parse();
    console::init_logging(cli.terminal);
    interrupt::catch_ctrl_c();
    let outcome = yolo_device::catching(|| run(&cli.command, &typed));
    match failure::explained(&cli.command, outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, typed: &Typed) -> anyhow::Result<()> {
    match command {
        Command::Val(args) => commands::val::run(args),
        Command::Detect(args) => commands::detect::run(args),
        Command::Prune(args) => commands::prune::run(args),
        Command::Export(args) => commands::export::run(args),
        Command::Pack(args) => commands::pack::run(args),
        Command::CocoEval(args) => commands::coco_eval::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::DeviceCheck(args) => commands::device_check::run(args),
        Command::Info(args) => commands::info::run(args),
        Command::Train(args) => commands::train::run(args, typed),
        Command::PruneFinetune(args) => commands::prune_finetune::run(args, typed),
        Command::Sweep(args) => commands::sweep::run(args, typed),
        Command::Report(args) => commands::report::run(args),
        Command::Data(args) => commands::data::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::completions::man(args),
    }
}

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct LibraryGuide;
