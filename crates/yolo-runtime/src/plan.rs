//! A network made ready to run: fixed steps, one arena, packed weights.

mod budget;
mod exec;
mod homes;
mod lower;
mod tune;
mod values;

use crate::choice::{Choices, ConvReport};
use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use crate::memory::AlignedBuffer;
use crate::network::{Network, Op};
use crate::noise::Noise;
use crate::steps::Step;
use crate::team::Team;
use crate::tiling::Tiling;
use exec::Workspace;
use std::sync::{Arc, Mutex, PoisonError};
use yolo_simd::Isa;

/// How kernels are found for convolutions that [`Options::choices`] does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// By rules. Plans are made at once and are the same every time.
    #[default]
    Heuristic,
    /// By timing candidates on the layer's real shape with the plan's threads.
    Measure,
}

/// How a plan is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads, the caller's included; 0 means as many as there are cores. Not used where `team` is given.
    pub threads: usize,
    /// The vector unit; `None` for the best that there is.
    pub isa: Option<Isa>,
    /// How kernels are found.
    pub selection: Selection,
    /// Kernels that are known already, from an earlier plan's [`Plan::choices`] on this machine with the same
    /// unit, threads and shapes. Those that do not exist for the unit are passed over.
    pub choices: Choices,
    /// Threads to share with other plans.
    pub team: Option<Arc<Team>>,
    /// By which share of the network's weights their packed forms may exceed them for the sake of speed: short
    /// convolutions need more weights than they replace.
    pub weight_growth: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 0,
            isa: None,
            selection: Selection::Heuristic,
            choices: Choices::new(),
            team: None,
            weight_growth: 0.38,
        }
    }
}

/// Bytes that a plan holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights and biases, without the zeros that are skipped.
    pub weights: usize,
    /// Lists of taps, pixels and borders.
    pub indices: usize,
    /// All activations.
    pub arena: usize,
    /// The largest set of activations that are needed at one time: what the arena cannot be smaller than.
    pub live: usize,
    /// Room of the threads for partial sums.
    pub scratch: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.indices + self.arena + self.scratch
    }
}

/// A network that is ready to run on images of one shape.
///
/// It can be shared between threads; runs of one plan, or of plans that share a [`Team`], take turns.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    kernels: &'static Kernels,
    isa: Isa,
    team: Arc<Team>,
    workspace: Mutex<Workspace>,
    reports: Vec<ConvReport>,
    memory: Memory,
    input_len: usize,
    output_len: usize,
    grid: [usize; 2],
}

impl Plan {
    /// Plans a network.
    ///
    /// # Errors
    /// [`RuntimeError`] where the network does not fit together or an option cannot be had.
    pub fn new(mut network: Network, options: &Options) -> Result<Self> {
        network.shapes()?;
        network.fuse_residuals();
        let shapes = network.shapes()?;
        let isa = options.isa.unwrap_or_else(Isa::detect);
        let kernels = Kernels::require(isa)?;
        let team = match &options.team {
            Some(team) => Arc::clone(team),
            None => Arc::new(Team::new(options.threads)?),
        };
        let tiling = Tiling::choose(&network, &shapes, kernels.lanes)?;
        let values = values::Values::new(&network, &shapes, &tiling);
        check_distances(&values)?;
        let mut arena = AlignedBuffer::zeroed(values.arena);
        if options.selection == Selection::Measure {
            fill_with_noise(arena.as_mut_slice());
        }
        let limit = weight_bytes(&network) * (1.0 + options.weight_growth);
        let spare = weight_bytes(&network) * options.weight_growth;
        let mut tuner = tune::Tuner::new(kernels, &team, network.batch, arena.as_mut_slice(), spare as usize);
        let mut lowering = lower::Lowering::new(&network, &values, kernels, team.threads());
        lowering.run(&mut tuner, options)?;
        if options.selection == Selection::Measure && budget::keep_within(&mut lowering.reports, limit) {
            lowering = lowering.again(&mut tuner, options)?;
        }
        let border_bytes = lowering.border_bytes();
        let (steps, reports) = (lowering.steps, lowering.reports);
        let scratch = steps.iter().map(|step| step.scratch(kernels.lanes)).max().unwrap_or(0);
        let workspace = Workspace {
            arena,
            scratch: exec::scratch(team.threads(), scratch),
            counters: steps.iter().map(|_| Default::default()).collect(),
        };
        let bytes = |of: fn(&Step) -> usize| steps.iter().map(of).sum::<usize>();
        let memory = Memory {
            weights: bytes(Step::weight_bytes),
            indices: bytes(Step::index_bytes) + border_bytes,
            arena: workspace.arena.bytes(),
            live: values.live * size_of::<f32>(),
            scratch: workspace.scratch.bytes(),
        };
        Ok(Self {
            kernels,
            isa,
            workspace: Mutex::new(workspace),
            reports,
            memory,
            input_len: network.batch * network.input.iter().product::<usize>(),
            output_len: network.output_len(&shapes),
            grid: tiling.grid,
            team,
            steps,
        })
    }

