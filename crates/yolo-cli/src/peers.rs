//! What goes wrong with `--peer`, in the words of the flag.

use anyhow::{Error, anyhow};
use yolo_measure::MeasureError;

/// `error` with the flag, where it is about the peer; `empty` is what to say of an empty command.
pub(crate) fn about_peer(error: MeasureError, empty: &'static str) -> Error {
    match error {
        MeasureError::NoPeer => anyhow!(empty),
        MeasureError::Peer { .. } => anyhow!("--peer {error}"),
        MeasureError::PeerFigure { line, source } => anyhow!("--peer: {line}: {source}"),
        other => other.into(),
    }
}
