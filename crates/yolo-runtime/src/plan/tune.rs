//! The kernel of each convolution: known, guessed or measured on the layer's real shape by the real threads.

use super::lower::conv_step;
use super::{Options, Selection, exec};
use crate::candidates::{Density, families, heuristic, variants};
use crate::choice::{ConvReport, KernelId};
use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use crate::memory::AlignedBuffer;
use crate::network::Conv;
use crate::steps::{ConvPlaces, Entries, Step, depthwise_fits, winograd_fits};
use crate::team::Team;
use std::collections::HashMap;

/// A candidate that needs this much longer than the best so far is not run again.
const HOPELESS: f64 = 1.25;
/// How often candidates run in turn: until the fastest has run for `SECONDS`, within these bounds.
const SECONDS: f64 = 0.002;
const FEWEST_ROUNDS: u32 = 4;
const MOST_ROUNDS: u32 = 24;
/// Candidates that run again, against variants of the fastest.
const FINALISTS: usize = 3;

/// A candidate.
struct Trial {
    kernel: KernelId,
    /// Of its fastest run.
    seconds: f64,
    /// The step with its scratch, as long as the candidate is among the fastest.
    step: Option<(Step, AlignedBuffer)>,
}

/// Convolutions for which the same kernel is best.
#[derive(PartialEq, Eq, Hash)]
struct Case {
    weight: [usize; 4],
    strides: [[usize; 2]; 3],
    groups: usize,
    layouts: [crate::tiling::PlaneLayout; 2],
    has_twin: bool,
    has_residual: bool,
    is_activated: bool,
    density: Density,
}

/// Finds kernels.
pub(crate) struct Tuner<'a> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) team: &'a Team,
    pub(crate) batch: usize,
    /// The arena of the plan in the making; its contents do not matter yet.
    pub(crate) arena: &'a mut [f32],
    /// Bytes by which the weights of the convolutions to come may grow where kernels are guessed.
    spare: usize,
    known: HashMap<Case, (KernelId, Vec<(KernelId, f64)>)>,
}

impl<'a> Tuner<'a> {
    pub(crate) fn new(
        kernels: &'static Kernels,
        team: &'a Team,
        batch: usize,
        arena: &'a mut [f32],
        spare: usize,
    ) -> Self {
        Self { kernels, team, batch, arena, spare, known: HashMap::new() }
    }

    /// The step of a convolution on the kernel that is best for it.
    pub(crate) fn step(
        &mut self,
        conv: &Conv,
        places: &ConvPlaces,
        options: &Options,
    ) -> Result<(Step, ConvReport)> {
        let density = Density::of(conv);
        let chosen =
            options.choices.get(&conv.name).copied().filter(|kernel| self.exists(*kernel, conv, places));
        let (chosen, candidates) = match (chosen, options.selection) {
            (Some(kernel), _) => (kernel, Vec::new()),
            (None, Selection::Heuristic) => (self.guess(conv, density), Vec::new()),
            (None, Selection::Measure) => self.measured(conv, density, places)?,
        };
        self.spare = self.spare.saturating_sub(chosen.extra_bytes(conv));
        let step = self.make(conv, chosen, places)?;
        let inputs = places.input.channels / conv.groups;
        let [out, [height, width]] = [[conv.out_channels, inputs], conv.kernel];
        let size = places.output.layout.size;
        let operations = 2 * conv.weight.len() * size[0] * size[1] * self.batch;
        let zeros = conv.weight.iter().filter(|&&weight| weight == 0.0).count();
        let report = ConvReport {
            name: conv.name.clone(),
            weight: [out[0], out[1], height, width],
            stride: conv.stride,
            size,
            sparsity: zeros as f64 / conv.weight.len().max(1) as f64,
            gflop: operations as f64 * 1e-9,
            candidates,
            chosen,
        };
        Ok((step, report))
    }

    fn guess(&self, conv: &Conv, density: Density) -> KernelId {
        heuristic(conv, density, self.kernels, self.spare)
    }

