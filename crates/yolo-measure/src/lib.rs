//! Networks measured: how fast they run, side by side, and what `yolo-report` shows of them.
//!
//! | item | content |
//! |---|---|
//! | [`Contender`], [`take_turns`] | networks on any back end, and other programs, timed in turns |
//! | [`explain`] | what every convolution of a compiled network runs on, and why |
//! | [`Stopwatch`] | milliseconds that a pruning goes by, kept between runs |
//! | [`in_turns`] | the detectors of one comparison, timed in turns |
//! | [`device_peer`] | another program whose speed a device is compared with |
//! | [`figures`] | from a validation or a pruning to the types of `results.json` |
//! | [`batch_sheets`], [`samples`](fn@samples) | images as the network saw them, and with what was found |
//!
//! ```
//! use rand::SeedableRng;
//! use yolo_measure::{Contender, take_turns};
//! use yolo_model::{Architecture, Checkpoint};
//! use yolo_runtime::Options;
//!
//! let architecture = Architecture::variant("yolov5n", Some(3))?;
//! let network = Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(0))?;
//! let mut contenders = [Contender::compiled("yolov5n", &network, 1, [64, 64], &Options::default())?];
//! let timings = take_turns(&mut contenders, 3, &mut |_rounds| true)?;
//! println!("{:.1} ms", timings.expect("nobody stopped it")[0].ms_per_image);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing is printed; what takes long reports to a callback.

pub mod batch_sheets;
mod contender;
pub mod device_peer;
mod error;
pub mod figures;
mod samples;
mod stopwatch;
mod turns;

pub use contender::{Agreement, Contender, WARM_UP, explain, take_turns};
pub use error::{MeasureError, Result};
pub use samples::samples;
pub use stopwatch::{ChannelTimes, Stopwatch};
pub use turns::{MOST_ROUNDS, in_turns};
