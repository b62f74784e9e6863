//! Keys, values and entries: an entry is what the store holds under a key.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::time::Time;

/// The store revision: a counter that grows with every change. 0 is the store before its first change.
pub type Revision = i64;

/// The name of a session, a machine or a state, or a request id. It has the same form as a key.
pub type Name = Key;

/// A key: UTF-8 text, compared and ordered byte by byte. Its form was checked where it came in (`rpc/arguments/`). Keys
/// of up to 24 bytes, as most are, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(CompactString);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

/// A value of one of three kinds. Values of different kinds are never equal. A clone shares the bytes.
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
    /// The name of the kind: "int", "text" or "bytes".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Length in bytes; 8 for an int.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// The beginning of the value, at most `len` bytes and cut between characters; a value that is short enough is shared
    /// whole.
    #[must_use]
    pub(super) fn head(&self, len: usize) -> Self {
        match self {
            Self::Text(text) if text.len() > len => {
                Self::Text(text[..text.floor_char_boundary(len)].into())
            }
            Self::Bytes(bytes) if bytes.len() > len => Self::Bytes(bytes[..len].into()),
            short => short.clone(),
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
    /// The store revision at which the key was created.
    pub create_revision: Revision,
    /// The lifetime and the machine state, if the entry has any of them. Most have none.
    pub attached: Option<Arc<Attached>>,
}

impl Entry {
    /// About how many bytes the value and what is attached take in memory, besides the entry itself.
    pub(super) fn more_byte_len(&self) -> usize {
        let attached = self.attached.as_ref().map_or(0, |attached| {
            size_of::<Attached>() + attached.names_byte_len()
        });
        self.value.byte_len() + attached
    }

    /// Bytes of the names in the entry: of its session, machine and state.
    pub(super) fn names_byte_len(&self) -> usize {
        self.attached
            .as_ref()
            .map_or(0, |attached| attached.names_byte_len())
    }

    /// When the key ends by itself; `None` if it does not.
    #[must_use]
    pub fn lifetime(&self) -> Option<&Lifetime> {
        self.attached.as_ref()?.lifetime.as_ref()
    }

    /// The session that the key ends with; `None` if it ends with none.
    #[must_use]
    pub fn session(&self) -> Option<&Name> {
        self.attached.as_ref()?.session()
    }

    /// Removes the key's state, if it is one of this machine.
    pub(crate) fn leave_machine(&mut self, machine: &Name) {
        if self
            .key_state()
            .is_some_and(|key_state| key_state.machine == *machine)
        {
            self.attached = Attached::of(self.lifetime().cloned(), None);
        }
    }

    /// The key's state in its machine; `None` if no machine covers the key.
    #[must_use]
    pub fn key_state(&self) -> Option<&KeyState> {
        self.attached.as_ref()?.key_state.as_ref()
    }
}

/// The lifetime and the machine state of an entry, of which at least one is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// When the key ends by itself.
    pub lifetime: Option<Lifetime>,
    /// The key's state in its machine.
    pub key_state: Option<KeyState>,
}

impl Attached {
    /// Both in one allocation; `None` if there is neither.
    #[inline]
    pub(super) fn of(lifetime: Option<Lifetime>, key_state: Option<KeyState>) -> Option<Arc<Self>> {
        (lifetime.is_some() || key_state.is_some()).then(|| {
            Arc::new(Self {
                lifetime,
                key_state,
            })
        })
    }

    /// The session that the key ends with.
    pub(super) fn session(&self) -> Option<&Name> {
        match self.lifetime.as_ref()? {
            Lifetime::Session { id, .. } => Some(id),
            Lifetime::Ttl { .. } => None,
        }
    }

    /// Bytes of the names of the session, the machine and the state.
    pub(super) fn names_byte_len(&self) -> usize {
        let key_state = self.key_state.as_ref();
        let names = [
            self.session(),
            key_state.map(|key_state| &key_state.machine),
            key_state.map(|key_state| &key_state.state),
        ];
        names.iter().flatten().map(|name| name.as_str().len()).sum()
    }
}

/// When a key ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// A ttl: the key ends at a fixed time.
    Ttl {
        /// How long after the write the key ends.
        ttl: Duration,
        /// When the key ends.
        ends: Time,
    },
    /// The key ends with a session.
    Session {
        /// The session.
        id: Name,
        /// The store revision at which the session began: which life of that session is meant.
        create_revision: Revision,
    },
}

/// The state of a key in the machine that covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The machine.
    pub machine: Name,
    /// The state that the key is in.
    pub state: Name,
    /// When the key entered this state.
    pub since: Time,
    /// When the state's timeout moves the key on. Set only in answers, from the machine's definition at that time; the
    /// store itself keeps `None`.
    pub timeout_at: Option<Time>,
}
