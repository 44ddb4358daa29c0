//! Channel pruning: couplings, removal, selection, compensation.

mod compensation;
mod coupling;
mod measure;
mod modules;
pub(crate) mod networks;
mod permutation;
mod removal;
mod rounds;
mod scores;
mod selection;
mod slices;
mod slimming;