    /// Runs the network: `input` is `[batch, channels, height, width]`, and `output` what the network's
    /// [`crate::Output`] says. Allocates nothing.
    ///
    /// # Errors
    /// [`RuntimeError::Length`] for a buffer of the wrong length.
    pub fn run(&self, input: &[f32], output: &mut [f32]) -> Result<()> {
        self.execute(input, output, None)
    }

    /// Runs the network and gives the seconds of each step, with its name, in order.
    ///
    /// # Errors
    /// As for [`Plan::run`].
    pub fn profile(&self, input: &[f32], output: &mut [f32]) -> Result<Vec<(String, f64)>> {
        let ends = exec::Ends::new(self.steps.len());
        self.execute(input, output, Some(&ends))?;
        Ok(self.steps.iter().map(Step::name).zip(ends.seconds()).collect())
    }

    fn execute(&self, input: &[f32], output: &mut [f32], ends: Option<&exec::Ends>) -> Result<()> {
        check_length("the input", self.input_len, input.len())?;
        check_length("the output", self.output_len, output.len())?;
        // A run that panicked leaves nothing in the workspace that the next one relies on.
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        exec::run_steps(&self.team, self.kernels, &self.steps, &mut workspace, input, output, ends);
        Ok(())
    }

    /// Numbers of the input.
    pub fn input_len(&self) -> usize {
        self.input_len
    }

    /// Numbers of the output.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// The vector unit that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads that it runs on.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The team that it runs on, to share with other plans.
    pub fn team(&self) -> Arc<Team> {
        Arc::clone(&self.team)
    }

    /// Rows and columns of the grid of tiles whose pixels share a vector.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// What it holds.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Every convolution with its kernel, in order of execution.
    pub fn convolutions(&self) -> &[ConvReport] {
        &self.reports
    }

    /// The kernels that were chosen, for [`Options::choices`] of a later plan.
    pub fn choices(&self) -> Choices {
        self.reports.iter().map(|report| (report.name.clone(), report.chosen)).collect()
    }
}

/// Bytes of the weights as they are.
fn weight_bytes(network: &Network) -> f64 {
    let weights = |op: &Op| if let Op::Conv(conv) = op { conv.weight.len() } else { 0 };
    (network.ops.iter().map(weights).sum::<usize>() * size_of::<f32>()) as f64
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(RuntimeError::Length { what, expected, found }) }
}

/// Distances inside an image are 32-bit numbers.
fn check_distances(values: &values::Values) -> Result<()> {
    if values.places.iter().any(|place| u32::try_from(place.image).is_err()) {
        return Err(RuntimeError::Network("an image's activations exceed 2³² numbers".to_owned()));
    }
    Ok(())
}

/// Numbers like activations, so that kernels are not timed on zeros or denormals.
fn fill_with_noise(numbers: &mut [f32]) {
    let mut noise = Noise::new();
    for number in numbers {
        *number = noise.unit() as f32 - 0.3;
    }
}
