//! The modules that networks are made of, one file each.
//!
//! A module's file holds all that is particular to it: its widths ([`ConvSpec`]s), its arguments in a yaml, its parts in
//! a pickled network, and the operations that it stands for ([`Module::lower`]). Everything else follows: names and
//! shapes of tensors and changes of width from [`Module::visit_convs`]; shapes, channels, validation, multiply-accumulates,
//! couplings, executors and export from the program. A new module is a file and a line of the [`registry`].

mod anchor_free;
mod batch_norm;
mod bottleneck;
mod bottleneck_csp;
mod c2;
mod c2_psa;
mod c2f;
mod c3;
mod c3_ghost;
mod c3_spp;
mod c3_tr;
mod c3k;
mod c3k2;
mod c3x;
mod concat;
mod contract;
mod conv;
mod conv_transpose;
mod cross_conv;
mod cross_stage;
mod detect;
mod dw_conv;
mod expand;
mod focus;
mod ghost_bottleneck;
mod ghost_conv;
mod kind;
mod lite_stem;
mod max_pool;
mod mix_conv;
mod psa_block;
pub mod registry;
mod sequence;
mod shuffle_block;
mod split_stage;
mod spp;
mod sppf;
mod stored;
mod transformer;
mod upsample;
mod zero_pad;

use std::any::Any;
use std::fmt::Debug;

pub(crate) use anchor_free::one2many_path;
pub use anchor_free::{AnchorFreeSpec, Branches, BranchesSpec};
pub use batch_norm::BatchNormSpec;
pub use bottleneck::BottleneckSpec;
pub use bottleneck_csp::BottleneckCspSpec;
pub use c2::{C2, C2Spec};
pub use c2_psa::{C2Psa, C2PsaSpec};
pub use c2f::{C2f, C2fSpec};
pub use c3::C3Spec;
pub use c3_ghost::C3GhostSpec;
pub use c3_spp::C3SppSpec;
pub use c3_tr::C3TrSpec;
pub use c3k::C3kSpec;
pub use c3k2::{C3k2, C3k2Spec};
pub use c3x::C3xSpec;
pub use concat::ConcatSpec;
pub use contract::ContractSpec;
pub use conv_transpose::ConvTransposeSpec;
pub use cross_conv::CrossConvSpec;
pub use cross_stage::{CrossStageSpec, Middle};
pub use detect::DetectSpec;
pub use dw_conv::DwConvSpec;
pub use expand::ExpandSpec;
pub use focus::FocusSpec;
pub use ghost_bottleneck::GhostBottleneckSpec;
pub use ghost_conv::GhostConvSpec;
pub use kind::{ModuleKind, Stored};
pub use lite_stem::LiteStemSpec;
pub use max_pool::MaxPoolSpec;
pub use mix_conv::MixConvSpec;
pub use psa_block::{PixelAttentionSpec, PsaBlockSpec};
pub use sequence::SequenceSpec;
pub use shuffle_block::{ShuffleBlockSpec, Stage};
pub use split_stage::{Flow, SplitStage, SplitStageSpec};
pub use spp::SppSpec;
pub use sppf::SppfSpec;
pub use transformer::{TransformerLayerSpec, TransformerSpec};
pub use upsample::UpsampleSpec;
pub use zero_pad::ZeroPadSpec;

use crate::architecture::{ConvSpec, NormSpec, TransposedSpec};
use crate::error::Result;
use crate::heads::{Head, HeadMut};
use crate::program::{Lowering, ValueId};
use crate::weights::TorchModule;

/// A module with every width spelled out.
pub trait Module: ModuleObject {
    /// What is known of all modules of its kind.
    fn kind(&self) -> &'static ModuleKind;

    /// Appends the operations that it stands for, and returns the value they make. `inputs` is not empty, and one value
    /// unless [`Module::takes_several`].
    ///
    /// # Errors
    /// Widths that do not fit each other or the inputs.
    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId>;

