//! Channel pruning: couplings, removal, selection, compensation.
#![allow(clippy::unwrap_used)]

mod compensation;
mod coupling;
mod measure;
mod networks;
mod permutation;
mod removal;
mod rounds;
mod scores;
mod selection;
mod slimming;
