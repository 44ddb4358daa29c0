//! What can go wrong while masks are made.

/// An error of a sparsity pattern. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The text names no structure.
    #[error(
        "{0:?} is not a sparsity pattern; write \"unstructured\", n:m such as \"2:4\", or a block such as \"4x1\""
    )]
    Unknown(String),
    /// n:m that removes nothing or everything, or has groups that are too long.
    #[error("{n}:{m} is not a sparsity pattern; n must be at least 1 and less than m, and m at most 64")]
    NofM {
        /// Weights kept.
        n: usize,
        /// Weights in a group.
        m: usize,
    },
    /// A block of no or one weight, or one that is too large.
    #[error("{out}x{inp} is not a block; sides are 1 to 64, and a block of one weight is \"unstructured\"")]
    Block {
        /// Output channels.
        out: usize,
        /// Input channels.
        inp: usize,
    },
    /// The scores do not fill the shape.
    #[error("tensor {tensor}: there are {scores} scores for the shape {shape:?}; give one for each weight")]
    Shape {
        /// Position of the tensor in the list, from 0.
        tensor: usize,
        /// Number of scores.
        scores: usize,
        /// `[out, in, kh, kw]`.
        shape: [usize; 4],
    },
    /// More weights to remove than there are.
    #[error("{count} weights are to be removed but there are only {total}; ask for fewer")]
    Count {
        /// Weights asked for.
        count: usize,
        /// Weights there are.
        total: usize,
    },
    /// Convolutions that read the same channels differ in how many they read.
    #[error(
        "tensor {tensor} reads {found} channels but tensor 0 reads {expected}; only readers of the same channels can share an order"
    )]
    Channels {
        /// Position of the tensor in the list, from 0.
        tensor: usize,
        /// Input channels of that tensor.
        found: usize,
        /// Input channels of the first tensor.
        expected: usize,
    },
}
