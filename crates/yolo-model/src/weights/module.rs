//! A pickled network as a tree of modules: classes, attributes, and references to tensors.
//!
//! The tree follows PyTorch's own bookkeeping (`_parameters`, `_buffers`, `_modules`), so that the names of
//! its tensors are those of `state_dict()`, whatever the classes are.

use indexmap::IndexMap;

use super::error::WeightsError;
use super::pickle::{Arena, Id, Node};
use super::plain::{Copier, PlainValue};
use super::tensor::TensorRef;

/// How many modules a tree may have; YOLOv5x6 has about 800.
const MAX_MODULES: usize = 100_000;
/// How deep modules may nest; YOLOv5 needs seven levels.
const MAX_DEPTH: usize = 100;
/// How many of a module's buffers may be left out of the state dict.
const MAX_SKIPPED: usize = 100;
/// How long the dotted name of a tensor may get.
const MAX_NAME_BYTES: usize = 1024;

/// A module of a pickled network.
#[derive(Debug, Clone, PartialEq)]
pub struct PickledModule {
    /// The dotted path of the class, such as `models.common.Conv`.
    pub class: String,
    /// Number of the object in its pickle: equal where PyTorch shares one module under two names.
    pub identity: usize,
    /// Public attributes in order, such as `kernel_size`; private bookkeeping is left out.
    pub attributes: IndexMap<String, PlainValue>,
    /// The module's own parameters in order; absent ones (a convolution without bias) are left out.
    pub parameters: IndexMap<String, TensorRef>,
    /// The module's own buffers in order, without those that PyTorch does not save in a state dict.
    pub buffers: IndexMap<String, TensorRef>,
    /// The children in order. A module that PyTorch shares under two names is here twice.
    pub children: Vec<(String, PickledModule)>,
}

impl PickledModule {
    /// The class without its Python module, such as `Conv`.
    pub fn class_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// The child called `name`.
    pub fn child(&self, name: &str) -> Option<&PickledModule> {
        self.children.iter().find(|(candidate, _)| candidate == name).map(|(_, child)| child)
    }

    /// The module at a dotted path, such as `model.2.m.0.cv1`.
    pub fn descendant(&self, path: &str) -> Option<&PickledModule> {
        path.split('.').filter(|name| !name.is_empty()).try_fold(self, |module, name| module.child(name))
    }

    /// The public attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&PlainValue> {
        self.attributes.get(name)
    }

    /// All tensors by name in the order of PyTorch's `state_dict()`: a module's parameters, its buffers, then
    /// its children, depth first.
    ///
    /// # Errors
    /// If a name gets longer than any model needs.
    pub fn state_dict(&self) -> Result<Vec<(String, &TensorRef)>, WeightsError> {
        let mut tensors = Vec::new();
        self.collect_tensors("", &mut tensors)?;
        Ok(tensors)
    }

    fn collect_tensors<'a>(
        &'a self,
        prefix: &str,
        tensors: &mut Vec<(String, &'a TensorRef)>,
    ) -> Result<(), WeightsError> {
        if prefix.len() > MAX_NAME_BYTES {
            return Err(WeightsError::hostile(format!("a name is longer than {MAX_NAME_BYTES} bytes")));
        }
        for (name, tensor) in self.parameters.iter().chain(&self.buffers) {
            tensors.push((format!("{prefix}{name}"), tensor));
        }
        for (name, child) in &self.children {
            child.collect_tensors(&format!("{prefix}{name}."), tensors)?;
        }
        Ok(())
    }
}

/// Whether `id` is an instance of a PyTorch module.
pub(super) fn is_module(arena: &Arena, id: Id) -> bool {
    let Some((_, attributes)) = instance(arena, id) else { return false };
    ["_parameters", "_buffers", "_modules"].iter().all(|key| {
        let table = arena.lookup(attributes, key);
        table.is_some_and(|table| arena.pairs(table).is_some())
    })
}

/// Class and attributes of an object.
pub(super) fn instance(arena: &Arena, id: Id) -> Option<(Id, Id)> {
    match arena.get(id) {
        Node::Object(object) => Some((object.class, arena.attributes(object)?)),
        _ => None,
    }
}

