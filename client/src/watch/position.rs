//! The position of a watch: how far it has come, and how it resumes from there.

use soloist::v1;

use super::event::{Event, WatchMessage};
use crate::Error;

/// How far a watch has come, and the request that resumes it from there.
#[derive(Debug)]
pub(crate) struct Position {
    request: v1::WatchRequest,
    pub(crate) revision: Option<i64>,
    /// Whether no past changes and no initial entries are left to receive.
    caught_up: bool,
    /// Whether the stream is not the first one and has not caught up with the present yet.
    reopened: bool,
}

impl Position {
    pub(crate) fn new(request: v1::WatchRequest) -> Self {
        Self {
            revision: request.after_revision,
            caught_up: request.after_revision.is_none() && !request.initial,
            reopened: false,
            request,
        }
    }

    /// Advances by one message. `None` if the message has nothing new for the caller.
    pub(crate) fn advance(
        &mut self,
        response: v1::WatchResponse,
    ) -> Result<Option<WatchMessage>, Error> {
        let has_revision = !self.request.initial || response.caught_up;
        let revision = has_revision.then_some(response.revision);
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

    /// The request that resumes the watch. `None` among the initial entries: before the last of them there is no
    /// revision to resume after.
    pub(crate) fn resume_request(&mut self) -> Option<v1::WatchRequest> {
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
            previous_left_out: false,
        };
        v1::WatchResponse {
            events: keys.iter().map(event).collect(),
            revision,
            caught_up,
        }
    }

    /// What the caller receives of a message: the number of events, the revision, and `caught_up`.
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
    fn a_watch_of_new_changes_resumes_after_the_last_revision() {
        let mut position = position(|_| ());
        // Before the first message the watch has no position, and nothing was promised.
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
        // The caller did not ask for the past changes that the second stream sends.
        assert_eq!(received(&mut position, message(&[], 7, false)), None);
        assert_eq!(
            received(&mut position, message(&["b"], 8, false)),
            Some((1, Some(8), false))
        );
        assert_eq!(received(&mut position, message(&[], 8, true)), None);
        // From here on an empty message reports progress.
        assert_eq!(
            received(&mut position, message(&[], 8, false)),
            Some((0, Some(8), false))
        );
    }

    #[test]
    fn a_watch_cannot_resume_among_the_initial_entries() {
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
    fn an_empty_store_is_caught_up_at_revision_0() {
        let mut position = position(|request| request.initial = true);
        assert_eq!(
            received(&mut position, message(&[], 0, true)),
            Some((0, Some(0), true))
        );
        assert_eq!(position.resume_request().unwrap().after_revision, Some(0));
    }

    #[test]
    fn caught_up_is_reported_once() {
        let mut position = position(|request| request.after_revision = Some(3));
        assert_eq!(position.revision, Some(3));
        assert_eq!(
            received(&mut position, message(&["a"], 4, false)),
            Some((1, Some(4), false))
        );
        assert_eq!(position.resume_request().unwrap().after_revision, Some(4));
        // The first stream broke before `caught_up`, so the second one reports it.
        assert_eq!(
            received(&mut position, message(&[], 4, true)),
            Some((0, Some(4), true))
        );
        assert!(position.resume_request().is_some());
        assert_eq!(received(&mut position, message(&[], 4, true)), None);
    }
}
