//! Entries and values that are borrowed from where they are stored.

use std::sync::Arc;

use crate::machine::value::{Attached, Entry, KeyState, Lifetime, Name, Revision, Value};

/// Most bytes of a value that is packed, and so copied. Longer values are shared.
const COPIED_BYTES_MAX: usize = 256;

/// A borrowed entry, wherever it is stored. Reading it copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    pub(crate) value: ValueRef<'a>,
    pub(crate) revision: Revision,
    pub(crate) create_revision: Revision,
    pub(crate) attached: Option<&'a Arc<Attached>>,
}

/// A borrowed value.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// An int.
    Int(i64),
    /// The bytes of a text.
    Text(&'a [u8]),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A value of its own: `to_value` shares it, and copies the other kinds.
    Shared(&'a Value),
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            value: ValueRef::Shared(&entry.value),
            revision: entry.revision,
            create_revision: entry.create_revision,
            attached: entry.attached.as_ref(),
        }
    }
}

impl<'a> EntryRef<'a> {
    /// Whether the entry can be packed: it has no lifetime and no machine state, and its value is not long.
    #[inline]
    pub(in crate::machine) fn is_packable(self) -> bool {
        self.attached.is_none() && self.value.byte_len() <= COPIED_BYTES_MAX
    }

    pub(crate) fn to_entry(self) -> Entry {
        Entry {
            value: self.value.to_value(),
            revision: self.revision,
            create_revision: self.create_revision,
            attached: self.attached.cloned(),
        }
    }

    /// When the key ends by itself; `None` if it does not.
    pub(in crate::machine) fn lifetime(self) -> Option<&'a Lifetime> {
        self.attached?.lifetime.as_ref()
    }

    /// The key's state in its machine; `None` if no machine covers the key.
    pub(in crate::machine) fn key_state(self) -> Option<&'a KeyState> {
        self.attached?.key_state.as_ref()
    }

    /// The session that the key ends with; `None` if it ends with none.
    pub(in crate::machine) fn session(self) -> Option<&'a Name> {
        self.attached?.session()
    }

    /// Bytes of the names in the entry: of its session, machine and state.
    pub(in crate::machine) fn names_byte_len(self) -> usize {
        self.attached
            .map_or(0, |attached| attached.names_byte_len())
    }
}

impl<'a> ValueRef<'a> {
    pub(in crate::machine) fn to_value(self) -> Value {
        match self {
            Self::Int(int) => Value::Int(int),
            Self::Text(text) => {
                let text = std::str::from_utf8(text).expect("only text is stored as text");
                Value::Text(text.into())
            }
            Self::Bytes(bytes) => Value::Bytes(bytes.into()),
            Self::Shared(value) => value.clone(),
        }
    }

    /// The same value as one of the other three variants.
    #[inline]
    pub(crate) fn unshared(self) -> Self {
        match self {
            Self::Shared(Value::Int(int)) => Self::Int(*int),
            Self::Shared(Value::Text(text)) => Self::Text(text.as_bytes()),
            Self::Shared(Value::Bytes(bytes)) => Self::Bytes(bytes),
            other => other,
        }
    }

    /// Length in bytes; 8 for an int.
    #[inline]
    pub(crate) fn byte_len(self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Text(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Shared(value) => value.byte_len(),
        }
    }

    /// The name of the kind: "int", "text" or "bytes".
    pub(in crate::machine) fn kind(self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Shared(value) => value.kind(),
        }
    }
}

impl PartialEq<Value> for ValueRef<'_> {
    fn eq(&self, other: &Value) -> bool {
        match (self.unshared(), other) {
            (Self::Int(int), Value::Int(other)) => int == *other,
            (Self::Text(text), Value::Text(other)) => text == other.as_bytes(),
            (Self::Bytes(bytes), Value::Bytes(other)) => bytes == &**other,
            _ => false,
        }
    }
}
