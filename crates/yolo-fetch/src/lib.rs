//! Verified downloads: released weights and COCO.
//!
//! A download goes to `NAME.part`, survives interruption, and appears as `NAME` only when its size and checksum
//! are right. Archives are unpacked beside their destination and moved into place; files that were there stay.
//! Nothing is printed: whoever calls gets [`Event`]s.
//!
//! ```no_run
//! use std::path::Path;
//! use yolo_fetch::{Options, fetch_weights};
//!
//! let path = fetch_weights("yolov5n", Path::new("weights"), &Options::default(), &mut |_| {})?;
//! assert_eq!(path, Path::new("weights/yolov5n.pt"));
//! # Ok::<(), yolo_fetch::FetchError>(())
//! ```

pub mod artefacts;
pub mod coco;
mod disk;
pub mod download;
mod error;
pub mod extract;
mod http;
mod lock;
mod options;
mod part;
mod verify;

pub use artefacts::{Algorithm, Artefact, Checksum, Confidence, Size};
pub use download::{Fetched, fetch, fetch_weights};
pub use error::{FetchError, Result};
pub use options::{Event, FreeSpace, Limits, Options, Progress, Sleep};
