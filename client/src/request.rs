//! Requests about the state: operations on one key, and lists.

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

    /// A condition that must hold, or the read is refused. In a batch or an atomic frame it guards all operations.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }
}

/// Creates or replaces one value, or changes its lifetime.
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

    /// Changes only the lifetime of `key`: sets the given one, or removes it if none is given. The value stays. The key
    /// must exist, else NOT_FOUND. Like any other write, it takes a store revision.
    pub fn touch(key: impl Into<String>) -> Self {
        Self(v1::WriteRequest {
            key: key.into(),
            keep_value: true,
            ..v1::WriteRequest::default()
        })
    }

    /// A condition that must hold, or the write is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// The key expires this long after the write, 1 ms to 10 years: at the end of that time or a moment later, never
    /// earlier. Replaces any lifetime set before. A write without a lifetime removes the one that the key had.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(write_request::Lifetime::Ttl(duration_to_wire(ttl)));
        self
    }

    /// The key ends with this session. Replaces any lifetime set before.
    ///
    /// The write is refused if the session has ended: with NOT_FOUND, or with ABORTED (SESSION_TAKEN_OVER) if another
    /// session of the same id has begun. So a late write of an earlier owner attaches no key to its successor's
    /// session.
    pub fn session(mut self, session: &Session) -> Self {
        self.0.session_create_revision = session.create_revision;
        self.0.lifetime = Some(write_request::Lifetime::Session(session.id.clone()));
        self
    }

    /// The key keeps the lifetime that it has. A key that this write creates has none. Replaces any lifetime set
    /// before. Refused for a [`touch`](Self::touch), which would change nothing then.
    pub fn keep_lifetime(mut self) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(write_request::Lifetime::KeepLifetime(true));
        self
    }

    /// Makes a retry safe. The id is 1 to 128 bytes of UTF-8 without control characters, does not begin with `$`, and
    /// must be unique in the store: a UUID is a good one.
    ///
    /// A request with the id and the content of one that succeeded within `Limits.request_id_window` changes nothing.
    /// It gets the first reply again, with `replayed` set. With other content it is refused: INVALID_ARGUMENT
    /// (REQUEST_ID_REUSED). [`Call::retry`](crate::Call::retry) makes an id by itself.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// Asks for the entry as it was before the write.
    pub fn return_previous(mut self) -> Self {
        self.0.return_previous = true;
        self
    }
}

/// Adds to an int in one step. A missing key counts as 0 and is created.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Add(v1::AddRequest);

impl Add {
    /// Adds `delta` to the value of `key`. 0 leaves the value as it is, but creates a missing key.
    pub fn new(key: impl Into<String>, delta: i64) -> Self {
        Self(v1::AddRequest {
            key: key.into(),
            delta,
            ..v1::AddRequest::default()
        })
    }

    /// A condition that must hold, or the addition is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// The least allowed sum, included. A value below it may be increased, even if the sum is still below it.
    pub fn min(mut self, min: i64) -> Self {
        self.0.min = Some(min);
        self
    }

    /// The greatest allowed sum, included. A value above it may be decreased, even if the sum is still above it.
    pub fn max(mut self, max: i64) -> Self {
        self.0.max = Some(max);
        self
    }

    /// Replaces a sum outside `min`, `max` or 64 bits by the bound, instead of refusing the addition.
    pub fn saturate(mut self) -> Self {
        self.0.saturate = true;
        self
    }

    /// If this addition creates the key, the key expires this long afterwards, as in [`Write::ttl`]. An existing key
    /// keeps its lifetime.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.session_create_revision = 0;
        self.0.lifetime = Some(add_request::Lifetime::Ttl(duration_to_wire(ttl)));
        self
    }

    /// If this addition creates the key, the key ends with this session, as in [`Write::session`]. An existing key
    /// keeps its lifetime, and the session is not checked.
    pub fn session(mut self, session: &Session) -> Self {
        self.0.session_create_revision = session.create_revision;
        self.0.lifetime = Some(add_request::Lifetime::Session(session.id.clone()));
        self
    }

    /// Makes a retry safe: see [`Write::request_id`].
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Moves a key to another state of its machine, if the machine allows the move from the state that the key is in.
///
/// The key keeps its lifetime and, unless it is replaced, its value. The timeout of the new state starts to count.
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

    /// A condition that must hold, or the transition is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// Replaces the value in the same step.
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.0.value = Some(value.into().into());
        self
    }

    /// Makes a retry safe: see [`Write::request_id`].
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Deletes one key. A missing key is no error.
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

    /// A condition that must hold, or nothing is deleted.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// Makes a retry safe: see [`Write::request_id`]. Without it a second deletion is harmless too, but does not return
    /// what was stored.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Deletes keys that begin with a prefix, a slice of them with each call.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a deletion does nothing until it is sent"]
pub struct DeletePrefix(v1::DeletePrefixRequest);

impl DeletePrefix {
    /// Deletes the first keys that begin with `prefix`. An empty prefix is refused: see [`every_key`](Self::every_key).
    pub fn new(prefix: impl Into<String>) -> Self {
        Self(v1::DeletePrefixRequest {
            prefix: prefix.into(),
            ..v1::DeletePrefixRequest::default()
        })
    }

    /// Allows an empty prefix, which every key begins with.
    pub fn every_key(mut self) -> Self {
        self.0.every_key = true;
        self
    }

    /// The most keys that the call deletes or keeps. Default, and maximum: `Limits.max_page_size`.
    pub fn limit(mut self, limit: u32) -> Self {
        self.0.limit = page_size_to_wire(limit);
        self
    }

    /// Continues after an earlier call with the same prefix: its `next_page_token`.
    pub fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }

    /// Makes a retry safe: see [`Write::request_id`]. Without it a second deletion is harmless too, but counts only what
    /// the first has left.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Lists the keys that begin with a prefix, in the order of their bytes, one page at a time.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a list does nothing until it is sent"]
pub struct List(v1::ListRequest);

impl List {
    /// The first page of the keys that begin with `prefix`, or of all keys if it is empty.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self(v1::ListRequest {
            prefix: prefix.into(),
            ..v1::ListRequest::default()
        })
    }

    /// The most entries on the page. Default, and maximum: `Limits.max_page_size`.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.0.page_size = page_size_to_wire(page_size);
        self
    }

    /// Continues after an earlier page of the same prefix: its `next_page_token`.
    pub fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }

    /// Leaves the values out.
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
    DeletePrefix: DeletePrefixRequest;
    List: ListRequest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lifetime_set_wins() {
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
