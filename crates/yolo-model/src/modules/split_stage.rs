//! What C2f and its relatives share: a convolution whose output is cut in two, blocks, and a convolution that joins.

use std::fmt::Debug;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::{Block, BottleneckSpec, Module, ModuleKind};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

/// The output of `cv1` is cut into a first and a second half `a` and `b`, the first being the larger one of an odd number;
/// `cv2` joins what the blocks `m` make of them: see [`Flow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitStageSpec<F> {
    /// Makes the first half where scripts for pruning cut the entry into two convolutions; `cv1` then makes the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cv0: Option<ConvSpec>,
    /// Entry.
    pub cv1: ConvSpec,
    /// Joins the parts.
    pub cv2: ConvSpec,
    /// The blocks.
    pub m: Vec<Block>,
    #[serde(skip)]
    family: PhantomData<F>,
}

/// Which parts go through the blocks, and which go to `cv2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// `cv2(concat[a, b, m₀(b), m₁(m₀(b)), …])`.
    Dense,
    /// `cv2(concat[m(a), b])`.
    First,
    /// `cv2(concat[a, m(b)])`.
    Second,
}

/// A member of the family.
pub trait SplitStage: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// What is known of it.
    const KIND: &'static ModuleKind;
    /// What goes where.
    const FLOW: Flow;

    /// The arguments of a yaml behind the output channels.
    fn arguments(stage: &SplitStageSpec<Self>, expansion: f64) -> Vec<PlainValue>;
}

impl<F: SplitStage> SplitStageSpec<F> {
    /// By a line of a yaml: `hidden` channels in each half, `out` channels in the end.
    pub(super) fn around(layer: &YamlLayer, hidden: usize, out: usize, m: Vec<Block>) -> Self {
        let parts = 2 + if F::FLOW == Flow::Dense { m.len() } else { 0 };
        Self {
            cv0: None,
            cv1: layer.conv(layer.input(), 2 * hidden, 1),
            cv2: layer.conv(parts * hidden, out, 1),
            m,
            family: PhantomData,
        }
    }

    /// By a line of a yaml with the arguments `[out, shortcut, groups, expansion]`: the blocks are bottlenecks, with shortcuts
    /// by default where `shortcut` says so.
    pub(super) fn of_bottlenecks(layer: &YamlLayer, shortcut: bool) -> Result<Self> {
        let out = layer.width(layer.int(0)?);
        let (shortcut, groups) = (layer.bool_or(1, shortcut)?, layer.int_or(2, 1)?);
        let hidden = layer.hidden(out, 3, 0.5)?;
        let bottleneck = BottleneckSpec::wide(layer, [hidden; 3], shortcut, groups);
        Ok(Self::around(layer, hidden, out, vec![Block::new(bottleneck); layer.repeats()]))
    }

    /// What [`SplitStageSpec::of_bottlenecks`] reads behind the output channels.
    pub(super) fn bottleneck_arguments(&self, expansion: f64) -> Vec<PlainValue> {
        let bottleneck = self.first::<BottleneckSpec>();
        let (shortcut, groups) = bottleneck.map_or((false, 1), |block| (block.add, block.cv2.groups));
        vec![shortcut.into(), groups.into(), expansion.into()]
    }

    /// The parts of a pickled network.
    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self {
            cv0: layer.child("cv0").ok().map(|conv| conv.conv()).transpose()?,
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.conv()?,
            m: layer.child("m")?.children().iter().map(PickledLayer::block).collect::<Result<_>>()?,
            family: PhantomData,
        })
    }

    /// The first block, as a `T`.
    pub(super) fn first<T: Module>(&self) -> Option<&T> {
        self.m.first().and_then(|block| block.get())
    }

    /// The two halves.
    fn halves(&self, lowering: &mut Lowering, input: ValueId) -> Result<[ValueId; 2]> {
        if let Some(cv0) = &self.cv0 {
            let first = lowering.conv("cv0", cv0, input)?;
            return Ok([first, lowering.conv("cv1", &self.cv1, input)?]);
        }
        let entry = lowering.conv("cv1", &self.cv1, input)?;
        let channels = self.cv1.out_channels;
        let middle = channels.div_ceil(2);
        Ok([lowering.slice(0..middle, entry)?, lowering.slice(middle..channels, entry)?])
    }

    fn block(&self, index: usize, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        lowering.within(&format!("m.{index}"), |lowering| self.m[index].lower(lowering, &[input]))
    }

    /// What goes to `cv2`, in order.
    fn parts(&self, lowering: &mut Lowering, [first, second]: [ValueId; 2]) -> Result<Vec<ValueId>> {
        let mut through = if F::FLOW == Flow::First { first } else { second };
        let mut parts = vec![first, second];
        for index in 0..self.m.len() {
            through = self.block(index, lowering, through)?;
            if F::FLOW == Flow::Dense {
                parts.push(through);
            }
        }
        match F::FLOW {
            Flow::Dense => {}
            Flow::First => parts[0] = through,
            Flow::Second => parts[1] = through,
        }
        Ok(parts)
    }
}

impl<F: SplitStage> Module for SplitStageSpec<F> {
    fn kind(&self) -> &'static ModuleKind {
        F::KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let halves = self.halves(lowering, inputs[0])?;
        let parts = self.parts(lowering, halves)?;
        let joined = lowering.concat(&parts);
        lowering.conv("cv2", &self.cv2, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        if let Some(cv0) = &mut self.cv0 {
            visit("cv0", cv0);
        }
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
        for (j, block) in self.m.iter_mut().enumerate() {
            block.visit_convs(&mut |path, spec| visit(&format!("m.{j}.{path}"), spec));
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        // A class of one convolution more is the script's own, and nothing else has it.
        if self.cv0.is_some() {
            return None;
        }
        let blocks = self.m.iter().map(|block| block.to_torch()).collect::<Option<Vec<_>>>()?;
        let (hidden, out) = (self.cv1.out_channels.div_ceil(2), self.cv2.out_channels);
        let blocks = match F::FLOW {
            Flow::Dense => TorchModule::list(blocks),
            Flow::First | Flow::Second => TorchModule::sequential(blocks),
        };
        let module = TorchModule::new(format!("ultralytics.nn.modules.block.{}", F::KIND.name))
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .child("m", blocks)
            .attribute("c", hidden);
        let rest = F::arguments(self, TorchModule::expansion(hidden, out));
        Some(module.yaml(self.m.len(), [vec![out.into()], rest].concat()))
    }

    fn n_wrappers(&self) -> usize {
        // The block and its list, and each of these.
        2 + self.m.iter().map(|block| block.n_wrappers()).sum::<usize>()
    }

    fn n_repeats(&self) -> usize {
        self.m.len()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        let Some(pattern) = self.m.first().cloned() else { return };
        let mut first_weight = None;
        pattern.clone().visit_convs(&mut |path, _| {
            first_weight.get_or_insert_with(|| format!("{path}.conv.weight"));
        });
        let Some(weight) = first_weight else { return };
        self.m = vec![pattern; (0..).take_while(|j| has(&format!("m.{j}.{weight}"))).count()];
    }
}
