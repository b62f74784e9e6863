//! Looks up the route to a server, beside the loop that uses it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use crate::connect::destination::Destination;
use crate::connect::route::Route;

/// The route as it was looked up last. Asking for the addresses of a name and reading certificates takes time, so that is
/// done by a thread beside the loop.
#[derive(Debug)]
pub(crate) struct Routes {
    destination: Arc<Destination>,
    latest: Route,
    looking: Option<Receiver<Result<Route, String>>>,
}

impl Routes {
    /// Looks up the route, and waits for it.
    ///
    /// # Errors
    /// If the name has no address, or a file cannot be used.
    pub(crate) fn new(destination: &Arc<Destination>) -> Result<Self, String> {
        Ok(Self {
            destination: Arc::clone(destination),
            latest: destination.route(None)?,
            looking: None,
        })
    }

    pub(crate) fn latest(&self) -> &Route {
        &self.latest
    }

    /// Begins to look up the route again, unless nothing can have changed. Returns whether that is under way.
    pub(crate) fn look_up(&mut self) -> bool {
        if self.looking.is_some() {
            return true;
        }
        if !self.destination.may_move() {
            return false;
        }
        let (found, looking) = sync_channel(1);
        let (destination, latest) = (Arc::clone(&self.destination), self.latest.clone());
        let looker = thread::Builder::new().name("load-route".to_owned());
        let started = looker.spawn(move || {
            // Nobody waits any more if the run is over.
            let _ = found.send(destination.route(Some(&latest)));
        });
        self.looking = started.is_ok().then_some(looking);
        self.looking.is_some()
    }

    /// Returns whether a route was found since [`look_up`](Self::look_up), or why not. `None` while it is under way.
    pub(crate) fn found(&mut self) -> Option<Result<(), String>> {
        let looked = match self.looking.as_ref()?.try_recv() {
            Ok(looked) => looked,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the look-up has ended".to_owned()),
        };
        self.looking = None;
        Some(looked.map(|route| self.latest = route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::security::Security;

    #[test]
    fn a_name_is_looked_up_again_and_an_address_is_not() {
        let routes = |address| {
            let destination = Destination::new(address, &Security::default()).unwrap();
            Routes::new(&Arc::new(destination)).unwrap()
        };
        let mut name = routes("localhost:9");
        name.latest.places.clear();
        assert!(name.look_up());
        let found = loop {
            match name.found() {
                Some(found) => break found,
                None => thread::yield_now(),
            }
        };
        assert_eq!(found, Ok(()));
        assert!(!name.latest().places.is_empty());
        assert!(!routes("127.0.0.1:9").look_up());
        assert!(!routes("unix:/run/a").look_up());
    }
}
