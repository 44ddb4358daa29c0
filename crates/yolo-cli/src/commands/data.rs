//! `data`: look at a data set, and write it in the other layout.

mod check;
mod convert;
mod mosaic;

use anyhow::Result;

use crate::args::{DataArgs, DataCommand};

/// Runs the command below `data`.
pub(crate) fn run(args: &DataArgs) -> Result<()> {
    match &args.command {
        DataCommand::Check(args) => check::run(args),
        DataCommand::Convert(args) => convert::run(args),
    }
}
