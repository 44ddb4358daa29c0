//! Queries, keys and values of several heads in another order: all values follow each other, so that what reads them beside
//! the attention reads a slice. The convolution that makes them makes them in that order.

use yolo_model::program::{AttentionOrder, AttentionPart, AttentionSpec, OperationKind};

use super::Compiler;
use crate::network::{Conv, Op, ValueId};

impl Compiler<'_> {
    /// The convolution that makes the program's value `value`, with its channels in the order of their parts if only attention
    /// and choices of channels read them.
    pub(super) fn by_part(&mut self, conv: Conv, value: ValueId) -> Conv {
        let Some(spec) = self.heads_of(value).filter(|_| conv.groups == 1) else { return conv };
        let order = by_part(spec, conv.out_channels);
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &channel)| places[channel] = place);
        self.places.insert(value, places);
        let filter = conv.weight.len() / conv.out_channels;
        let rows = order.iter().flat_map(|&channel| &conv.weight[channel * filter..][..filter]);
        let (weight, bias) =
            (rows.copied().collect(), order.iter().map(|&channel| conv.bias[channel]).collect());
        Conv { weight, bias, ..conv }
    }

    pub(super) fn attention(&self, spec: AttentionSpec, value: ValueId) -> Op {
        let order = if self.places.contains_key(&value) { AttentionOrder::ByPart } else { spec.order };
        Op::Attention { input: self.value_of[value], spec: AttentionSpec { order, ..spec } }
    }

    pub(super) fn pick(&self, channels: &[usize], value: ValueId) -> Op {
        let channels = match self.places.get(&value) {
            Some(places) => channels.iter().map(|&channel| places[channel]).collect(),
            None => channels.to_vec(),
        };
        Op::Pick { input: self.value_of[value], channels }
    }

    /// The attention over heads that reads the program's value `value`, if nothing else does but choices of channels.
    fn heads_of(&self, value: ValueId) -> Option<AttentionSpec> {
        let mut spec = None;
        let mut reads = 0;
        for operation in self.program.operations.iter().filter(|operation| operation.inputs.contains(&value))
        {
            reads += 1;
            match operation.kind {
                OperationKind::Attention(found) if spec.is_none_or(|spec| spec == found) => {
                    spec = Some(found)
                }
                OperationKind::Pick { .. } => {}
                _ => return None,
            }
        }
        // What is shown has to be in its own order.
        let is_hidden = reads == self.reads[value];
        spec.filter(|spec| is_hidden && spec.order == AttentionOrder::ByHead && spec.heads > 1)
    }
}

/// The channels of queries, keys and values by head, in the order by part.
fn by_part(spec: AttentionSpec, channels: usize) -> Vec<usize> {
    let parts = [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value];
    let of_part = |part| (0..spec.heads).flat_map(move |head| spec.channels_of(part, head, channels));
    parts.into_iter().flat_map(of_part).collect()
}
