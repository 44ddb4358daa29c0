//! The inert values a pickle builds, in one arena.
//!
//! Values refer to each other by index: what a pickle shares stays shared, a value that contains itself is
//! harmless, and dropping a deeply nested one does not recurse.

/// A handle of a value in an [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

impl Id {
    /// Its number in the arena.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// A class or function named by a pickle; never looked up, never called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) module: String,
    pub(crate) name: String,
}

impl Class {
    /// Whether this is `name` of `module`.
    pub(crate) fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }

    /// The dotted path, such as `models.common.Conv`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

/// What would be an instance of `class`, had anything been executed.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// The class or the callable.
    pub(crate) class: Id,
    /// The tuple of arguments.
    pub(crate) args: Id,
    /// What BUILD attached: usually the instance's attributes.
    pub(crate) state: Option<Id>,
}

/// One value.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits; nothing in a checkpoint needs its value.
    BigInt,
    Float(f64),
    Str(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    /// Pairs as written: a key may occur again, and the last one counts.
    Dict(Vec<(Id, Id)>),
    Class(Box<Class>),
    Object(Object),
    /// A reference to something outside the pickle: for torch, a storage.
    Persistent(Id),
}

/// All values of one pickle.
#[derive(Debug)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Adds a value. `None` beyond 2³² values, which the interpreter's own limit precludes.
    pub(super) fn add(&mut self, node: Node) -> Option<Id> {
        let id = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(node);
        Some(Id(id))
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// All values, in the order in which they were made.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value behind `id`.
    pub(crate) fn get(&self, id: Id) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// The text, if `id` is a string.
    pub(crate) fn str(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The class behind `id`, if it is one.
    pub(crate) fn class(&self, id: Id) -> Option<&Class> {
        match self.get(id) {
            Node::Class(class) => Some(class),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a dict.
    pub(crate) fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value under the string `key`, if `id` is a dict that has it.
    pub(crate) fn lookup(&self, id: Id, key: &str) -> Option<Id> {
        let pairs = self.pairs(id)?;
        pairs.iter().rev().find(|(candidate, _)| self.str(*candidate) == Some(key)).map(|(_, value)| *value)
    }

    /// The attributes of an object: what BUILD attached, or its dict part where `__slots__` add a second.
    pub(crate) fn attributes(&self, object: &Object) -> Option<Id> {
        let state = object.state?;
        match self.get(state) {
            Node::Tuple(parts) => parts.first().copied(),
            _ => Some(state),
        }
    }
}
