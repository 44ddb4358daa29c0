//! A checkpoint compiled for this processor, for images of any shape: plans are made when a shape is first seen.

use std::sync::{Arc, Mutex, PoisonError};

use yolo_model::{Architecture, Checkpoint};

use crate::candidates::Density;
use crate::choice::Choices;
use crate::error::{Result, RuntimeError};
use crate::isa::Isa;
use crate::network::{Network, Op};
use crate::plan::{Options, Plan, Selection};
use crate::team::Team;

/// Plans that are kept unless more are asked for. Batches come ordered by shape, so that a shape which was left seldom comes back.
const KEPT_PLANS: usize = 2;

/// Where measured kernels are kept between runs, by a key that says what they were measured for.
pub trait ChoiceStore: Send + Sync {
    /// The kernels that were measured for `key`, if they were.
    fn load(&self, key: &str) -> Option<Choices>;
    /// Keeps kernels; a failure costs the next run a measurement.
    fn save(&self, key: &str, choices: &Choices);
}

/// A detector on the CPU. It can be shared between threads; runs take turns.
pub struct Detector {
    checkpoint: Checkpoint,
    options: Options,
    store: Option<Arc<dyn ChoiceStore>>,
    state: Mutex<State>,
}

struct State {
    /// Kernels that were measured for the first shape, by layer; `None` before.
    choices: Option<Choices>,
    /// Most recently used last.
    plans: Vec<([usize; 3], Arc<Plan>)>,
    /// Plans that are kept at most.
    kept: usize,
}

/// The logits of one level, `[batch, anchors · (5 + classes), height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelLogits {
    /// The numbers, contiguous.
    pub values: Vec<f32>,
    /// Their shape.
    pub dims: [usize; 4],
}

impl Detector {
    /// Compiles `checkpoint`, fused or not, to run with `options`. Measured kernels are taken from `store` and go
    /// there.
    ///
    /// # Errors
    /// A vector unit that this processor lacks, no threads, or a checkpoint that cannot be fused.
    pub fn new(
        checkpoint: &Checkpoint,
        mut options: Options,
        store: Option<Arc<dyn ChoiceStore>>,
    ) -> Result<Self> {
        let fused = checkpoint.architecture.fused;
        let checkpoint = if fused { checkpoint.clone() } else { checkpoint.fuse()? };
        let isa = options.isa.unwrap_or_else(Isa::detect);
        isa.kernels()?;
        options.isa = Some(isa);
        if options.team.is_none() {
            options.team = Some(Arc::new(Team::new(options.threads)?));
        }
        let state = State { choices: None, plans: Vec::new(), kept: KEPT_PLANS };
        Ok(Self { checkpoint, options, store, state: Mutex::new(state) })
    }

    /// Keeps the plans of at least `count` shapes, for callers that go back and forth between this many. Each costs the
    /// memory of the packed weights.
    pub fn keep_plans(&self, count: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept = state.kept.max(count);
    }

    /// What it runs.
    pub fn architecture(&self) -> &Architecture {
        &self.checkpoint.architecture
    }

    /// The plan for `batch` images of `[height, width]`, made where it is not there yet.
    ///
    /// # Errors
    /// An image that does not fit the network's strides.
    pub fn plan(&self, batch: usize, image: [usize; 2]) -> Result<Arc<Plan>> {
        let stride = self.architecture().max_stride();
        if batch == 0 || image.iter().any(|&side| side == 0 || side % stride != 0) {
            let [height, width] = image;
            return Err(RuntimeError::Network(format!(
                "{batch} images of {height}×{width}: sides have to be multiples of {stride}"
            )));
        }
        // Plans are whole or not there, so a panic elsewhere leaves nothing half done.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = [batch, image[0], image[1]];
        if let Some(at) = state.plans.iter().position(|(known, _)| *known == shape) {
            let found = state.plans.remove(at);
            let plan = Arc::clone(&found.1);
            state.plans.push(found);
            return Ok(plan);
        }
        let choices = match &state.choices {
            Some(choices) => choices.clone(),
            None => state.choices.insert(self.choices(image)?).clone(),
        };
        let options = Options { choices, selection: Selection::Heuristic, ..self.options.clone() };
        let plan = Arc::new(Plan::new(Network::of(&self.checkpoint, batch, image)?, &options)?);
        if state.plans.len() >= state.kept {
            state.plans.remove(0);
        }
        state.plans.push((shape, Arc::clone(&plan)));
        Ok(plan)
    }

    /// Runs `images`, `[batch, 3, height, width]`, RGB in `[0, 1]`, and gives the logits of every level, finest first.
    ///
    /// # Errors
    /// As [`Detector::plan`], and a buffer of the wrong length.
    pub fn run(&self, images: &[f32], batch: usize, image: [usize; 2]) -> Result<Vec<LevelLogits>> {
        let plan = self.plan(batch, image)?;
        let mut output = vec![0.0; plan.output_len()];
        plan.run(images, &mut output)?;
        let detect = self.architecture().detect();
        let channels = detect.n_anchors() * detect.n_outputs();
        let mut rest = output.as_slice();
        let level = |stride: &usize| {
            let dims = [batch, channels, image[0] / stride, image[1] / stride];
            let (values, others) = rest.split_at(dims.iter().product());
            rest = others;
            LevelLogits { values: values.to_vec(), dims }
        };
        Ok(detect.strides.iter().map(level).collect())
    }

    /// The kernels of every convolution, measured on one image of `image`, or as the store has them.
    fn choices(&self, image: [usize; 2]) -> Result<Choices> {
        if self.options.selection == Selection::Heuristic {
            return Ok(self.options.choices.clone());
        }
        let network = Network::of(&self.checkpoint, 1, image)?;
        let key = self.key(&network);
        if let Some(choices) = self.store.as_ref().and_then(|store| store.load(&key)) {
            return Ok(choices);
        }
        let choices = Plan::new(network, &self.options)?.choices();
        if let Some(store) = &self.store {
            store.save(&key, &choices);
        }
        Ok(choices)
    }

    /// What decides which kernel is the fastest: vector unit, threads, shapes, and the zeros of every layer.
    fn key(&self, network: &Network) -> String {
        let threads = self.options.team.as_ref().map_or(1, |team| team.threads());
        let isa = self.options.isa.map_or("", Isa::name);
        let mut key = format!("{isa} {threads} {:?}", network.input);
        for op in &network.ops {
            if let Op::Conv(conv) = op {
                let density = Density::of(conv);
                let weights = conv.weight.len();
                key += &format!(" {} {weights} {:?} {:?} {density:?}", conv.name, conv.kernel, conv.stride);
            }
        }
        key
    }
}
