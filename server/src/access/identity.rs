//! What an identity may do.

use super::patterns::Patterns;

/// A caller that the access file names, with the rights of all its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) name: String,
    pub(super) read: Patterns,
    pub(super) write: Patterns,
    pub(super) sessions: Patterns,
    pub(super) define: Patterns,
    pub(super) audit: Patterns,
    pub(super) admin: bool,
}

/// What a call needs a right for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<'a> {
    /// To read this key.
    Read(&'a str),
    /// To read every key with this prefix.
    ReadPrefix(&'a str),
    /// To change this key.
    Write(&'a str),
    /// To delete the keys with this prefix.
    WritePrefix(&'a str),
    /// To open, renew or close this session, or to attach keys to it.
    Session(&'a str),
    /// To define or delete a machine with this key_prefix.
    Define(&'a str),
    /// To delete the machine of this name, whatever its key_prefix.
    UndefineMachine(&'a str),
    /// To see a machine with this key_prefix.
    SeeMachine(&'a str),
    /// To ask for a machine by its name.
    AskForMachine(&'a str),
    /// To see all machines.
    SeeMachines,
    /// To see all sessions, or to copy the whole store.
    Admin,
    /// To do anything at all.
    Anything,
}

impl Needs<'_> {
    /// The right that is needed: the word of the access file, where it has one.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::ReadPrefix(_) => "read",
            Self::SeeMachine(_) | Self::AskForMachine(_) | Self::SeeMachines => "read",
            Self::Write(_) | Self::WritePrefix(_) => "write",
            Self::Session(_) => "sessions",
            Self::Define(_) | Self::UndefineMachine(_) => "define",
            Self::Admin => "admin",
            Self::Anything => "any",
        }
    }

    /// What the right is needed for: the kind of name, and the name. None if it is not about one name.
    #[must_use]
    pub fn target(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Read(key) | Self::Write(key) => Some(("key", key)),
            Self::ReadPrefix(prefix) | Self::WritePrefix(prefix) => Some(("prefix", prefix)),
            Self::Define(prefix) | Self::SeeMachine(prefix) => Some(("prefix", prefix)),
            Self::SeeMachines => Some(("prefix", "")),
            Self::Session(id) => Some(("session", id)),
            Self::AskForMachine(name) | Self::UndefineMachine(name) => Some(("machine", name)),
            Self::Admin | Self::Anything => None,
        }
    }
}

impl Identity {
    /// The name in the access file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the identity has the right that a call needs.
    #[must_use]
    pub fn may(&self, needs: Needs<'_>) -> bool {
        match needs {
            Needs::Read(key) => self.may_read(key),
            Needs::ReadPrefix(prefix) => self.may_read_prefix(prefix),
            Needs::Write(key) => self.may_write(key),
            Needs::WritePrefix(prefix) => self.may_write_prefix(prefix),
            Needs::Session(id) => self.may_session(id),
            Needs::Define(prefix) => self.may_define(prefix),
            Needs::UndefineMachine(_) => self.define.has_prefixes(),
            Needs::SeeMachine(prefix) => self.may_define(prefix) || self.may_read_prefix(prefix),
            Needs::AskForMachine(_) => self.read.has_prefixes() || self.define.has_prefixes(),
            Needs::SeeMachines => self.may_define("") || self.may_read_prefix(""),
            Needs::Admin => self.is_admin(),
            Needs::Anything => self.may_anything(),
        }
    }

    /// Whether it may read this key.
    #[must_use]
    pub fn may_read(&self, key: &str) -> bool {
        self.read.has(key)
    }

    /// Whether it may read every key with this prefix.
    #[must_use]
    pub fn may_read_prefix(&self, prefix: &str) -> bool {
        self.read.has_all(prefix)
    }

    /// Whether it may change this key, and see what answers to changes show.
    #[must_use]
    pub fn may_write(&self, key: &str) -> bool {
        self.write.has(key)
    }

    /// Whether it may change every key with this prefix.
    #[must_use]
    pub fn may_write_prefix(&self, prefix: &str) -> bool {
        self.write.has_all(prefix)
    }

    /// Whether it may open, renew and close this session, and attach keys to it.
    #[must_use]
    pub fn may_session(&self, id: &str) -> bool {
        self.admin || self.sessions.has(id)
    }

    /// Whether it may define and delete machines with this key_prefix.
    #[must_use]
    pub fn may_define(&self, key_prefix: &str) -> bool {
        self.define.has_all(key_prefix)
    }

    /// Whether it may copy the whole store, and see and end all sessions.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.admin
    }

    /// Whether its changes of this key are to be logged.
    #[must_use]
    pub fn is_audited(&self, key: &str) -> bool {
        self.audit.has(key)
    }

    /// Whether any of its changes are to be logged.
    #[must_use]
    pub fn has_audit(&self) -> bool {
        !self.audit.is_empty()
    }

    /// Whether it has any right.
    #[must_use]
    pub fn may_anything(&self) -> bool {
        let sets = [&self.read, &self.write, &self.sessions, &self.define];
        self.admin || sets.iter().any(|set| !set.is_empty())
    }
}
