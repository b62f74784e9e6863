//! What a watch receives: changes of keys.

use soloist::v1;

use crate::{Entry, Error, Value};

/// Changes in the order of their revisions, all changes of one revision in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchMessage {
    /// The changes. Empty in a message that reports progress only.
    pub events: Vec<Event>,
    /// Every change up to this store revision has been sent. `None` while the initial entries are being sent.
    pub revision: Option<i64>,
    /// The changes after `after_revision`, or the initial entries, end with this message; new changes follow. Set once,
    /// in a watch that asked for either.
    pub caught_up: bool,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Why the key changed.
    pub cause: Cause,
    /// The key.
    pub key: String,
    /// The store revision of the change. With [`Cause::Initial`], that of the key's last change.
    pub revision: i64,
    /// The entry after the change. `None` if the key was deleted.
    pub entry: Option<Entry>,
    /// The entry before the change, if the watch asked for it. `None` if the key did not exist before, or if the
    /// message would have grown too large.
    pub previous: Option<Entry>,
    /// The watch asked for `previous`, but the server does not show it, if there was one: the message would have grown
    /// too large, or the change is older than the snapshot from which the server has started.
    pub previous_left_out: bool,
}

impl Event {
    /// The value after the change. `None` if the key was deleted.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.entry.as_ref().map(|entry| &entry.value)
    }
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// No change: the entry as it was when the watch began.
    Initial,
    /// A write or an addition.
    Written,
    /// A transition.
    Transitioned,
    /// A deletion.
    Deleted,
    /// The ttl of the key ended.
    Expired,
    /// The session of the key expired, was closed or was taken over.
    SessionEnded,
    /// The timeout of the state moved the key.
    TimedOut,
    /// A cause that is newer than this library.
    Other,
}

impl From<v1::event::Cause> for Cause {
    fn from(cause: v1::event::Cause) -> Self {
        match cause {
            v1::event::Cause::Unspecified => Self::Other,
            v1::event::Cause::Initial => Self::Initial,
            v1::event::Cause::Written => Self::Written,
            v1::event::Cause::Transitioned => Self::Transitioned,
            v1::event::Cause::Deleted => Self::Deleted,
            v1::event::Cause::Expired => Self::Expired,
            v1::event::Cause::SessionEnded => Self::SessionEnded,
            v1::event::Cause::TimedOut => Self::TimedOut,
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Error;

    /// Fails with INTERNAL for an event without a key, which no Soloist server sends.
    fn try_from(event: v1::Event) -> Result<Self, Error> {
        let cause = event.cause().into();
        let Some(mut entry) = event.entry else {
            return Err(Error::malformed("an event without a key"));
        };
        Ok(Self {
            cause,
            key: std::mem::take(&mut entry.key),
            revision: entry.revision,
            // The entry of a deleted key has no value.
            entry: match entry.value {
                Some(_) => Some(entry.try_into()?),
                None => None,
            },
            previous: event.previous.map(Entry::try_from).transpose()?,
            previous_left_out: event.previous_left_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_key_has_no_entry() {
        let gone = v1::Event {
            cause: v1::event::Cause::Expired as i32,
            entry: Some(v1::Entry {
                key: "k".into(),
                revision: 7,
                ..v1::Entry::default()
            }),
            previous: Some(v1::Entry {
                value: Some(Value::from(1).into()),
                ..v1::Entry::default()
            }),
            previous_left_out: false,
        };
        let event = Event::try_from(gone).unwrap();
        assert_eq!((event.key.as_str(), event.revision), ("k", 7));
        assert_eq!((event.cause, event.entry), (Cause::Expired, None));
        assert_eq!(event.previous.unwrap().value, Value::from(1));
    }

    #[test]
    fn a_cause_may_be_newer_than_this_library() {
        let event = v1::Event {
            cause: 1_000,
            entry: Some(v1::Entry {
                key: "k".into(),
                value: Some(Value::from("v").into()),
                ..v1::Entry::default()
            }),
            previous: None,
            previous_left_out: false,
        };
        let event = Event::try_from(event).unwrap();
        assert_eq!(event.cause, Cause::Other);
        assert_eq!(event.value(), Some(&"v".into()));
    }

    #[test]
    fn an_event_without_a_key_is_an_error() {
        let error = Event::try_from(v1::Event::default()).unwrap_err();
        assert_eq!(error.code(), tonic::Code::Internal);
    }
}
