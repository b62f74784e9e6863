//! An entry, looked at where it is kept.

use std::sync::Arc;

use crate::machine::value::{Attached, Entry, KeyState, Lifetime, Name, Revision, Value};

/// Longest value that is copied into what is kept; longer ones are shared.
const COPIED_BYTES_MAX: usize = 256;

/// What is stored under a key. Looking at it copies nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryRef<'a> {
    pub(crate) value: ValueRef<'a>,
    pub(crate) revision: Revision,
    pub(in crate::machine) create_revision: Revision,
    pub(in crate::machine) attached: Option<&'a Arc<Attached>>,
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ValueRef<'a> {
    Int(i64),
    /// Bytes of a text.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// One that is shared when it is kept, and not copied.
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
    /// Whether it is a value and revisions alone, and not long: then it is copied where it is kept, and else shared.
    #[inline]
    pub(in crate::machine) fn is_packable(self) -> bool {
        self.attached.is_none() && self.value.byte_len() <= COPIED_BYTES_MAX
    }

    pub(in crate::machine) fn to_entry(self) -> Entry {
        Entry {
            value: self.value.to_value(),
            revision: self.revision,
            create_revision: self.create_revision,
            attached: self.attached.cloned(),
        }
    }

    /// When the key ends by itself, if it does.
    pub(in crate::machine) fn lifetime(self) -> Option<&'a Lifetime> {
        self.attached?.lifetime.as_ref()
    }

    /// Where it stands in its machine, if it has one.
    pub(in crate::machine) fn key_state(self) -> Option<&'a KeyState> {
        self.attached?.key_state.as_ref()
    }

    /// The session that it ends with, if that is how it ends.
    pub(in crate::machine) fn session(self) -> Option<&'a Name> {
        self.attached?.session()
    }

    /// Bytes of the names that it carries: of its session, machine and state.
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
                let text = std::str::from_utf8(text).expect("it was text");
                Value::Text(text.into())
            }
            Self::Bytes(bytes) => Value::Bytes(bytes.into()),
            Self::Shared(value) => value.clone(),
        }
    }

    /// The same, and none that is shared.
    #[inline]
    pub(in crate::machine) fn unshared(self) -> Self {
        match self {
            Self::Shared(Value::Int(int)) => Self::Int(*int),
            Self::Shared(Value::Text(text)) => Self::Text(text.as_bytes()),
            Self::Shared(Value::Bytes(bytes)) => Self::Bytes(bytes),
            other => other,
        }
    }

    /// Bytes of the value itself: its length, or 8 for an int.
    #[inline]
    pub(crate) fn byte_len(self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Text(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Shared(value) => value.byte_len(),
        }
    }

    /// The name of its kind.
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
