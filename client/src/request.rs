//! What can be asked about the state: operations on one key, and lists.

use std::time::Duration;

use soloist::v1::{self, add_request, write_request};

use crate::wire::{duration_to_wire, into_wire, page_size_to_wire};
use crate::{Condition, Session, Value};

/// Reads one key.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Read(v1::ReadRequest);

impl Read {
    /// Reads `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self(v1::ReadRequest {
            key: key.into(),
            expect: None,
        })
    }

    /// What must hold for the read to succeed: a guard, in an atomic frame.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }
}

/// Creates or replaces one value.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Write(v1::WriteRequest);

impl Write {
    /// Writes `value` under `key`.
    pub fn new(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(v1::WriteRequest {
            key: key.into(),
            value: Some(value.into().into()),
            ..v1::WriteRequest::default()
        })
    }

    /// Changes only the lifetime of `key`, to the one that is set, or to none, and leaves its value as it is. The key
    /// must be there, else NOT_FOUND. It takes a revision, like any other write.
    pub fn touch(key: impl Into<String>) -> Self {
        Self(v1::WriteRequest {
            key: key.into(),
            keep_value: true,
            ..v1::WriteRequest::default()
        })
    }

    /// What must hold, or the write is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// The key ends by itself this long after the write, 1 ms to 10 years: not before, and at most a moment after.
    /// Replaces what was said of its lifetime before. Without a lifetime the write takes an earlier one away.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(write_request::Lifetime::Ttl(duration_to_wire(ttl)));
        self
    }

    /// The key ends with this session. Replaces what was said of its lifetime before.
    ///
    /// The write is refused if the session has ended: NOT_FOUND, or ABORTED with reason SESSION_TAKEN_OVER if another
    /// one of its id has begun, so that a late write of the earlier owner attaches nothing to its successor.
    pub fn session(mut self, session: &Session) -> Self {
        self.0.session_create_revision = session.create_revision;
        self.0.lifetime = Some(write_request::Lifetime::Session(session.id.clone()));
        self
    }

    /// The key keeps the lifetime that it has; one that comes to be has none. Replaces what was said of its lifetime
    /// before. Not for [`touch`](Self::touch), which would change nothing then.
    pub fn keep_lifetime(mut self) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(write_request::Lifetime::KeepLifetime(true));
        self
    }

    /// Makes it safe to send the same again when its outcome is unknown: 1 to 128 bytes of UTF-8 without control
    /// characters that nobody else uses, such as a UUID.
    ///
    /// A request with the id and the content of one that has succeeded, within `Limits.request_id_window`, changes
    /// nothing and gets the first answer, with `replayed` set. With other content it is refused: INVALID_ARGUMENT, reason
    /// REQUEST_ID_REUSED. [`Call::retry`](crate::Call::retry) makes an id by itself.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// Asks for the entry as it was before.
    pub fn return_previous(mut self) -> Self {
        self.0.return_previous = true;
        self
    }
}

/// Adds to an int in one step; a missing key counts from 0, and is created.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Add(v1::AddRequest);

impl Add {
    /// Adds `delta` under `key`. 0 changes nothing, but creates a missing key.
    pub fn new(key: impl Into<String>, delta: i64) -> Self {
        Self(v1::AddRequest {
            key: key.into(),
            delta,
            ..v1::AddRequest::default()
        })
    }

    /// What must hold, or the addition is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// The least value there may be afterwards. A value that is below it already may come nearer.
    pub fn min(mut self, min: i64) -> Self {
        self.0.min = Some(min);
        self
    }

    /// The greatest value there may be afterwards. A value that is above it already may come nearer.
    pub fn max(mut self, max: i64) -> Self {
        self.0.max = Some(max);
        self
    }

    /// Stop at the bound (`min`, `max` or 64 bits) instead of refusing.
    pub fn saturate(mut self) -> Self {
        self.0.saturate = true;
        self
    }

