//! `--source` → images and videos, in order.

use std::error::Error as _;

use anyhow::{Error, Result, anyhow};
use yolo_data::nearby::suggestion;
use yolo_detect::sources::{self, LeftOut, Source, SourceError};

/// Everything that `source` means; what is passed over is warned of.
pub(crate) fn find(source: &str) -> Result<Vec<Source>> {
    let mut warn = |LeftOut { place, error }: LeftOut<'_>| match place {
        Some((list, line)) => {
            tracing::warn!("{}:{line}: left out: {}", list.display(), with_flag(&error));
        }
        None => tracing::warn!("left out: {error}"),
    };
    sources::find(source, &mut warn).map_err(|error| with_cause(&error))
}

fn with_cause(error: &SourceError) -> Error {
    let message = with_flag(error);
    error.source().map_or_else(|| anyhow!("{message}"), |cause| anyhow!("{message}: {cause}"))
}

/// What `error` says, with the flag that it is about.
fn with_flag(error: &SourceError) -> String {
    match error {
        SourceError::Empty => {
            "--source is empty; name an image, a video, a folder, a list or a stream".to_owned()
        }
        SourceError::Screen { .. } | SourceError::Webcam { .. } => format!("--source {error}"),
        SourceError::Missing { path } => format!("{error}; check --source{}", suggestion(path)),
        SourceError::Link { .. }
        | SourceError::Kind { .. }
        | SourceError::EmptyFolder { .. }
        | SourceError::Pattern { .. }
        | SourceError::NoMatch { .. }
        | SourceError::EmptyList { .. } => format!("{error}; check --source"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_name_the_flag_where_it_helps() {
        let message = |source: &str| find(source).map(drop).unwrap_err().to_string();
        assert!(message(" ").starts_with("--source is empty"));
        assert!(message("screen 0").starts_with("--source screen 0: the screen is not captured"));
        assert_eq!(message("none.jpg"), "none.jpg: no such file or folder; check --source");
        assert!(message("a[").contains("a[: not a pattern of file names; check --source: "));
        assert!(message("ftp://host/a.mp4").ends_with("use rtsp, rtmp, http, tcp or udp"));
    }
}
