//! What C3 and its relatives share: three convolutions around something in the middle.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Module, ModuleKind, SppSpec, TransformerSpec};
use crate::architecture::{ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

/// `cv3(concat[m(cv1(x)), cv2(x)])`: the branch with the middle comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossStageSpec<M> {
    /// Entry of the branch with the middle.
    pub cv1: ConvSpec,
    /// The branch beside it.
    pub cv2: ConvSpec,
    /// Joins both branches.
    pub cv3: ConvSpec,
    /// The middle: a list of blocks, or one.
    pub m: M,
}

/// What a member of the family has in the middle, under the name `m`.
pub trait Middle:
    Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What is known of the member of the family.
    const KIND: &'static ModuleKind;

    /// Its parts in a pickled network.
    ///
    /// # Errors
    /// A part that is missing or not understood.
    fn from_pickle(layer: &PickledLayer) -> Result<Self>;

    /// Appends its operations.
    ///
    /// # Errors
    /// Widths that do not fit.
    fn lower(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId>;

    /// See [`Module::visit_convs`]; paths start with `m`.
    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec));

    /// The module `m` in a network that PyTorch pickles, with the shortcut and the groups that a yaml gives the family; see
    /// [`Module::to_torch`].
    fn to_torch(&self) -> Option<(TorchModule, bool, usize)> {
        None
    }

    /// See [`Module::n_wrappers`].
    fn n_wrappers(&self) -> usize;

    /// See [`Module::n_repeats`].
    fn n_repeats(&self) -> usize {
        1
    }

    /// See [`Module::fit_repeats`].
    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        let _ = has;
    }
}

impl<M> CrossStageSpec<M> {
    /// By a line of a yaml: `input`, `hidden` and `out` channels around `middle`.
    pub(super) fn around(layer: &YamlLayer, hidden: usize, out: usize, middle: M) -> Self {
        Self {
            cv1: layer.conv(layer.input(), hidden, 1),
            cv2: layer.conv(layer.input(), hidden, 1),
            cv3: layer.conv(2 * hidden, out, 1),
            m: middle,
        }
    }
}

impl<M: Middle> CrossStageSpec<M> {
    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        Ok(Self {
            cv1: layer.child("cv1")?.conv()?,
            cv2: layer.child("cv2")?.conv()?,
            cv3: layer.child("cv3")?.conv()?,
            m: M::from_pickle(&layer.child("m")?)?,
        })
    }
}

impl<M: Middle> Module for CrossStageSpec<M> {
    fn kind(&self) -> &'static ModuleKind {
        M::KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let entry = lowering.conv("cv1", &self.cv1, inputs[0])?;
        let deep = self.m.lower(lowering, entry)?;
        let beside = lowering.conv("cv2", &self.cv2, inputs[0])?;
        let joined = lowering.concat(&[deep, beside]);
        lowering.conv("cv3", &self.cv3, joined)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("cv1", &mut self.cv1);
        visit("cv2", &mut self.cv2);
        visit("cv3", &mut self.cv3);
        self.m.visit_convs(visit);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let (hidden, out) = (self.cv1.out_channels, self.cv3.out_channels);
        let (middle, shortcut, groups) = self.m.to_torch()?;
        let expansion = TorchModule::expansion(hidden, out);
        let module = TorchModule::new(format!("models.common.{}", M::KIND.name))
            .child("cv1", TorchModule::conv_block(&self.cv1))
            .child("cv2", TorchModule::conv_block(&self.cv2))
            .child("cv3", TorchModule::conv_block(&self.cv3))
            .child("m", middle);
        let arguments = vec![out.into(), shortcut.into(), groups.into(), expansion.into()];
        Some(module.yaml(self.n_repeats(), arguments))
    }

    fn n_wrappers(&self) -> usize {
        1 + self.m.n_wrappers()
    }

    fn n_repeats(&self) -> usize {
        self.m.n_repeats()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        self.m.fit_repeats(has);
    }
}

/// A block that stands several times in the middle, one after the other.
pub trait Repeated: Module + Clone + PartialEq + Serialize + DeserializeOwned {
    /// What is known of the member of the family.
    const FAMILY: &'static ModuleKind;
    /// The path of the weight that shows that there is such a block.
    const FIRST_WEIGHT: &'static str;

    /// See [`Middle::from_pickle`].
    ///
    /// # Errors
    /// As there.
    fn of_pickle(layer: &PickledLayer) -> Result<Self>;

    /// Whether it has a shortcut, and its groups, as a line of a yaml of the family asks for them.
    fn shortcut_and_groups(&self) -> (bool, usize) {
        (true, 1)
    }
}

impl<B: Repeated> Middle for Vec<B> {
    const KIND: &'static ModuleKind = B::FAMILY;

    fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        layer.children().iter().map(B::of_pickle).collect()
    }

    fn lower(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        let mut deep = input;
        for (j, block) in self.iter().enumerate() {
            deep = lowering.within(&format!("m.{j}"), |lowering| block.lower(lowering, &[deep]))?;
        }
        Ok(deep)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        for (j, block) in self.iter_mut().enumerate() {
            block.visit_convs(&mut |path, spec| visit(&format!("m.{j}.{path}"), spec));
        }
    }

    fn to_torch(&self) -> Option<(TorchModule, bool, usize)> {
        let blocks = self.iter().map(Module::to_torch).collect::<Option<Vec<_>>>()?;
        let shortcut = !self.is_empty() && self.iter().all(|block| block.shortcut_and_groups().0);
        let groups = self.first().map_or(1, |block| block.shortcut_and_groups().1);
        Some((TorchModule::sequential(blocks), shortcut, groups))
    }

    fn n_wrappers(&self) -> usize {
        // The list, and each block.
        1 + self.iter().map(Module::n_wrappers).sum::<usize>()
    }

    fn n_repeats(&self) -> usize {
        self.len()
    }

    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        let Some(pattern) = self.first().cloned() else { return };
        let n_repeats = (0..).take_while(|j| has(&format!("m.{j}.{}", B::FIRST_WEIGHT))).count();
        *self = vec![pattern; n_repeats];
    }
}

/// The same for a single block in the middle.
macro_rules! single {
    ($spec:ty, $kind:expr) => {
        impl Middle for $spec {
            const KIND: &'static ModuleKind = &$kind;

            fn from_pickle(layer: &PickledLayer) -> Result<Self> {
                Self::of_pickle(layer)
            }

            fn lower(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
                lowering.within("m", |lowering| self.append(lowering, input))
            }

            fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
                self.visit(&mut |path, spec| visit(&format!("m.{path}"), spec));
            }

            fn n_wrappers(&self) -> usize {
                self.wrappers()
            }
        }
    };
}

single!(SppSpec, super::c3_spp::KIND);
single!(TransformerSpec, super::c3_tr::KIND);