    /// Shows every convolution with its path in the module (`m.0.cv1`; empty where the module is one convolution), in the
    /// order of the state dict. What `visit` changes, the module takes over.
    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec));

    /// What it is in a network that PyTorch pickles: class, parts and attributes, as the kind's reader takes them apart, and
    /// the line of a yaml that builds it. Without this, a network that has the module cannot be written for YOLOv5, which
    /// is then an error that names it.
    fn to_torch(&self) -> Option<TorchModule> {
        None
    }

    /// Shows everything that owns tensors, in the order of the state dict, as [`Module::visit_convs`] does. To be written
    /// by modules that have other such parts than convolutions.
    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        self.visit_convs(&mut |path, spec| visit(path, Part::Conv(spec)));
    }

    /// PyTorch's module objects besides those of the convolutions: the module itself unless it is one convolution,
    /// containers, pools.
    fn n_wrappers(&self) -> usize;

    /// Inner repeats, such as the bottlenecks of a C3.
    fn n_repeats(&self) -> usize {
        1
    }

    /// Whether it reads several values.
    fn takes_several(&self) -> bool {
        false
    }

    /// Its own buffers, which precede its parts in the state dict: path and shape.
    fn buffers(&self) -> Vec<(&'static str, Vec<usize>)> {
        Vec::new()
    }

    /// Takes the number of its inner repeats from a state dict; `has` returns whether there is a tensor of that path.
    fn fit_repeats(&mut self, has: &dyn Fn(&str) -> bool) {
        let _ = has;
    }

    /// The name under which summaries and messages mention it.
    fn name(&self) -> &'static str {
        self.kind().name
    }

    /// The head, if it is one.
    fn head(&self) -> Option<Head<'_>> {
        None
    }

    /// [`Module::head`], to change it.
    fn head_mut(&mut self) -> Option<HeadMut<'_>> {
        None
    }
}

/// A part of a module that owns tensors, to be looked at or changed.
#[derive(Debug)]
pub enum Part<'a> {
    /// A convolution, with its batch normalisation if its form has one.
    Conv(&'a mut ConvSpec),
    /// A batch normalisation that stands alone.
    Norm(&'a mut NormSpec),
    /// A transposed convolution.
    Transposed(&'a mut TransposedSpec),
    /// A tensor of this shape whose values follow from the module and are never learned, although PyTorch counts it among
    /// the parameters. The path is that of the tensor itself.
    Constant(&'a [usize]),
}

/// [`Module::visit_convs`] of a module that writes [`Module::visit_parts`].
fn convs_among_parts(module: &mut dyn Module, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
    module.visit_parts(&mut |path, part| {
        if let Part::Conv(spec) = part {
            visit(path, spec);
        }
    });
}

/// What every module can do because it can be cloned, compared and serialised.
pub trait ModuleObject: Any + Debug + Send + Sync {
    /// A copy.
    fn clone_module(&self) -> Box<dyn Module>;
    /// Whether `other` is the same module with the same numbers.
    fn is_same(&self, other: &dyn Any) -> bool;
    /// The module as its concrete type.
    fn as_any(&self) -> &dyn Any;
    /// The module as its concrete type, to change it.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// Its fields, for files.
    fn as_serialize(&self) -> &dyn erased_serde::Serialize;
}

impl<T: Module + Clone + PartialEq + serde::Serialize> ModuleObject for T {
    fn clone_module(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn as_serialize(&self) -> &dyn erased_serde::Serialize {
        self
    }
}

/// A module of any kind.
#[derive(Debug)]
pub struct Block(Box<dyn Module>);

impl Block {
    /// A module as a block of a network.
    pub fn new(module: impl Module) -> Self {
        Self(Box::new(module))
    }

    /// The module, if it is a `T`.
    pub fn get<T: Module>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }

    /// The module, if it is a `T`, to change it.
    pub fn get_mut<T: Module>(&mut self) -> Option<&mut T> {
        self.0.as_any_mut().downcast_mut()
    }

    /// Every convolution with its path, in the order of the state dict.
    pub fn convs(&self) -> Vec<(String, ConvSpec)> {
        let mut convs = Vec::new();
        self.clone().0.visit_convs(&mut |path, spec| convs.push((path.to_owned(), spec.clone())));
        convs
    }
}

impl std::ops::Deref for Block {
    type Target = dyn Module;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self(self.0.clone_module())
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(other.0.as_any())
    }
}