    fn exists(&self, kernel: KernelId, conv: &Conv, places: &ConvPlaces) -> bool {
        if kernel == KernelId::DEPTHWISE {
            depthwise_fits(conv)
        } else if kernel.is_winograd() {
            kernel.batches(self.kernels).is_some() && winograd_fits(kernel.family, conv)
        } else {
            Entries::of(kernel, conv, places, self.kernels).is_some()
        }
    }

    fn make(&self, conv: &Conv, kernel: KernelId, places: &ConvPlaces) -> Result<Step> {
        conv_step(conv, kernel, places, (self.kernels, self.batch, self.team.threads()))
            .ok_or_else(|| RuntimeError::Network(format!("there is no kernel {kernel}")))
    }

    fn measured(
        &mut self,
        conv: &Conv,
        density: Density,
        places: &ConvPlaces,
    ) -> Result<(KernelId, Vec<(KernelId, f64)>)> {
        let round = |share: u32| share.div_ceil(20) * 20;
        let case = Case {
            weight: [conv.out_channels, places.input.channels, conv.kernel[0], conv.kernel[1]],
            strides: [conv.stride, conv.padding, conv.dilation],
            groups: conv.groups,
            layouts: [places.input.layout.clone(), places.output.layout.clone()],
            has_twin: places.twin.is_some(),
            has_residual: conv.residual.is_some(),
            is_activated: conv.activation != crate::network::Activation::None,
            density: Density { weights: round(density.weights), taps_of_four: round(density.taps_of_four) },
        };
        if let Some((kernel, times)) = self.known.get(&case) {
            return Ok((*kernel, times.clone()));
        }
        let mut trials = Vec::new();
        self.enter(&families(conv, density, self.kernels), conv, places, &mut trials)?;
        self.compete(&mut trials);
        if let Some(best) = trials.first() {
            let others = variants(best.kernel, conv, self.kernels);
            self.enter(&others, conv, places, &mut trials)?;
            self.compete(&mut trials);
        }
        let best = trials.first().map_or_else(|| self.guess(conv, density), |trial| trial.kernel);
        let times: Vec<_> = trials.iter().map(|trial| (trial.kernel, trial.seconds * 1e3)).collect();
        self.known.insert(case, (best, times.clone()));
        Ok((best, times))
    }

    /// Adds `kernels` to `trials` and runs each once, which brings its weights and pages in.
    fn enter(
        &mut self,
        kernels: &[KernelId],
        conv: &Conv,
        places: &ConvPlaces,
        trials: &mut Vec<Trial>,
    ) -> Result<()> {
        for &kernel in kernels {
            if self.exists(kernel, conv, places) && trials.iter().all(|trial| trial.kernel != kernel) {
                let step = self.make(conv, kernel, places)?;
                let scratch = exec::scratch(self.team.threads(), step.scratch(self.kernels.lanes));
                let mut trial = Trial { kernel, seconds: f64::INFINITY, step: Some((step, scratch)) };
                self.run(&mut trial);
                trials.push(trial);
            }
        }
        Ok(())
    }

    /// Runs all that are not hopeless in turn, so that whatever slows the machine down meanwhile slows all of them,
    /// and sorts them, the fastest first.
    fn compete(&mut self, trials: &mut [Trial]) {
        for round in 0..MOST_ROUNDS {
            trials.iter_mut().for_each(|trial| self.run(trial));
            let best = trials.iter().map(|trial| trial.seconds).fold(f64::INFINITY, f64::min);
            for trial in trials.iter_mut().filter(|trial| trial.seconds > best * HOPELESS) {
                trial.step = None;
            }
            if round + 1 >= FEWEST_ROUNDS && f64::from(round + 1) * best > SECONDS {
                break;
            }
        }
        trials.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        trials.iter_mut().skip(FINALISTS).for_each(|trial| trial.step = None);
    }

    /// Runs a candidate and keeps its time if that is its best.
    fn run(&mut self, trial: &mut Trial) {
        let Some((step, scratch)) = &mut trial.step else { return };
        let seconds = exec::time_step(self.team, self.kernels, self.arena, scratch, step);
        trial.seconds = trial.seconds.min(seconds);
    }
}
