//! What may have to hold for an operation to be done.

use super::value::{Name, Revision, Value};

/// What must hold for an operation to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is there, or is not.
    Exists(bool),
    /// The key's last change was at this revision; 0: it is not there.
    Revision(Revision),
    /// The key came to be at this revision; 0: it is not there.
    CreateRevision(Revision),
    /// The key has this value.
    Value(Value),
    /// The key is in this state of its machine.
    State(Name),
    /// The key ends with this session; none: it is there and ends with none.
    Session(Option<Name>),
}

/// What must hold, if anything. Boxed, because most operations have none and all of them are moved about by the
/// thousand.
pub type Expect = Option<Box<Condition>>;
