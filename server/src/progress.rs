//! How far long work is: the numbers, which whoever does the work keeps, and the texts that show them.
//!
//! Nothing here knows a terminal, a log, or a supervisor. Whoever shows the work looks at it from time to time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The least and the greatest number of columns between the brackets of a bar.
const BAR_COLUMNS_MIN: usize = 10;
const BAR_COLUMNS_MAX: usize = 40;

/// How far a piece of long work is: it is done in steps, one after the other. Clones share the numbers, so anybody who has
/// one may look at any time.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    step: Mutex<Option<Step>>,
    /// Relaxed: the number guards no other memory.
    done: AtomicU64,
    /// The steps that have ended, as they were then.
    #[cfg(test)]
    ended: Mutex<Vec<Look>>,
}

#[derive(Clone, Debug)]
struct Step {
    what: String,
    unit: Unit,
    total: Option<u64>,
    began: Instant,
}

/// What a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, which are shown as KiB, MiB and GiB.
    Bytes,
    /// Things of this name, in the plural.
    Things(&'static str),
    /// Seconds that pass: nobody needs to count them.
    Seconds,
}

impl Progress {
    /// Begins a step of the work, which ends the one before. `total` is how much there is to do, if that is known.
    pub fn begin(&self, what: impl Into<String>, unit: Unit, total: Option<u64>) {
        self.end();
        let mut step = self.step();
        self.0.done.store(0, Ordering::Relaxed);
        *step = Some(Step {
            what: what.into(),
            unit,
            total,
            began: Instant::now(),
        });
    }

    /// Counts what was done.
    pub fn add(&self, count: u64) {
        self.0.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Says how much was done since the step began.
    pub fn set(&self, done: u64) {
        self.0.done.store(done, Ordering::Relaxed);
    }

    /// Ends the work, or a part of it: nothing is under way until another step begins.
    pub fn end(&self) {
        #[cfg(test)]
        self.ended_steps().extend(self.look());
        *self.step() = None;
    }

    /// The steps that have ended, as they were then.
    #[cfg(test)]
    pub(crate) fn ended(&self) -> Vec<Look> {
        self.ended_steps().clone()
    }

    #[cfg(test)]
    fn ended_steps(&self) -> MutexGuard<'_, Vec<Look>> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the step that is under way, and how far it is. `None` if nothing is under way.
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        let step = self.step();
        let step = step.as_ref()?;
        let elapsed = step.began.elapsed();
        let done = match step.unit {
            Unit::Seconds => elapsed.as_secs(),
            Unit::Bytes | Unit::Things(_) => self.0.done.load(Ordering::Relaxed),
        };
        Some(Look {
            what: step.what.clone(),
            unit: step.unit,
            done,
            total: step.total,
            elapsed,
        })
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        // Nothing that is done under the lock panics half-way.
        self.0.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a step of long work was when somebody looked. Its `Display` is one line without a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is done in this step.
    pub what: String,
    /// What is counted.
    pub unit: Unit,
    /// How much was done since the step began.
    pub done: u64,
    /// How much there is to do, if that is known.
    pub total: Option<u64>,
    /// The time since the step began.
    pub elapsed: Duration,
}

impl Look {
    /// Returns how much was done in a second, on average since the step began. `None` if no time has passed, or if time is what
    /// is counted.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (self.unit != Unit::Seconds && seconds > 0.0).then(|| self.done as f64 / seconds)
    }

