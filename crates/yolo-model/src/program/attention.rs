//! Attention between the pixels of a map, in numbers.

use std::ops::Range;

/// Attention between the pixels of a map that holds the queries, keys and values of several heads. Per head
/// `softmax(qᵀ · k / √key) · v`, the softmax over the keys.
///
/// Queries and keys of a head have `key` channels each, its values what is left of its share of the map. The output has
/// the heads' mixed values one head after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSpec {
    /// Number of heads, at least 1.
    pub heads: usize,
    /// Channels of a query and of a key of one head, at least 1.
    pub key: usize,
    /// Which channels of the map are which.
    pub order: AttentionOrder,
}

/// The order of the channels of queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionOrder {
    /// The queries of all heads, then all keys, then all values, as PyTorch's `MultiheadAttention` has them.
    ByPart,
    /// One head after the other, each with its query, its key and its value.
    ByHead,
}

/// A part of the input of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionPart {
    /// What is looked for.
    Query,
    /// What it is compared with.
    Key,
    /// What is mixed.
    Value,
}

impl AttentionSpec {
    /// Queries, keys and values of equal width in a map of `channels` channels, part by part.
    pub fn thirds(heads: usize, channels: usize) -> Self {
        Self { heads, key: channels / (3 * heads).max(1), order: AttentionOrder::ByPart }
    }

    /// Channels of the value of one head, for an input of `channels` channels that [`AttentionSpec::check`] accepts.
    pub fn value(&self, channels: usize) -> usize {
        (channels / self.heads.max(1)).saturating_sub(2 * self.key)
    }

    /// Channels of the output for an input of `channels` channels.
    pub fn out_channels(&self, channels: usize) -> usize {
        self.heads * self.value(channels)
    }

    /// The channels of a part of head `head` in an input of `channels` channels.
    pub fn channels_of(&self, part: AttentionPart, head: usize, channels: usize) -> Range<usize> {
        let (key, value) = (self.key, self.value(channels));
        let (before, width) = match part {
            AttentionPart::Query => (0, key),
            AttentionPart::Key => (key, key),
            AttentionPart::Value => (2 * key, value),
        };
        let start = match self.order {
            AttentionOrder::ByPart => self.heads * before + head * width,
            AttentionOrder::ByHead => head * (2 * key + value) + before,
        };
        start..start + width
    }

    /// The channels of the values of all heads, in the order of the output.
    pub fn value_channels(&self, channels: usize) -> Vec<usize> {
        (0..self.heads).flat_map(|head| self.channels_of(AttentionPart::Value, head, channels)).collect()
    }

    /// Checks that the numbers fit an input of `channels` channels.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub fn check(&self, channels: usize) -> Result<(), String> {
        if self.heads == 0 || self.key == 0 || !channels.is_multiple_of(self.heads) {
            return Err(format!("{channels} channels do not make {} heads", self.heads));
        }
        if self.value(channels) == 0 {
            return Err(format!(
                "{channels} channels of {} heads leave none for the values beside queries and keys of {}",
                self.heads, self.key
            ));
        }
        Ok(())
    }

    /// Multiply-accumulates by the reference's profilers, for an output of `channels` channels and `pixels` pixels: those
    /// of both products where it counts them, which is [`AttentionOrder::ByHead`].
    pub(super) fn multiply_adds(&self, channels: usize, pixels: usize) -> usize {
        match self.order {
            AttentionOrder::ByPart => 0,
            AttentionOrder::ByHead => pixels * pixels * (self.heads * self.key + channels),
        }
    }
}