/// The tree below the module `id`.
pub(super) fn module_tree(arena: &Arena, id: Id) -> Result<PickledModule, WeightsError> {
    TreeBuilder { arena, copier: Copier::new(arena), modules_left: MAX_MODULES }.module(id, "", MAX_DEPTH)
}

struct TreeBuilder<'a> {
    arena: &'a Arena,
    copier: Copier<'a>,
    modules_left: usize,
}

impl TreeBuilder<'_> {
    fn module(&mut self, id: Id, path: &str, depth: usize) -> Result<PickledModule, WeightsError> {
        let left = self.modules_left.checked_sub(1);
        self.modules_left =
            left.ok_or_else(|| WeightsError::hostile(format!("it has more than {MAX_MODULES} modules")))?;
        if depth == 0 || path.len() > MAX_NAME_BYTES {
            return Err(WeightsError::hostile(format!("its modules nest deeper than {MAX_DEPTH}")));
        }
        let (class, attributes) = instance(self.arena, id)
            .filter(|_| is_module(self.arena, id))
            .ok_or_else(|| WeightsError::damaged("a child of a module is not a module").at(path))?;
        let non_persistent = self.arena.lookup(attributes, "_non_persistent_buffers_set");
        Ok(PickledModule {
            class: self.copier.class_path(class)?.unwrap_or_default(),
            identity: id.number(),
            attributes: self.attributes(attributes, path)?,
            parameters: self.tensors(attributes, "_parameters", None, path)?,
            buffers: self.tensors(attributes, "_buffers", non_persistent, path)?,
            children: self.children(attributes, path, depth)?,
        })
    }

    fn attributes(&mut self, id: Id, path: &str) -> Result<IndexMap<String, PlainValue>, WeightsError> {
        let mut attributes = IndexMap::new();
        for (key, value) in self.arena.pairs(id).unwrap_or_default() {
            // Also for what is left out: modules may share one large table.
            self.copier.visit()?;
            let Some(name) = self.arena.str(*key).filter(|name| !name.starts_with('_')) else { continue };
            let value = self.copier.copy(*value).map_err(|error| error.at(join(path, name)))?;
            attributes.insert(self.copier.text(*key)?.unwrap_or_default(), value);
        }
        Ok(attributes)
    }

    fn tensors(
        &mut self,
        attributes: Id,
        table: &str,
        skipped: Option<Id>,
        path: &str,
    ) -> Result<IndexMap<String, TensorRef>, WeightsError> {
        let arena = self.arena;
        let skipped: &[Id] = match skipped.map(|id| arena.get(id)) {
            Some(Node::Set(names) | Node::List(names)) => names,
            _ => &[],
        };
        if skipped.len() > MAX_SKIPPED {
            return Err(WeightsError::hostile("a module skips more buffers than any module has").at(path));
        }
        let mut tensors = IndexMap::new();
        for (name, value) in self.named(attributes, table)? {
            let is_skipped = skipped.iter().any(|id| arena.str(*id) == Some(name.as_str()));
            if is_skipped || matches!(arena.get(value), Node::None) {
                continue;
            }
            let tensor = TensorRef::of(arena, value).transpose();
            let tensor = tensor.unwrap_or_else(|| Err(WeightsError::damaged("a parameter is not a tensor")));
            let tensor = tensor.map_err(|error| error.at(join(path, &name)))?;
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }

    fn children(
        &mut self,
        attributes: Id,
        path: &str,
        depth: usize,
    ) -> Result<Vec<(String, PickledModule)>, WeightsError> {
        let mut children = Vec::new();
        for (name, value) in self.named(attributes, "_modules")? {
            if !matches!(self.arena.get(value), Node::None) {
                let child = self.module(value, &join(path, &name), depth - 1)?;
                children.push((name, child));
            }
        }
        Ok(children)
    }

    /// The entries of one of PyTorch's tables, each name once.
    fn named(&mut self, attributes: Id, table: &str) -> Result<IndexMap<String, Id>, WeightsError> {
        let pairs = self.arena.lookup(attributes, table).and_then(|id| self.arena.pairs(id));
        let mut entries = IndexMap::new();
        for (key, value) in pairs.unwrap_or_default() {
            let name = self.copier.text(*key)?;
            let name =
                name.ok_or_else(|| WeightsError::damaged(format!("a key of `{table}` is not text")))?;
            entries.insert(name, *value);
        }
        Ok(entries)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
