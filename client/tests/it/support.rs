//! Helpers that several tests share.

use soloist_client::{Event, Watch};

pub(crate) use crate::test_server::TestServer;

/// The next events of a watch: at least `count`, in whole messages.
pub(crate) async fn next_events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(watch.next().await.unwrap().unwrap().events);
    }
    events
}
