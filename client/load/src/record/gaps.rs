//! The times in which a thread completed nothing, and what all threads together make of them.

use std::time::{Duration, Instant};

use crate::plan::kind::Kind;

/// Gaps below this length are not kept at first: most operations take less than a millisecond.
const SHORTEST: Duration = Duration::from_millis(1);

/// The most gaps of a thread, of some 100 bytes each. If there are more, the shortest are forgotten.
const GAPS_MAX: usize = 4_096;

/// An operation that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) kind: Kind,
    pub(crate) intended: Instant,
    pub(crate) at: Instant,
}

/// A time in which nothing was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// The operation that was completed at the start. `None` at the beginning of the measured time.
    pub(crate) before: Option<Completed>,
    /// The operation that was completed at the end. `None` at the end of the measured time.
    pub(crate) after: Option<Completed>,
}

impl Gap {
    pub(crate) fn length(&self) -> Duration {
        self.end.saturating_duration_since(self.start)
    }

    /// Returns the part of the time in which both have completed nothing.
    fn intersection(&self, other: &Self) -> Self {
        let (later, earlier) = match self.start >= other.start {
            true => (self, other),
            false => (other, self),
        };
        let ends_first = match earlier.end <= later.end {
            true => earlier,
            false => later,
        };
        Self {
            start: later.start,
            before: later.before,
            end: ends_first.end,
            after: ends_first.after,
        }
    }
}

/// The gaps of one thread, in their order. None of them that is longer than [`shortest`](Self::shortest) is missing.
///
/// A time in which no thread completes anything lies within a gap of every thread, so that the longest of all is found
/// among these.
#[derive(Debug)]
pub(crate) struct Gaps {
    last: Option<Completed>,
    gaps: Vec<Gap>,
    shortest: Duration,
}

impl Gaps {
    pub(crate) fn new() -> Self {
        Self {
            last: None,
            gaps: Vec::new(),
            shortest: SHORTEST,
        }
    }

    /// Takes an operation that was completed. `window_start` is when the measured time began.
    #[inline]
    pub(crate) fn completed(&mut self, completed: Completed, window_start: Instant) {
        let start = self.last.map_or(window_start, |last| last.at);
        if completed.at.saturating_duration_since(start) >= self.shortest {
            self.push(start, completed.at, Some(completed));
        }
        self.last = Some(completed);
    }

    /// Ends the last gap with the measured time.
    pub(crate) fn end(&mut self, window_start: Instant, window_end: Instant) {
        let start = self.last.map_or(window_start, |last| last.at);
        if window_end > start {
            self.push(start, window_end, None);
        }
    }

    fn push(&mut self, start: Instant, end: Instant, after: Option<Completed>) {
        while self.gaps.len() >= GAPS_MAX {
            self.shortest *= 2;
            let shortest = self.shortest;
            self.gaps.retain(|gap| gap.length() >= shortest);
        }
        self.gaps.push(Gap {
            start,
            end,
            before: self.last,
            after,
        });
    }

    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

/// Returns the longest time in which none of the threads completed anything, if it is long enough to be known.
pub(crate) fn longest(threads: &[Vec<Gap>]) -> Option<Gap> {
    let (first, others) = threads.split_first()?;
    let common = others
        .iter()
        .fold(first.clone(), |common, gaps| intersections(&common, gaps));
    common.into_iter().max_by_key(Gap::length)
}

fn intersections(some: &[Gap], others: &[Gap]) -> Vec<Gap> {
    let (mut some, mut others) = (some.iter().peekable(), others.iter().peekable());
    let mut common = Vec::new();
    while let (Some(one), Some(other)) = (some.peek(), others.peek()) {
        let gap = one.intersection(other);
        if gap.end > gap.start {
            common.push(gap);
        }
        match one.end <= other.end {
            true => some.next(),
            false => others.next(),
        };
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn thread(start: Instant, end: u32, completed: &[u32]) -> Vec<Gap> {
        let mut gaps = Gaps::new();
        for at in completed {
            let completed = Completed {
                kind: Kind::Read,
                intended: start,
                at: start + *at * MS,
            };
            gaps.completed(completed, start);
        }
        gaps.end(start, start + end * MS);
        gaps.gaps
    }

    /// Returns the longest gap of some threads, in milliseconds.
    fn of(end: u32, threads: &[&[u32]]) -> Option<(u128, u128)> {
        let start = Instant::now();
        let threads: Vec<_> = threads.iter().map(|of| thread(start, end, of)).collect();
        let gap = longest(&threads)?;
        Some(((gap.start - start).as_millis(), gap.length().as_millis()))
    }

    #[test]
    fn the_longest_gap_is_one_of_all_threads() {
        assert_eq!(of(100, &[&[10, 20, 90]]), Some((20, 70)));
        // The other thread fills a part of it.
        assert_eq!(of(100, &[&[10, 20, 90], &[35, 97]]), Some((35, 55)));
        assert_eq!(of(100, &[&[10, 20, 90], &[35, 97], &[60]]), Some((60, 30)));
        // The measured time bounds the first and the last gap.
        assert_eq!(of(100, &[&[]]), Some((0, 100)));
        assert_eq!(of(100, &[&[30], &[40]]), Some((40, 60)));
        assert_eq!(of(100, &[&[70], &[]]), Some((0, 70)));
        assert_eq!(of(0, &[&[]]), None);
    }

    #[test]
    fn what_is_around_a_gap_is_what_was_completed_before_and_after_it_in_any_thread() {
        let start = Instant::now();
        let threads = [thread(start, 100, &[10, 90]), thread(start, 100, &[20, 60])];
        let gap = longest(&threads).unwrap();
        let at = |of: Option<Completed>| of.map(|of| (of.at - start).as_millis());
        assert_eq!((at(gap.before), at(gap.after)), (Some(20), Some(60)));
    }

    #[test]
    fn memory_is_bounded_and_the_longest_gap_is_kept() {
        let completed: Vec<u32> = (0..20_000)
            .map(|n| 2 * n + if n > 777 { 500 } else { 0 })
            .collect();
        let start = Instant::now();
        let gaps = thread(start, 41_000, &completed);
        assert!(gaps.len() <= GAPS_MAX, "{}", gaps.len());
        let longest = longest(&[gaps]).unwrap();
        assert_eq!(longest.length(), 502 * MS);
    }
}
