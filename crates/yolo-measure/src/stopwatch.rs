//! Milliseconds of networks on this machine: what a pruning that is asked for them goes by, and what came of it.

mod channels;
mod table;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use yolo_device::MachineCache;
use yolo_model::Checkpoint;
use yolo_report::results::Milliseconds;
use yolo_runtime::{Isa, Network, Options, Plan, Selection, Team, measure_plans};

use crate::Result;

pub use channels::ChannelTimes;

/// Times networks with the runtime, one image at a time.
pub struct Stopwatch {
    options: Options,
    image: [usize; 2],
    cache: Option<MachineCache>,
    /// Whether times that were kept count.
    is_anew: bool,
}

impl Stopwatch {
    /// Runs on `threads`, or one per core, on images of `image_size` pixels. Times are kept in the user's cache; with
    /// `is_anew`, those that are there do not count.
    ///
    /// # Errors
    /// No threads.
    pub fn new(threads: Option<u32>, image_size: usize, is_anew: bool) -> Result<Self> {
        let team = Arc::new(Team::new(threads.map_or(0, |threads| threads as usize))?);
        let options = Options {
            threads: team.threads(),
            isa: Some(Isa::detect()),
            selection: Selection::Measure,
            team: Some(team),
            ..Options::default()
        };
        Ok(Self { options, image: [image_size; 2], cache: MachineCache::new("times"), is_anew })
    }

    /// What was kept under a key.
    fn load<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.cache.as_ref().filter(|_| !self.is_anew)?.load(key)
    }

    /// Keeps what was measured.
    fn save(&self, key: &str, value: &impl Serialize) {
        if let Some(cache) = &self.cache {
            cache.save(key, value);
        }
    }

    /// What times depend on beside the network and the machine.
    fn key(&self, what: &str) -> String {
        let isa = self.options.isa.map_or("", Isa::name);
        format!("{what} {isa} {} {:?}", self.options.threads, self.image)
    }

    /// The network as `bench` runs it, from pixels to boxes.
    fn network(&self, checkpoint: &Checkpoint) -> Result<Network> {
        let fused = checkpoint.fuse()?;
        Ok(Network::of(&fused, 1, self.image)?.decoded(&fused))
    }

    /// Milliseconds of the fastest whole run of the network before and after, which take turns.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub fn whole(&self, before: &Checkpoint, after: &Checkpoint) -> Result<[f64; 2]> {
        let plan = |checkpoint| -> Result<Plan> { Ok(Plan::new(self.network(checkpoint)?, &self.options)?) };
        let plans = [plan(before)?, plan(after)?];
        let times = measure_plans(&[&plans[0], &plans[1]])?;
        Ok([times[0], times[1]])
    }

    /// The figures of a network before and after pruning, `predicted` by measured times of its parts.
    ///
    /// # Errors
    /// As [`Stopwatch::whole`].
    pub fn milliseconds(
        &self,
        predicted: [f64; 2],
        before: &Checkpoint,
        after: &Checkpoint,
    ) -> Result<Milliseconds> {
        let measured = self.whole(before, after)?;
        Ok(Milliseconds { predicted, measured, threads: self.options.threads, imgsz: self.image[0] })
    }
}