    /// Returns the time that the rest of the step takes at the same rate. `None` if that is not known.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.done) as f64;
        if self.unit == Unit::Seconds {
            return Some(Duration::from_secs_f64(left));
        }
        let rate = self.per_second().filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64((left / rate).ceil()).ok()
    }

    /// Returns the part that is done, from 0 to 1, if there is a total.
    fn part(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.done as f64 / total as f64).min(1.0))
    }

    fn percent(&self) -> Option<String> {
        // Rounded down: 100% is the end.
        self.part()
            .map(|part| format!("{:.0}%", (part * 100.0).floor()))
    }

    /// How much is done, and of how much.
    fn counts(&self) -> Option<String> {
        Some(match (self.unit, self.total) {
            (Unit::Seconds, _) => return None,
            (Unit::Bytes, None) => bytes(self.done as f64),
            (Unit::Bytes, Some(total)) => {
                format!("{} of {}", bytes(self.done as f64), bytes(total as f64))
            }
            (Unit::Things(of), None) => format!("{} {of}", grouped(self.done)),
            (Unit::Things(of), Some(total)) => {
                format!("{} of {} {of}", grouped(self.done), grouped(total))
            }
        })
    }

    fn rate(&self) -> Option<String> {
        let rate = self.per_second()?;
        Some(match self.unit {
            Unit::Bytes => format!("{}/s", bytes(rate)),
            _ => format!("{}/s", grouped(rate.round() as u64)),
        })
    }

    /// The time left; without a total, the time that has passed.
    fn time(&self) -> Option<String> {
        match self.total {
            Some(_) => Some(format!("{} left", clock(self.left()?))),
            None => Some(clock(self.elapsed)),
        }
    }

    /// Returns one line of less than `width` columns, with a bar if there is room for it and a total. What matters least is
    /// left out first.
    #[must_use]
    pub fn bar(&self, width: usize) -> String {
        const COUNTS: u8 = 4;
        let room = width.saturating_sub(1);
        // From left to right, each with its rank: of what does not fit, the highest rank goes first.
        let mut pieces: Vec<(u8, String)> = [
            (0, Some(self.what.clone())),
            (1, self.percent().map(|percent| format!("{percent:>4}"))),
            (COUNTS, self.counts()),
            (3, self.rate()),
            (2, self.time()),
        ]
        .into_iter()
        .filter_map(|(rank, piece)| Some((rank, piece?)))
        .collect();
        let len = |pieces: &[(u8, String)]| {
            let texts: usize = pieces.iter().map(|(_, text)| text.chars().count()).sum();
            texts + 2 * pieces.len().saturating_sub(1)
        };
        // The brackets, and the blanks before them.
        let bar_columns = |columns| columns + 4;
        let bar_min = self.part().map_or(0, |_| bar_columns(BAR_COLUMNS_MIN));
        while let Some(last) = pieces.iter().map(|(rank, _)| *rank).max() {
            // A bar says more than the counts do.
            let needed = len(&pieces) + if last == COUNTS { bar_min } else { 0 };
            if last == 0 || needed <= room {
                break;
            }
            pieces.retain(|(rank, _)| *rank != last);
        }
        let columns = room.saturating_sub(bar_columns(len(&pieces)));
        let columns = columns.min(BAR_COLUMNS_MAX);
        if let Some(part) = self.part().filter(|_| columns >= BAR_COLUMNS_MIN) {
            let full = (part * columns as f64) as usize;
            let (full, empty) = ("#".repeat(full), ".".repeat(columns - full));
            pieces.insert(1, (0, format!("[{full}{empty}]")));
        }
        let texts: Vec<String> = pieces.into_iter().map(|(_, text)| text).collect();
        texts.join("  ").chars().take(room).collect()
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let counts = match (self.counts(), self.percent()) {
            (Some(counts), Some(percent)) => Some(format!("{counts} ({percent})")),
            (counts, percent) => counts.or(percent),
        };
        let parts: Vec<String> = [counts, self.rate(), self.time()]
            .into_iter()
            .flatten()
            .collect();
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", parts.join(", ")),
        }
    }
}

