//! The modules that are known here.

use std::sync::{PoisonError, RwLock};

use super::{ModuleKind, bottleneck, c3, concat, conv, detect, spp, sppf, upsample};

/// One line a module.
#[rustfmt::skip]
static KNOWN: &[&ModuleKind] = &[
    &conv::KIND,
    &bottleneck::KIND,
    &c3::KIND,
    &spp::KIND,
    &sppf::KIND,
    &upsample::KIND,
    &concat::KIND,
    &detect::KIND,
];

/// Modules of other crates.
static ADDED: RwLock<Vec<&'static ModuleKind>> = RwLock::new(Vec::new());

/// Makes a module of another crate known to all readers of this process. A second one of the same name or key is
/// ignored.
pub fn register(kind: &'static ModuleKind) {
    if by_class(kind.name).is_none() && by_key(kind.key).is_none() {
        ADDED.write().unwrap_or_else(PoisonError::into_inner).push(kind);
    }
}

/// The module that yamls and pickles call `name`.
pub fn by_class(name: &str) -> Option<&'static ModuleKind> {
    all().into_iter().find(|kind| kind.name == name)
}

/// The module that our own files call `key`.
pub fn by_key(key: &str) -> Option<&'static ModuleKind> {
    all().into_iter().find(|kind| kind.key == key)
}

/// The names of all modules, for messages.
pub fn names() -> String {
    all().iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

fn all() -> Vec<&'static ModuleKind> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    KNOWN.iter().chain(added.iter()).copied().collect()
}
