//! The system's clock. It is read here only, at the moment when the time is used: a time that was read before a long
//! piece of work lags by as long as the work took.

use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use crate::config::CLOCK_STEP_MIN;
use crate::machine::Time;

/// Returns the present time; 1970 if the system's clock is before that.
pub(crate) fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::since_epoch(since_epoch.unwrap_or_default())
}

/// Between two readings of the monotonic clock that lie this far apart, the thread has slept, and the system's clock was
/// read at any time between.
const LOOK_MAX: Duration = Duration::from_millis(10);

/// Notices when the system's clock is set while the server runs. NTP corrects both clocks alike, so their distance changes
/// only when the system's clock is set, or when the computer sleeps.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// Both clocks at one moment: at the beginning, or at the last step.
    instant: Instant,
    time: Time,
}

impl ClockWatch {
    pub(crate) fn begin() -> Self {
        Self {
            instant: Instant::now(),
            time: now(),
        }
    }

    /// Compares the clocks. Warns if the system's was set, once for each time.
    pub(crate) fn look(&mut self) {
        let (before, time, after) = (Instant::now(), now(), Instant::now());
        if after - before < LOOK_MAX
            && let Some(warning) = self.step(before, time)
        {
            warn!("{warning}");
        }
    }

    fn step(&mut self, instant: Instant, time: Time) -> Option<String> {
        let expected = self.time + (instant - self.instant);
        let (forward, back) = (time.since(expected), expected.since(time));
        if forward.max(back) < CLOCK_STEP_MIN {
            return None;
        }
        *self = Self { instant, time };
        let shown =
            |span: Duration| humantime::format_duration(Duration::from_secs(span.as_secs()));
        Some(match back.is_zero() {
            true => {
                let forward = shown(forward);
                format!(
                    "the system's clock went forward by {forward}: it was set, or the computer slept. The server's clock does not follow: keys and sessions live as long as their ttl says, but every expire_time is {forward} further behind the system's clock. A restart follows the system's clock, so keys with a ttl then end that much too early"
                )
            }
            false => {
                let back = shown(back);
                format!(
                    "the system's clock was set back by {back}. The server's clock does not follow: keys and sessions live as long as their ttl says, but every expire_time is {back} further ahead of the system's clock. With a data directory it stays so after a restart, until the server was stopped for as long"
                )
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_system_s_clock_is_told_once() {
        let mut watch = ClockWatch::begin();
        let (begin, at) = (watch.instant, watch.time);
        let second = Duration::from_secs(1);
        let mut step = |instant: Duration, time: Duration| watch.step(begin + instant, at + time);
        // The clocks advance together, but for a moment between the two readings.
        assert_eq!(step(second, second), None);
        assert_eq!(step(2 * second, 2 * second + second / 2), None);
        let hour = 3_600 * second;
        let warning = step(3 * second, 3 * second + hour).unwrap();
        assert!(warning.contains("forward by 1h:"), "{warning}");
        assert_eq!(step(4 * second, 4 * second + hour), None);
        let warning = step(5 * second, 5 * second).unwrap();
        assert!(warning.contains("back by 1h."), "{warning}");
        assert_eq!(step(6 * second, 6 * second), None);
        // Small steps add up.
        let small = second * 6 / 10;
        assert_eq!(step(7 * second, 7 * second + small), None);
        let warning = step(8 * second, 8 * second + 2 * small).unwrap();
        assert!(warning.contains("forward by 1s:"), "{warning}");
    }
}
