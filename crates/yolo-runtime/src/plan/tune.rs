//! The kernel of each convolution: known, guessed or measured on the layer's real shape by the real threads.

use super::lower::conv_step;
use super::{Options, Selection, exec};
use crate::candidates::{Density, families, heuristic, variants};
use crate::choice::{ConvReport, KernelId};
use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use crate::network::Conv;
use crate::steps::{ConvPlaces, Step, winograd_fits};
use crate::team::Team;
use std::collections::HashMap;

/// A candidate that needs this much longer than the best so far is not run again.
const HOPELESS: f64 = 1.25;
/// Seconds that the repeated runs of one candidate may take.
const SECONDS: f64 = 0.002;

/// Convolutions for which the same kernel is best.
#[derive(PartialEq, Eq, Hash)]
struct Case {
    weight: [usize; 4],
    strides: [[usize; 2]; 3],
    layouts: [crate::tiling::PlaneLayout; 2],
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
    known: HashMap<Case, (KernelId, Vec<(KernelId, f64)>)>,
}

impl<'a> Tuner<'a> {
    pub(crate) fn new(kernels: &'static Kernels, team: &'a Team, batch: usize, arena: &'a mut [f32]) -> Self {
        Self { kernels, team, batch, arena, known: HashMap::new() }
    }

    /// The step of a convolution on the kernel that is best for it.
    pub(crate) fn step(
        &mut self,
        conv: &Conv,
        places: &ConvPlaces,
        options: &Options,
    ) -> Result<(Step, ConvReport)> {
        let density = Density::of(conv);
        let chosen = options.choices.get(&conv.name).copied().filter(|kernel| self.exists(*kernel, conv));
        let (chosen, candidates) = match (chosen, options.selection) {
            (Some(kernel), _) => (kernel, Vec::new()),
            (None, Selection::Heuristic) => (heuristic(conv, density, self.kernels), Vec::new()),
            (None, Selection::Measure) => self.measured(conv, density, places)?,
        };
        let step = self.make(conv, chosen, places)?;
        let [out, [height, width]] = [[conv.out_channels, places.input.channels], conv.kernel];
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

    fn exists(&self, kernel: KernelId, conv: &Conv) -> bool {
        kernel.tiles(self.kernels).is_some() && (!kernel.is_winograd() || winograd_fits(kernel.family, conv))
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
            layouts: [places.input.layout.clone(), places.output.layout.clone()],
            has_residual: conv.residual.is_some(),
            is_activated: conv.activation != crate::network::Activation::None,
            density: Density { weights: round(density.weights), taps_of_four: round(density.taps_of_four) },
        };
        if let Some((kernel, times)) = self.known.get(&case) {
            return Ok((*kernel, times.clone()));
        }
        let mut times = Vec::new();
        let of_families = families(conv, density, self.kernels);
        let best = self.try_all(&of_families, conv, places, &mut times)?;
        let others = variants(best, conv, self.kernels);
        let best = self.try_all(&others, conv, places, &mut times)?;
        self.known.insert(case, (best, times.clone()));
        Ok((best, times))
    }

    /// Times `kernels`, which are added to `times`; the fastest of all in there.
    fn try_all(
        &mut self,
        kernels: &[KernelId],
        conv: &Conv,
        places: &ConvPlaces,
        times: &mut Vec<(KernelId, f64)>,
    ) -> Result<KernelId> {
        let fastest = |times: &[(KernelId, f64)]| times.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        for &kernel in kernels {
            if !self.exists(kernel, conv) {
                continue;
            }
            let step = self.make(conv, kernel, places)?;
            let best = fastest(times).map_or(f64::INFINITY, |(_, milliseconds)| milliseconds * 1e-3);
            times.push((kernel, self.time(&step, best) * 1e3));
        }
        let nothing = || RuntimeError::Network(format!("there is no kernel for {}", conv.name));
        fastest(times).map(|(kernel, _)| kernel).ok_or_else(nothing)
    }

    /// Seconds of the fastest of several runs.
    fn time(&mut self, step: &Step, best: f64) -> f64 {
        let mut scratch = exec::scratch(self.team.threads(), step.scratch(self.kernels.lanes));
        let mut run = || exec::time_step(self.team, self.kernels, self.arena, &mut scratch, step);
        // The first run brings weights and pages in.
        let mut fastest = run().min(run());
        let mut spent = 0.0;
        while spent < SECONDS && fastest < best * HOPELESS {
            let time = run();
            spent += time;
            fastest = fastest.min(time);
        }
        fastest
    }
}
