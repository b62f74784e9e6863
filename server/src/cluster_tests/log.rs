//! What must be so of the log in etcd at every moment.

use std::rc::Rc;
use std::time::Duration;

use soloist_etcd::KeyRange;
use tokio::time::sleep;

use super::world::World;
use crate::journal::etcd::Keys;

/// Longer than any request is under way.
const LATEST: Duration = Duration::from_secs(10);

/// Looks at the records in etcd: they have no gap. A record that comes late must not follow a gap, and must not come again when a
/// snapshot has made it superfluous.
pub(super) fn look(world: &Rc<World>) {
    let keys = Keys::new("sim");
    let range = keys.records();
    let found = world.sim.look(KeyRange::Between(range.start, range.end));
    let records: Vec<u64> = found
        .iter()
        .filter_map(|found| keys.seq_of(&found.key))
        .collect();
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return;
    };
    world.count(|counts| counts.shortened += u64::from(*first > 0));
    assert!(
        records.iter().copied().eq(*first..=*last),
        "seed {}: the log has a gap: {records:?}",
        world.seed
    );
}

/// Waits until no request is under way that anybody sent before, and looks.
pub(super) async fn look_at_last(world: &Rc<World>) {
    sleep(LATEST).await;
    look(world);
}
