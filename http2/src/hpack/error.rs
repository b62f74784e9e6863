//! Why a header block cannot be decoded.

use std::fmt;

/// Why a header block cannot be decoded. Later blocks cannot be decoded either, so this ends the connection: with
/// COMPRESSION_ERROR, or with ENHANCE_YOUR_CALM if the list is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// The block ends inside a field.
    Truncated,
    /// An integer is longer than any block needs.
    IntegerTooLarge,
    /// A string has an invalid code.
    Huffman,
    /// No table has an entry with this index.
    Index {
        /// The index.
        index: usize,
        /// The last index there is.
        last: usize,
    },
    /// The dynamic table is to be larger than SETTINGS allow.
    TableSize {
        /// The size that the block sets.
        size: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// The size of the table is set after the first field of a block.
    LateSizeUpdate,
    /// SETTINGS have made the table smaller, and the block does not begin with its new size.
    MissingSizeUpdate,
    /// The fields together have more bytes than the decoder takes.
    ListTooLarge,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the header block is truncated"),
            Self::IntegerTooLarge => write!(f, "an integer in the header block is too large"),
            Self::Huffman => write!(f, "a Huffman-coded string in the header block is invalid"),
            Self::Index { index, last } => write!(
                f,
                "the header block has the index {index}, the last is {last}"
            ),
            Self::TableSize { size, limit } => write!(
                f,
                "the header block sets the table size to {size}, the limit is {limit}"
            ),
            Self::LateSizeUpdate => write!(
                f,
                "the header block sets the table size after its first field"
            ),
            Self::MissingSizeUpdate => write!(
                f,
                "the header block does not begin with the size of the table, which SETTINGS have lowered"
            ),
            Self::ListTooLarge => write!(f, "the header list is too large to be decoded"),
        }
    }
}

impl std::error::Error for HpackError {}
