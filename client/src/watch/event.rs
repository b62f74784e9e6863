//! What a watch tells: changes of keys, as they happened.

use soloist::v1;

use crate::{Entry, Error, Value};

/// Changes, in the order of their revisions, all of one revision together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchMessage {
    /// The changes. Empty where a message only tells its revision.
    pub events: Vec<Event>,
    /// Everything up to here has been sent; `None` while the initial entries are being sent.
    pub revision: Option<i64>,
    /// What was asked for of the past, or the initial entries, ends with this message: what follows is news. Once, on a
    /// watch that asked for either.
    pub caught_up: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Why it changed.
    pub cause: Cause,
    /// The key.
    pub key: String,
    /// The store revision of the change; with [`Cause::Initial`], of the key's last one.
    pub revision: i64,
    /// What is stored after the change; `None` if the key is gone.
    pub entry: Option<Entry>,
    /// What was stored before the change, if that was asked for; `None` if there was nothing, or if the message would
    /// have been too large with it.
    pub previous: Option<Entry>,
}

impl Event {
    /// The value after the change; `None` if the key is gone.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.entry.as_ref().map(|entry| &entry.value)
    }
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It did not: this is how it was when the watch began.
    Initial,
    /// By a write or an addition.
    Written,
    /// By a transition.
    Transitioned,
    /// By a deletion.
    Deleted,
    /// Its ttl ended.
    Expired,
    /// Its session ended, was closed, or was taken over.
    SessionEnded,
    /// Its state's timeout moved it on.
    TimedOut,
    /// For a reason that is newer than this library.
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

    /// Fails with INTERNAL if it names no key: no server of ours sends that.
    fn try_from(event: v1::Event) -> Result<Self, Error> {
        let cause = event.cause().into();
        let Some(mut entry) = event.entry else {
            return Err(Error::malformed("an event without a key"));
        };
        Ok(Self {
            cause,
            key: std::mem::take(&mut entry.key),
            revision: entry.revision,
            // Of a key that is gone there is no value.
            entry: match entry.value {
                Some(_) => Some(entry.try_into()?),
                None => None,
            },
            previous: event.previous.map(Entry::try_from).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_gone_has_no_entry() {
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
