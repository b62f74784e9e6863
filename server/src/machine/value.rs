//! What the store holds: keys, values and their revisions.

use std::borrow::Borrow;
use std::sync::Arc;

use compact_str::CompactString;

/// Counts the changes of the store. 0 is the store before its first change.
pub type Revision = i64;

/// The name of a value: text whose form was checked where it came in (`arguments.rs`), compared byte by byte. One of up
/// to 24 bytes, as most are, takes no allocation, neither in a message nor in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(CompactString);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// A value of one of three kinds. Values of different kinds are never equal. Cloning one does not copy its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A signed 64-bit integer.
    Int(i64),
    /// UTF-8 text.
    Text(Arc<str>),
    /// Any bytes.
    Bytes(Arc<[u8]>),
}

impl Value {
    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Bytes of the value itself: its length, or 8 for an int.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// What the store holds under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The store revision of the last change.
    pub revision: Revision,
    /// The store revision at which the key came to be.
    pub create_revision: Revision,
}
