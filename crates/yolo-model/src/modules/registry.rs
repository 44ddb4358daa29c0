//! The modules that are known here.

use std::sync::{PoisonError, RwLock};

use super::{
    ModuleKind, anchor_free, batch_norm, bottleneck, bottleneck_csp, c2, c2_psa, c2f, c3, c3_ghost, c3_spp,
    c3_tr, c3k, c3k2, c3x, concat, contract, conv, conv_transpose, cross_conv, detect, dw_conv, expand,
    focus, ghost_bottleneck, ghost_conv, lite_stem, max_pool, mix_conv, psa_block, sequence, shuffle_block,
    spp, sppf, upsample, zero_pad,
};

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
    &focus::KIND,
    &bottleneck_csp::KIND,
    &sequence::KIND,
    &dw_conv::KIND,
    &cross_conv::KIND,
    &c3x::KIND,
    &c3_spp::KIND,
    &c3_tr::KIND,
    &ghost_conv::KIND,
    &ghost_bottleneck::KIND,
    &c3_ghost::KIND,
    &mix_conv::KIND,
    &max_pool::KIND,
    &zero_pad::KIND,
    &batch_norm::KIND,
    &contract::KIND,
    &expand::KIND,
    &conv_transpose::KIND,
    &conv_transpose::DEPTHWISE,
    &lite_stem::KIND,
    &shuffle_block::KIND,
    &c2f::KIND,
    &c2f::CUT,
    &c2::KIND,
    &c3k::KIND,
    &c3k2::KIND,
    &psa_block::KIND,
    &c2_psa::KIND,
    &anchor_free::KIND,
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

/// What third parties append to the name of a class whose widths they changed.
const PRUNED: &str = "Pruned";

/// The module behind a class of a pickled network, whatever its Python module; `C3Pruned` is a C3.
pub(crate) fn by_pickled_class(name: &str) -> Option<&'static ModuleKind> {
    by_class(name).or_else(|| by_class(name.strip_suffix(PRUNED)?))
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
