//! How far a watch has come, and how it goes on from there.

use soloist::v1;

use super::event::{Event, WatchMessage};
use crate::Error;

/// How far a watch has come, and what it would have to ask for to go on from there.
#[derive(Debug)]
pub(super) struct Position {
    request: v1::WatchRequest,
    pub(super) revision: Option<i64>,
    /// Whether there is nothing of the past to come, or all of it has.
    caught_up: bool,
    /// Whether this is a later stream than the first, and has not reached the present yet.
    reopened: bool,
}

impl Position {
    pub(super) fn new(request: v1::WatchRequest) -> Self {
        Self {
            revision: request.after_revision,
            caught_up: request.after_revision.is_none() && !request.initial,
            reopened: false,
            request,
        }
    }

    /// Goes on by a message. `None` if it has nothing that was not received before.
    pub(super) fn advance(
        &mut self,
        response: v1::WatchResponse,
    ) -> Result<Option<WatchMessage>, Error> {
        let known = !self.request.initial || response.caught_up;
        let revision = known.then_some(response.revision);
        let caught_up = response.caught_up && !self.caught_up;
        let nothing_new =
            self.reopened && response.events.is_empty() && !caught_up && revision == self.revision;

        self.reopened &= !response.caught_up;
        self.caught_up |= response.caught_up;
        if revision.is_some() {
            self.revision = revision;
            self.request.after_revision = revision;
            self.request.initial = false;
        }
        if nothing_new {
            return Ok(None);
        }
        Ok(Some(WatchMessage {
            events: response
                .events
                .into_iter()
                .map(Event::try_from)
                .collect::<Result<_, _>>()?,
            revision,
            caught_up,
        }))
    }

    /// What to ask for to go on; `None` amid the initial entries, of which nobody knows how much was received.
    pub(super) fn resume_request(&mut self) -> Option<v1::WatchRequest> {
        if self.request.initial {
            return None;
        }
        self.reopened = true;
        Some(self.request.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn message(keys: &[&str], revision: i64, caught_up: bool) -> v1::WatchResponse {
        let event = |key: &&str| v1::Event {
            cause: v1::event::Cause::Written as i32,
            entry: Some(v1::Entry {
                key: (*key).to_owned(),
                value: Some(Value::from(1).into()),
                revision,
                ..v1::Entry::default()
            }),
            previous: None,
        };
        v1::WatchResponse {
            events: keys.iter().map(event).collect(),
            revision,
            caught_up,
        }
    }

    /// What is received of a message: its keys, its revision, and whether it says that the past ends.
    fn received(
        position: &mut Position,
        response: v1::WatchResponse,
    ) -> Option<(usize, Option<i64>, bool)> {
        let message = position.advance(response).unwrap()?;
        Some((message.events.len(), message.revision, message.caught_up))
    }

    fn position(change: impl FnOnce(&mut v1::WatchRequest)) -> Position {
        let mut request = v1::WatchRequest::default();
        change(&mut request);
        Position::new(request)
    }

    #[test]
    fn a_plain_watch_goes_on_after_what_it_has_seen() {
        let mut position = position(|_| ());
        // Before the first message there is nothing to go on from, and nothing was promised.
        assert_eq!(position.resume_request().unwrap().after_revision, None);
        assert_eq!(
            received(&mut position, message(&[], 0, false)),
            Some((0, Some(0), false))
        );
        assert_eq!(
            received(&mut position, message(&["a"], 7, false)),
            Some((1, Some(7), false))
        );
        assert_eq!(position.resume_request().unwrap().after_revision, Some(7));
        // The past that a later stream asks for is not what the caller asked for.
        assert_eq!(received(&mut position, message(&[], 7, false)), None);
        assert_eq!(
            received(&mut position, message(&["b"], 8, false)),
            Some((1, Some(8), false))
        );
        assert_eq!(received(&mut position, message(&[], 8, true)), None);
        // From here on an empty message is progress.
        assert_eq!(
            received(&mut position, message(&[], 8, false)),
            Some((0, Some(8), false))
        );
    }

    #[test]
    fn amid_the_initial_entries_there_is_no_way_to_go_on() {
        let mut position = position(|request| request.initial = true);
        assert_eq!(position.resume_request(), None);
        assert_eq!(
            received(&mut position, message(&["a"], 0, false)),
            Some((1, None, false))
        );
        assert_eq!((position.resume_request(), position.revision), (None, None));
        assert_eq!(
            received(&mut position, message(&[], 5, true)),
            Some((0, Some(5), true))
        );
        let request = position.resume_request().unwrap();
        assert_eq!((request.initial, request.after_revision), (false, Some(5)));
    }

    #[test]
    fn an_empty_store_is_caught_up_with_at_revision_0() {
        let mut position = position(|request| request.initial = true);
        assert_eq!(
            received(&mut position, message(&[], 0, true)),
            Some((0, Some(0), true))
        );
        assert_eq!(position.resume_request().unwrap().after_revision, Some(0));
    }

    #[test]
    fn the_past_that_was_asked_for_ends_once() {
        let mut position = position(|request| request.after_revision = Some(3));
        assert_eq!(position.revision, Some(3));
        assert_eq!(
            received(&mut position, message(&["a"], 4, false)),
            Some((1, Some(4), false))
        );
        assert_eq!(position.resume_request().unwrap().after_revision, Some(4));
        // It had not ended before the break, so it does afterwards.
        assert_eq!(
            received(&mut position, message(&[], 4, true)),
            Some((0, Some(4), true))
        );
        assert!(position.resume_request().is_some());
        assert_eq!(received(&mut position, message(&[], 4, true)), None);
    }
}
