//! Which calls of a connection are to be polled again.
//!
//! Each call has a waker of its own, which notes the place of the call, and wakes the task of the connection with the first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The places of the calls that were woken, each once, so there are no more than places.
#[derive(Debug, Default)]
pub(super) struct Ready {
    places: Mutex<Vec<usize>>,
    connection: AtomicWaker,
}

/// The waker of a place: the calls that have it, one after the other, share it. A call that has ended may wake the next one, which is
/// then polled in vain.
#[derive(Debug)]
pub(super) struct Place {
    place: usize,
    is_noted: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    /// To be called at the beginning of each poll of the connection.
    pub(super) fn register(&self, connection: &Waker) {
        self.connection.register(connection);
    }

    /// Moves the places to the end of `due`.
    pub(super) fn take(&self, due: &mut Vec<usize>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        due.append(&mut places);
    }

    fn note(&self, place: usize) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = places.is_empty();
        places.push(place);
        drop(places);
        // The connection takes all at once, so it is woken once for all.
        if is_first {
            self.connection.wake();
        }
    }
}

impl Place {
    pub(super) fn new(place: usize, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self {
            place,
            is_noted: AtomicBool::new(false),
            ready: Arc::clone(ready),
        })
    }

    /// Notes the place for the connection itself, which need not be woken. Returns whether it was not noted before.
    pub(super) fn note(&self) -> bool {
        !self.is_noted.swap(true, Ordering::AcqRel)
    }

    /// To be called before the call is polled: from then on it can be woken again.
    pub(super) fn begin_poll(&self) {
        self.is_noted.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.note() {
            self.ready.note(self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::body::counting_waker::Woken;

    #[test]
    fn each_place_is_noted_once_and_the_connection_woken_once_for_all() {
        let (woken, waker) = Woken::waker();
        let ready = Arc::new(Ready::default());
        let (one, two) = (Place::new(1, &ready), Place::new(2, &ready));
        let wakers: [Waker; 2] = [Arc::clone(&one).into(), Arc::clone(&two).into()];
        let mut due = Vec::new();
        for round in 1..=3 {
            ready.register(&waker);
            for waker in wakers.iter().chain(&wakers) {
                waker.wake_by_ref();
            }
            assert_eq!(woken.times(), round);
            ready.take(&mut due);
            assert_eq!(due, [1, 2]);
            due.clear();
            one.begin_poll();
            two.begin_poll();
        }
        // What the connection notes by itself wakes it no more.
        assert!(one.note() && !one.note());
        wakers[0].wake_by_ref();
        ready.take(&mut due);
        assert!(due.is_empty());
    }
}