    /// If this creates the key, it ends by itself this long afterwards, as in [`Write::ttl`]; otherwise its lifetime stays
    /// as it is.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(add_request::Lifetime::Ttl(duration_to_wire(ttl)));
        self
    }

    /// If this creates the key, it ends with this session, as in [`Write::session`]; otherwise its lifetime stays as it
    /// is, and the session is not looked at.
    pub fn session(mut self, session: &Session) -> Self {
        self.0.session_create_revision = session.create_revision;
        self.0.lifetime = Some(add_request::Lifetime::Session(session.id.clone()));
        self
    }

    /// Makes it safe to send the same again when its outcome is unknown: see [`Write::request_id`].
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Moves a key to another state of its machine, if the machine allows that from the state that the key is in.
///
/// Lifetime and, unless it is replaced, value stay as they are; the new state's timeout begins.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Transition(v1::TransitionRequest);

impl Transition {
    /// Moves `key` to the state `to`.
    pub fn new(key: impl Into<String>, to: impl Into<String>) -> Self {
        Self(v1::TransitionRequest {
            key: key.into(),
            to: to.into(),
            ..v1::TransitionRequest::default()
        })
    }

    /// What must hold, or the move is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// Replaces the value in the same step.
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.0.value = Some(value.into().into());
        self
    }

    /// Makes it safe to send the same again when its outcome is unknown: see [`Write::request_id`].
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Deletes one key. That there is none is an answer, not an error.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Delete(v1::DeleteRequest);

impl Delete {
    /// Deletes `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self(v1::DeleteRequest {
            key: key.into(),
            ..v1::DeleteRequest::default()
        })
    }

    /// What must hold, or nothing is deleted.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// Makes it safe to send the same again when its outcome is unknown: see [`Write::request_id`]. Without it a second
    /// deletion is harmless too, but does not tell what was there.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// A page of the keys that begin with a prefix, in the order of their bytes.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a list does nothing until it is sent"]
pub struct List(v1::ListRequest);

impl List {
    /// The first page of the keys that begin with `prefix`; of all keys if it is empty.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self(v1::ListRequest {
            prefix: prefix.into(),
            ..v1::ListRequest::default()
        })
    }

    /// The most entries on the page; at most, and without this call, `Limits.max_page_size`.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.0.page_size = page_size_to_wire(page_size);
        self
    }

    /// Where to go on: the token of the page before, which must be of the same prefix.
    pub fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }

    /// Leave the values out.
    pub fn keys_only(mut self) -> Self {
        self.0.keys_only = true;
        self
    }
}

into_wire! {
    Read: ReadRequest;
    Write: WriteRequest;
    Add: AddRequest;
    Transition: TransitionRequest;
    Delete: DeleteRequest;
    List: ListRequest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lifetime_counts() {
        let session = Session::for_test("worker", 12);
        let write = Write::new("k", 1)
            .ttl(Duration::from_secs(1))
            .session(&session);
        assert_eq!(write.0.session_create_revision, 12);
        let lifetime = write_request::Lifetime::Session("worker".into());
        assert_eq!(write.0.lifetime, Some(lifetime));

        let write = write.keep_lifetime();
        assert_eq!(write.0.session_create_revision, 0);
        let lifetime = write_request::Lifetime::KeepLifetime(true);
        assert_eq!(write.0.lifetime, Some(lifetime));

        let add = Add::new("k", 1)
            .session(&session)
            .ttl(Duration::from_secs(1));
        assert_eq!(add.0.session_create_revision, 0);
        let lifetime = add_request::Lifetime::Ttl(duration_to_wire(Duration::from_secs(1)));
        assert_eq!(add.0.lifetime, Some(lifetime));
    }

    #[test]
    fn a_touch_has_no_value() {
        let touch = Write::touch("k").ttl(Duration::from_millis(1)).0;
        assert!(touch.keep_value && touch.value.is_none());
    }
}
