//! A module of PyTorch as it is written into a pickled network: the counterpart of
//! [`PickledModule`](super::PickledModule).
//!
//! It names its tensors and does not hold them: their values are those of the state dict, under the names that follow from
//! the places of the modules in each other.

use super::{HostTensor, PlainValue};

/// A module of PyTorch: class, names of its tensors, attributes and parts.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchModule {
    pub(crate) class: String,
    /// Names, and whether the module has that parameter: those without are there as `None`.
    pub(crate) parameters: Vec<(&'static str, bool)>,
    pub(crate) buffers: Vec<&'static str>,
    pub(crate) attributes: Vec<(&'static str, TorchAttribute)>,
    pub(crate) children: Vec<(String, TorchModule)>,
    /// Names of parts that are there as `None`, before the others.
    pub(crate) absent: Vec<&'static str>,
    pub(crate) yaml: Option<(usize, Vec<PlainValue>)>,
    /// Whether all modules like it are one object.
    pub(crate) is_shared: bool,
}

/// An attribute of a [`TorchModule`].
#[derive(Debug, Clone, PartialEq)]
pub enum TorchAttribute {
    /// Plain data. Tensors of other files and values that were not understood are none.
    Plain(PlainValue),
    /// A tensor that is neither parameter nor buffer.
    Tensor(HostTensor),
    /// A list of tensors.
    Tensors(Vec<HostTensor>),
}

impl<T: Into<PlainValue>> From<T> for TorchAttribute {
    fn from(value: T) -> Self {
        Self::Plain(value.into())
    }
}

impl TorchModule {
    /// A module of the class with this dotted path, such as `models.common.C3`, without tensors, attributes and parts.
    pub fn new(class: impl Into<String>) -> Self {
        let (parameters, buffers, attributes) = Default::default();
        let class = class.into();
        Self {
            class,
            parameters,
            buffers,
            attributes,
            children: Vec::new(),
            absent: Vec::new(),
            yaml: None,
            is_shared: false,
        }
    }

    /// With a parameter behind those it has; without `exists` it is `None`, as the bias of a convolution without bias.
    #[must_use]
    pub fn parameter(mut self, name: &'static str, exists: bool) -> Self {
        self.parameters.push((name, exists));
        self
    }

    /// With a buffer behind those it has.
    #[must_use]
    pub fn buffer(mut self, name: &'static str) -> Self {
        self.buffers.push(name);
        self
    }

    /// With an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<TorchAttribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// With a part behind those it has.
    #[must_use]
    pub fn child(mut self, name: impl Into<String>, child: TorchModule) -> Self {
        self.children.push((name.into(), child));
        self
    }

    /// With a part that is `None`, before those it has.
    #[must_use]
    pub fn absent_child(mut self, name: &'static str) -> Self {
        self.absent.push(name);
        self
    }

    /// With what a model yaml says to build it from its inputs, where multiples are 1 and nothing is rounded: repeats and
    /// arguments. What it describes is checked against the module, so a yaml that comes close is as good as none.
    #[must_use]
    pub fn yaml(mut self, repeats: usize, arguments: Vec<PlainValue>) -> Self {
        self.yaml = Some((repeats, arguments));
        self
    }

    /// `nn.Sequential` of modules that are called 0, 1, 2, …
    pub fn sequential(children: impl IntoIterator<Item = TorchModule>) -> Self {
        Self::container("torch.nn.modules.container.Sequential", children)
    }

    /// `nn.ModuleList` of modules that are called 0, 1, 2, …
    pub fn list(children: impl IntoIterator<Item = TorchModule>) -> Self {
        Self::container("torch.nn.modules.container.ModuleList", children)
    }

    fn container(class: &'static str, children: impl IntoIterator<Item = TorchModule>) -> Self {
        let children = children.into_iter().enumerate();
        children.fold(Self::new(class), |list, (index, child)| list.child(index.to_string(), child))
    }

    /// Makes the activations of all blocks below it one object if they are like `usual`, as releases since 6.2 have it.
    pub(crate) fn share_activations(&mut self, usual: &TorchModule) {
        let is_block =
            ["conv", "bn", "act"].iter().all(|part| self.children.iter().any(|(name, _)| name == part));
        for (name, child) in &mut self.children {
            if is_block && name == "act" && child == usual {
                child.is_shared = true;
            }
            child.share_activations(usual);
        }
    }

    /// Objects without parts, without the shared activation, and of a `fused` network without batch normalisation.
    pub(crate) fn n_leaves(&self, fused: bool) -> usize {
        if self.children.is_empty() {
            let is_folded = fused && self.class.ends_with(".BatchNorm2d");
            return usize::from(!is_folded && !self.class.ends_with(".SiLU"));
        }
        self.children.iter().map(|(_, child)| child.n_leaves(fused)).sum()
    }

    /// The dotted path that a layer's attribute `type` holds, which for repeats in a row is that of the repeated module.
    pub(crate) fn layer_type(&self) -> &str {
        match self.children.first() {
            Some((_, first)) if self.class.ends_with(".Sequential") => &first.class,
            _ => &self.class,
        }
    }

    /// The name of [`TorchModule::layer_type`] in a yaml: `Conv`, `nn.Upsample`.
    pub(crate) fn yaml_name(&self) -> String {
        let path = self.layer_type();
        let name = path.rsplit('.').next().unwrap_or_default();
        if path.starts_with("torch.nn.") { format!("nn.{name}") } else { name.to_owned() }
    }

    /// Names of all tensors in the order of PyTorch's `state_dict()`, below `prefix`, which ends in a dot or is empty.
    pub(crate) fn tensor_names(&self, prefix: &str, names: &mut Vec<String>) {
        let parameters = self.parameters.iter().filter(|(_, exists)| *exists).map(|(name, _)| name);
        names.extend(parameters.chain(&self.buffers).map(|name| format!("{prefix}{name}")));
        for (name, child) in &self.children {
            child.tensor_names(&format!("{prefix}{name}."), names);
        }
    }

    /// Names of the parameters among [`TorchModule::tensor_names`].
    pub(crate) fn parameter_names(&self, prefix: &str, names: &mut Vec<String>) {
        let parameters = self.parameters.iter().filter(|(_, exists)| *exists);
        names.extend(parameters.map(|(name, _)| format!("{prefix}{name}")));
        for (name, child) in &self.children {
            child.parameter_names(&format!("{prefix}{name}."), names);
        }
    }
}
