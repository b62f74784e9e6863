//! The store's time at a standby, which takes it over from the owner without trusting its own clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::machine::Time;
use crate::mutants::mutant;

/// The store's time, as far as a standby knows it. Like the owner's it advances evenly, whatever is done to the system's
/// clock.
///
/// Records that come while the standby follows tell the owner's time, the later ones by a watch to some milliseconds, others to as
/// long as nothing was seen. What was there before the standby began tells only a time that has passed, nobody knows how long ago:
/// then the system's clock decides, if it is later.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreTime {
    time: Time,
    at: Instant,
    /// Whether the owner told it.
    is_told: bool,
}

impl StoreTime {
    /// The time after the records that were there before: the last one has `recorded`.
    pub(super) fn read(recorded: Time, wall: Time) -> Self {
        Self {
            time: recorded.max(wall),
            at: Instant::now(),
            is_told: false,
        }
    }

    /// Takes note of a record that has just been committed.
    pub(super) fn came(&mut self, recorded: Time) {
        *self = Self {
            time: recorded,
            at: Instant::now(),
            is_told: true,
        };
    }

    /// Takes note of a record that was committed while nothing was seen.
    pub(super) fn came_late(&mut self, recorded: Time) {
        let told = self.is_told.then(|| self.present());
        self.came(told.map_or(recorded, |told| told.max(recorded)));
    }

    fn present(self) -> Time {
        self.time + self.at.elapsed()
    }

    /// The time from which this node goes on as the owner; `recorded` is that of the last record.
    pub(super) fn takeover(self, recorded: Time, wall: Time) -> Time {
        match mutant("wall-clock-time") {
            true => recorded.max(wall),
            false => recorded.max(self.present()),
        }
    }
}

/// How much later records come than the fastest of the same owner: a lag that depends on nobody's clock being right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    began: Instant,
    /// The owner of these records.
    epoch: u64,
    /// The least time from `began` to a record, in this node's clock less in the owner's: nanoseconds.
    least: i128,
}

impl Lag {
    /// Takes note of a record that comes now. Returns how late it is.
    pub(super) fn of(last: &mut Option<Self>, epoch: u64, recorded: Time) -> Duration {
        let lag = match last {
            Some(lag) if lag.epoch == epoch => lag,
            _ => last.insert(Self {
                began: Instant::now(),
                epoch,
                least: i128::MAX,
            }),
        };
        let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        let apart = nanos(lag.began.elapsed()) - nanos(recorded.to_epoch());
        lag.least = lag.least.min(apart);
        Duration::from_nanos(u64::try_from(apart - lag.least).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Time {
        Time::since_epoch(1_000 * HOUR) + seconds as u32 * SECOND
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_comes_tells_the_time_whatever_the_clock_shows() {
        for wall in [at(0), at(0) + HOUR, Time::MIN] {
            let mut time = StoreTime::read(Time::MIN, wall);
            time.came(at(5));
            tokio::time::advance(3 * SECOND).await;
            assert_eq!(time.takeover(at(5), wall), at(8));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_one_the_clock_decides_but_never_before_the_last_record() {
        let time = StoreTime::read(at(5), at(7));
        tokio::time::advance(SECOND).await;
        assert_eq!(time.takeover(at(5), at(0)), at(8));
        assert_eq!(StoreTime::read(at(5), at(1)).takeover(at(5), at(1)), at(5));
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_a_break_do_not_set_the_time_back() {
        let mut time = StoreTime::read(at(0), at(0));
        time.came(at(5));
        tokio::time::advance(10 * SECOND).await;
        // Committed at 9, read at 15.
        time.came_late(at(9));
        assert_eq!(time.takeover(at(9), at(0) + HOUR), at(15));
        // The first that comes at all says more than the clock.
        let mut time = StoreTime::read(at(0), at(0) + HOUR);
        time.came_late(at(9));
        assert_eq!(time.takeover(at(9), at(0) + HOUR), at(9));
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_how_much_later_a_record_comes_than_the_fastest() {
        let mut lag = None;
        // The owner's clock is an hour ahead.
        assert_eq!(Lag::of(&mut lag, 1, at(0) + HOUR), Duration::ZERO);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(Lag::of(&mut lag, 1, at(1) + HOUR), SECOND);
        assert_eq!(Lag::of(&mut lag, 1, at(2) + HOUR), Duration::ZERO);
        assert_eq!(Lag::of(&mut lag, 2, at(0)), Duration::ZERO);
    }
}
