//! How unreliable the way to a simulated etcd is.

use std::ops::Range;
use std::time::Duration;

/// What may happen to each request of a node. Chances are from 0 to 1.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long a request takes, each way.
    pub delay: Range<Duration>,
    /// The chance that a request never arrives.
    pub lost_requests: f64,
    /// The chance that it is applied, and the answer is lost.
    pub lost_answers: f64,
    /// The chance that it is applied, and the answer takes long: up to as long as the client waits for it. So it tells what was
    /// true a while ago.
    pub slow_answers: f64,
    /// The chance that it arrives late: the client has given up, and may have asked again.
    pub late_requests: f64,
    /// The chance that it arrives twice, the second time late.
    pub duplicates: f64,
    /// How much later than it should "late" is.
    pub lateness: Range<Duration>,
    /// The chance that a watch breaks instead of showing changes.
    pub broken_watches: f64,
    /// How long a watch takes to show a change.
    pub watch_delay: Range<Duration>,
}

impl Faults {
    /// A request takes a millisecond, and nothing else happens.
    #[must_use]
    pub fn none() -> Self {
        let moment = Duration::from_micros(400)..Duration::from_micros(600);
        Self {
            delay: moment.clone(),
            lost_requests: 0.0,
            lost_answers: 0.0,
            slow_answers: 0.0,
            late_requests: 0.0,
            duplicates: 0.0,
            lateness: Duration::ZERO..Duration::from_millis(1),
            broken_watches: 0.0,
            watch_delay: moment,
        }
    }

    /// Everything happens often, and late is up to eight seconds.
    #[must_use]
    pub fn many() -> Self {
        Self {
            delay: Duration::from_micros(100)..Duration::from_millis(20),
            lost_requests: 0.02,
            lost_answers: 0.03,
            slow_answers: 0.05,
            late_requests: 0.02,
            duplicates: 0.02,
            lateness: Duration::from_millis(10)..Duration::from_secs(8),
            broken_watches: 0.02,
            watch_delay: Duration::from_micros(100)..Duration::from_millis(100),
        }
    }
}
