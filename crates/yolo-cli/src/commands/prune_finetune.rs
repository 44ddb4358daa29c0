//! stub for now
use anyhow::Result;
pub(crate) fn run(_args: &crate::args::PruneFinetuneArgs) -> Result<()> {
    anyhow::bail!("todo")
}
