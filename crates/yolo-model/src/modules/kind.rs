//! What is known of a kind of module: its names, and how one is read.

use crate::architecture::{PickledLayer, YamlLayer};
use crate::error::Result;
use crate::modules::Block;

/// A kind of module.
#[derive(Debug)]
pub struct ModuleKind {
    /// Its class in PyTorch, which is also its name in yamls, summaries and messages: `SPPF`.
    pub name: &'static str,
    /// Its name in our own files.
    pub key: &'static str,
    /// Whether a yaml's repeats go to the module itself.
    pub takes_repeats: bool,
    /// Makes one from a line of a model yaml.
    pub from_yaml: fn(&YamlLayer) -> Result<Block>,
    /// Makes one from a module of a pickled network.
    pub from_pickle: fn(&PickledLayer) -> Result<Block>,
    /// Makes one from our own files.
    pub stored: Stored,
}

/// How a module stands in our own files.
#[derive(Debug)]
pub enum Stored {
    /// As its name alone.
    Name(fn() -> Block),
    /// As its name with fields.
    Fields(fn(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<Block>),
}

impl Stored {
    /// With the fields of `T`.
    pub const fn fields<T: super::Module + serde::de::DeserializeOwned>() -> Self {
        Self::Fields(|deserializer| erased_serde::deserialize::<T>(deserializer).map(Block::new))
    }
}
