//! A checkpoint compiled for this processor, for images of any shape: a plan is made when a shape first occurs.

use std::sync::{Arc, Mutex, PoisonError};

use yolo_model::{Architecture, FusedCheckpoint};
use yolo_simd::Isa;

use crate::candidates::Density;
use crate::choice::Choices;
use crate::error::{Result, RuntimeError};
use crate::kernels::Kernels;
use crate::network::{Network, Op};
use crate::plan::{Options, Plan, Selection};
use crate::team::Team;

/// Plans that are kept unless more are asked for. Batches come ordered by shape, so an earlier shape seldom returns.
const KEPT_PLANS: usize = 2;

/// Stores measured kernels between runs, under a key that names what they were measured for.
pub trait ChoiceStore: Send + Sync {
    /// The kernels measured for `key`, if there are any.
    fn load(&self, key: &str) -> Option<Choices>;
    /// Stores kernels. A failure only means that the next run measures again.
    fn save(&self, key: &str, choices: &Choices);
}

/// A network that runs on the CPU. It can be shared between threads; runs take turns.
pub struct CompiledNetwork {
    checkpoint: FusedCheckpoint<'static>,
    options: Options,
    store: Option<Arc<dyn ChoiceStore>>,
    state: Mutex<State>,
}

struct State {
    /// Kernels measured for the first shape, by layer; `None` before the first plan.
    choices: Option<Choices>,
    /// Most recently used last.
    plans: Vec<([usize; 3], Arc<Plan>)>,
    /// The number of plans kept at most.
    kept: usize,
}

/// The logits of one level, `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelLogits {
    /// The numbers, contiguous.
    pub values: Vec<f32>,
    /// Their shape.
    pub dims: [usize; 4],
}

impl CompiledNetwork {
    /// Compiles `checkpoint` to run with `options`. Measured kernels are read from `store` and written to it.
    ///
    /// # Errors
    /// A vector unit that this processor lacks, or no threads.
    pub fn new(
        checkpoint: FusedCheckpoint<'_>,
        mut options: Options,
        store: Option<Arc<dyn ChoiceStore>>,
    ) -> Result<Self> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        Kernels::require(isa)?;
        options.isa = Some(isa);
        if options.team.is_none() {
            options.team = Some(Arc::new(Team::new(options.threads)?));
        }
        let state = State { choices: None, plans: Vec::new(), kept: KEPT_PLANS };
        Ok(Self { checkpoint: checkpoint.into_owned(), options, store, state: Mutex::new(state) })
    }

    /// Keeps the plans of at least `count` shapes, for callers that alternate between this many. Each plan takes the
    /// memory of the packed weights.
    pub fn keep_plans(&self, count: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept = state.kept.max(count);
    }

    /// The network's architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.checkpoint.architecture
    }

    /// The plan for `batch` images of `[height, width]`, made if there is none yet.
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

    /// Runs `images`, `[batch, 3, height, width]`, RGB in `[0, 1]`, and returns the logits of every level, finest first.
    ///
    /// # Errors
    /// As [`CompiledNetwork::plan`], and a buffer of the wrong length.
    pub fn run(&self, images: &[f32], batch: usize, image: [usize; 2]) -> Result<Vec<LevelLogits>> {
        let plan = self.plan(batch, image)?;
        let mut output = vec![0.0; plan.output_len()];
        plan.run(images, &mut output)?;
        let head = self.architecture().head();
        let mut rest = output.as_slice();
        let level = |stride: &usize| {
            let dims = [batch, head.n_channels(), image[0] / stride, image[1] / stride];
            let (values, others) = rest.split_at(dims.iter().product());
            rest = others;
            LevelLogits { values: values.to_vec(), dims }
        };
        Ok(head.strides().iter().map(level).collect())
    }

    /// The kernels of every convolution, from the store or measured on one image of size `image`.
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