/// Separates thousands: 1234567 becomes 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there is at least one.
fn bytes(number: f64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024.0 {
        return format!("{number:.0} B");
    }
    let mut number = number / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    // The limit is where rounding would give 1024.0.
    for next in units {
        if number < 1023.95 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

/// Minutes and seconds, and hours if there are any.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(unit: Unit, done: u64, total: Option<u64>, seconds: f64) -> Look {
        Look {
            what: "reading snapshot-a.redb".into(),
            unit,
            done,
            total,
            elapsed: Duration::from_secs_f64(seconds),
        }
    }

    const KEYS: Unit = Unit::Things("keys");

    #[test]
    fn a_bar_leaves_out_what_does_not_fit() {
        let keys = look(KEYS, 2_250_000, Some(5_000_000), 2.5);
        let bytes = look(Unit::Bytes, 12 << 20, Some(5 << 30), 0.5);
        let cases: [(&Look, usize, &str); 22] = [
            (&keys, 0, ""),
            (&keys, 10, "reading s"),
            (&keys, 24, "reading snapshot-a.redb"),
            (&keys, 32, "reading snapshot-a.redb   45%"),
            (&keys, 40, "reading snapshot-a.redb   45%"),
            (&keys, 42, "reading snapshot-a.redb   45%  0:04 left"),
            (
                &keys,
                80,
                "reading snapshot-a.redb  [##########..............]   45%  900,000/s  0:04 left",
            ),
            (
                &keys,
                200,
                "reading snapshot-a.redb  [##################......................]   45%  2,250,000 of 5,000,000 keys  900,000/s  0:04 left",
            ),
            (&bytes, 40, "reading snapshot-a.redb    0%"),
            (
                &bytes,
                80,
                "reading snapshot-a.redb  [.......................]    0%  24.0 MiB/s  3:33 left",
            ),
            // Without a total there is no bar.
            (
                &look(KEYS, 12, None, 2.0),
                40,
                "reading snapshot-a.redb  6/s  0:02",
            ),
            (
                &look(KEYS, 12, None, 2.0),
                80,
                "reading snapshot-a.redb  12 keys  6/s  0:02",
            ),
            (
                &look(Unit::Bytes, 1_536, None, 3_723.0),
                80,
                "reading snapshot-a.redb  1.5 KiB  0 B/s  1:02:03",
            ),
            // Nothing is done yet: nobody knows how long it takes.
            (
                &look(KEYS, 0, Some(7), 60.0),
                80,
                "reading snapshot-a.redb  [............................]    0%  0 of 7 keys  0/s",
            ),
            (
                &look(KEYS, 0, None, 0.0),
                80,
                "reading snapshot-a.redb  0 keys  0:00",
            ),
            // A total of nothing is done, and more than the total is not more than all.
            (
                &look(KEYS, 0, Some(0), 1.0),
                80,
                "reading snapshot-a.redb  0 of 0 keys  0/s",
            ),
            (
                &look(KEYS, 9, Some(7), 1.0),
                80,
                "reading snapshot-a.redb  [#################]  100%  9 of 7 keys  9/s  0:00 left",
            ),
            (
                &look(KEYS, 699, Some(700), 1.0),
                32,
                "reading snapshot-a.redb   99%",
            ),
            // Hours are left.
            (
                &look(KEYS, 1_000, Some(10_000_000), 1.0),
                80,
                "reading snapshot-a.redb  [.......................]    0%  1,000/s  2:46:39 left",
            ),
            (
                &look(Unit::Seconds, 3, Some(7), 3.9),
                40,
                "reading snapshot-a.redb   42%",
            ),
            (
                &look(Unit::Seconds, 3, Some(7), 3.9),
                80,
                "reading snapshot-a.redb  [###############....................]   42%  0:04 left",
            ),
            (
                &look(Unit::Seconds, 3, None, 3.9),
                40,
                "reading snapshot-a.redb  0:03",
            ),
        ];
        for (look, width, expected) in cases {
            let bar = look.bar(width);
            assert_eq!(bar, expected, "{width}: {look:?}");
            assert!(bar.chars().count() < width.max(1), "{width}: {bar:?}");
        }
    }

    #[test]
    fn a_line_says_everything_that_is_known() {
        let cases = [
            (
                look(KEYS, 2_250_000, Some(5_000_000), 2.5),
                "reading snapshot-a.redb: 2,250,000 of 5,000,000 keys (45%), 900,000/s, 0:04 left",
            ),
            (
                look(Unit::Bytes, 1_073_741_823, None, 2.0),
                "reading snapshot-a.redb: 1.0 GiB, 512.0 MiB/s, 0:02",
            ),
            (
                look(KEYS, 0, Some(7), 0.0),
                "reading snapshot-a.redb: 0 of 7 keys (0%)",
            ),
            (
                look(Unit::Seconds, 3, Some(7), 3.9),
                "reading snapshot-a.redb: 42%, 0:04 left",
            ),
        ];
        for (look, expected) in cases {
            assert_eq!(look.to_string(), expected);
        }
    }

    #[test]
    fn every_clone_sees_the_step_that_is_under_way() {
        let progress = Progress::default();
        let seen = progress.clone();
        assert_eq!(seen.look(), None);
        progress.begin("one", KEYS, Some(3));
        progress.add(2);
        let look = seen.look().unwrap();
        assert_eq!(
            (look.what.as_str(), look.done, look.total),
            ("one", 2, Some(3))
        );
        progress.begin("two", Unit::Bytes, None);
        let look = seen.look().unwrap();
        assert_eq!(
            (look.what.as_str(), look.done, look.total),
            ("two", 0, None)
        );
        progress.end();
        assert_eq!(seen.look(), None);
    }
}
