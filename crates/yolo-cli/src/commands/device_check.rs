//! `device-check`: whether a device computes what the processor does, and how fast.

use anyhow::{Result, bail};

use crate::args::DeviceCheckArgs;
use crate::console::Output;
use crate::device_check::{Outcome, run as run_checks, table};

/// Prints a row for each comparison, and all of them as a table at the end.
pub(crate) fn run(args: &DeviceCheckArgs) -> Result<()> {
    let output = Output::new(args.json);
    let rows = run_checks(args, |row| tracing::info!("{}", row.line()))?;
    for line in table(&rows) {
        output.line(line)?;
    }
    output.json(&rows)?;
    let failed = rows.iter().filter(|row| row.outcome == Outcome::Failed).count();
    if failed > 0 {
        bail!(
            "--device {}: {failed} of {} checks failed; they are marked in the table",
            args.device,
            rows.len()
        );
    }
    Ok(())
}
