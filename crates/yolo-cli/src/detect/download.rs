//! Images on servers: downloaded to a folder that goes with the run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;
use yolo_fetch::{Artefact, Options, Size};

use yolo_detect::sources::ImageUrl;

/// About the size of a large photo; the most that is accepted is four times this.
const USUAL_BYTES: u64 = 64 << 20;

/// Downloads that are kept until the run is over.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    folder: Option<TempDir>,
    count: usize,
}

impl Downloads {
    /// Downloads an image; its file, which has the name that it has on the server.
    pub(crate) fn fetch(&mut self, image: &ImageUrl) -> Result<PathBuf> {
        let folder = match &self.folder {
            Some(folder) => folder,
            None => self.folder.insert(tempfile::tempdir().context("no folder for downloads can be made")?),
        };
        self.count += 1;
        let artefact = Artefact {
            name: image.file.clone(),
            urls: vec![image.url.clone()],
            size: Size::About(USUAL_BYTES),
            checksum: None,
        };
        // Images of several servers may have one name.
        let place = folder.path().join(self.count.to_string()).join(&image.file);
        let fetched = yolo_fetch::fetch(&artefact, &place, &Options::default(), &mut |_| {});
        Ok(fetched.with_context(|| format!("{}: the image cannot be downloaded", image.name))?.path)
    }
}
