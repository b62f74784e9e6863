//! Conditions: what must hold of a key for an operation on it to be applied.

use super::value::{Name, Revision, Value};

/// What must hold of a key or a machine, or the operation is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key exists (true), or does not (false).
    Exists(bool),
    /// The key's last change was at this revision. 0: the key does not exist.
    Revision(Revision),
    /// The key was created at this revision. 0: the key does not exist.
    CreateRevision(Revision),
    /// The key has this value.
    Value(Value),
    /// The key is in this state of its machine.
    State(Name),
    /// The key ends with this session, whichever life of it. `None`: the key exists and ends with no session.
    Session(Option<Name>),
}

/// An optional condition. It is boxed because most operations have none, and a small `Operation` is cheaper to move by
/// the thousand.
pub type Expect = Option<Box<Condition>>;
