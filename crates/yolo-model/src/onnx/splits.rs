//! Slices that are the equal parts of a map: one `Split` instead of several `Slice`s.

use std::collections::HashMap;

use super::graph::{Graph, Value};
use super::maps;
use crate::program::{Operation, Program, ValueId};

/// The maps that are cut into equal parts.
pub(super) struct Splits {
    of: HashMap<ValueId, Split>,
}

struct Split {
    /// Number of parts.
    parts: usize,
    /// Channels of a part.
    width: usize,
    /// The names of the parts, once the node is there.
    names: Vec<Value>,
}

impl Splits {
    /// A map is split if some slices of it are all its channels, in parts of equal width.
    pub(super) fn new(program: &Program) -> Self {
        let mut starts: HashMap<(ValueId, usize), Vec<usize>> = HashMap::new();
        for operation in &program.operations {
            if let Some(range) = operation.kind.slice() {
                starts.entry((operation.inputs[0], range.len())).or_default().push(range.start);
            }
        }
        let mut of = HashMap::new();
        for ((value, width), starts) in starts {
            let channels = program.channels[value];
            let parts = channels / width;
            let is_whole = channels.is_multiple_of(width)
                && parts > 1
                && (0..parts).all(|part| starts.contains(&(part * width)));
            if is_whole {
                let split = Split { parts, width, names: Vec::new() };
                let finer = of.get(&value).is_some_and(|other: &Split| other.width < width);
                if !finer {
                    of.insert(value, split);
                }
            }
        }
        Self { of }
    }

    /// The part that `slice` takes, if its input is split into such parts; `values` are the names of all values.
    pub(super) fn part(
        &mut self,
        graph: &mut Graph<'_>,
        name: &str,
        values: &[Value],
        slice: &Operation,
    ) -> Option<Value> {
        let range = slice.kind.slice()?;
        let split = self.of.get_mut(&slice.inputs[0])?;
        if range.len() != split.width || !range.start.is_multiple_of(split.width) {
            return None;
        }
        if split.names.is_empty() {
            split.names = maps::split(graph, name, &values[slice.inputs[0]], split.parts, split.width);
        }
        split.names.get(range.start / split.width).cloned()
    }
}
