//! What the store holds: keys, values, their revisions, and what else hangs on them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::time::Time;

/// Counts the changes of the store. 0 is the store before its first change.
pub type Revision = i64;

/// The name of a session, of a machine or of a state: text with the same form as a key.
pub type Name = Key;

/// The name of a value: text whose form was checked where it came in (`arguments.rs`), compared byte by byte. One of up
/// to 24 bytes, as most are, takes no allocation.
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

    /// The value itself, or if it is longer than `len` bytes a copy of about as many at its beginning.
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
    /// The store revision at which the key came to be.
    pub create_revision: Revision,
    /// What most entries do not have.
    pub attached: Option<Arc<Attached>>,
}

impl Entry {
    /// Bytes of the names that it carries: of its session, machine and state.
    pub(super) fn names_byte_len(&self) -> usize {
        self.attached
            .as_ref()
            .map_or(0, |attached| attached.names_byte_len())
    }

    /// When the key ends by itself, if it does.
    #[must_use]
    pub fn lifetime(&self) -> Option<&Lifetime> {
        self.attached.as_ref()?.lifetime.as_ref()
    }

    /// The session that it ends with, if that is how it ends.
    #[must_use]
    pub fn session(&self) -> Option<&Name> {
        self.attached.as_ref()?.session()
    }

    /// Stands nowhere any more, if it stood in this machine.
    pub(crate) fn leave(&mut self, machine: &Name) {
        if self
            .key_state()
            .is_some_and(|key_state| key_state.machine == *machine)
        {
            self.attached = Attached::of(self.lifetime().cloned(), None);
        }
    }

    /// Where it stands in its machine, if it has one.
    #[must_use]
    pub fn key_state(&self) -> Option<&KeyState> {
        self.attached.as_ref()?.key_state.as_ref()
    }
}

/// What hangs on an entry beside its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// When the key ends by itself.
    pub lifetime: Option<Lifetime>,
    /// Where it stands in its machine.
    pub key_state: Option<KeyState>,
}

impl Attached {
    /// The two together; nothing if there is neither.
    #[inline]
    pub(super) fn of(lifetime: Option<Lifetime>, key_state: Option<KeyState>) -> Option<Arc<Self>> {
        (lifetime.is_some() || key_state.is_some()).then(|| {
            Arc::new(Self {
                lifetime,
                key_state,
            })
        })
    }

    /// The session, if that is with which it ends.
    pub(super) fn session(&self) -> Option<&Name> {
        match self.lifetime.as_ref()? {
            Lifetime::Session { id, .. } => Some(id),
            Lifetime::Ttl { .. } => None,
        }
    }

    /// Bytes of the names in it: of a session, a machine and a state.
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
    /// At a time.
    Ttl {
        /// How long after the write that was.
        ttl: Duration,
        /// The time.
        ends: Time,
    },
    /// With a session.
    Session {
        /// The session.
        id: Name,
        /// Which life of it.
        create_revision: Revision,
    },
}

/// Where a key stands in its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The machine.
    pub machine: Name,
    /// The state.
    pub state: Name,
    /// When it came into this state.
    pub since: Time,
    /// When the state's timeout moves it on. Only in what is shown: the machine as it is defined then tells.
    pub timeout_at: Option<Time>,
}
