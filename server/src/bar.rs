//! Shows how far long work is: as a bar if standard error is a terminal, and elsewhere as a log line now and then.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;
use soloist_server::progress::{Look, Progress};
use tracing::{Level, enabled, info};

use crate::logging::Log;

/// How often the bar is drawn again.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is looked whether something is under way again when it has ended: a standby may have to read its store again.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// When the first log line comes, and how long after it the next: work that is short needs none.
const FIRST_LINE: Duration = Duration::from_secs(2);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The columns of a terminal that does not tell how many it has.
const COLUMNS: usize = 80;

/// Shows work until it is dropped.
pub(crate) struct Shown {
    /// `None` once it is being dropped.
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows work from now on: on a terminal even between log lines, unless the log is in another form than text. Shows nothing
    /// if the filter of the log leaves out what is less than a warning.
    ///
    /// # Errors
    /// The system's error if the thread cannot be created.
    pub(crate) fn start(progress: Progress, log: Log) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let shows_bar = log.is_text() && io::stderr().is_terminal();
        let thread = thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                if !enabled!(Level::INFO) {
                    return;
                }
                match shows_bar {
                    true => draw(&progress, &log, &stopped),
                    false => Lines::default().tell(&progress, &stopped, |look| info!("{look}")),
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been logged.
            let _ = thread.join();
        }
    }
}

/// Looks at the work again and again.
struct Looks<'a> {
    progress: &'a Progress,
    stopped: &'a mpsc::Receiver<()>,
    interval: Duration,
    has_begun: bool,
}

impl<'a> Looks<'a> {
    fn at(progress: &'a Progress, stopped: &'a mpsc::Receiver<()>) -> Self {
        Self {
            progress,
            stopped,
            interval: DRAW_INTERVAL,
            has_begun: false,
        }
    }
}

impl Iterator for Looks<'_> {
    /// What is under way, if anything is.
    type Item = Option<Look>;

    /// Waits for a moment. `None` when nobody wants to know any more.
    fn next(&mut self) -> Option<Option<Look>> {
        let waited = self.stopped.recv_timeout(self.interval);
        if waited != Err(RecvTimeoutError::Timeout) {
            return None;
        }
        let look = self.progress.look();
        self.has_begun |= look.is_some();
        self.interval = match look {
            None if self.has_begun => IDLE_INTERVAL,
            _ => DRAW_INTERVAL,
        };
        Some(look)
    }
}

fn draw(progress: &Progress, log: &Log, stopped: &mpsc::Receiver<()>) {
    let mut is_drawn = false;
    for look in Looks::at(progress, stopped) {
        if let Some(look) = &look {
            log.bar(&look.bar(columns()));
        } else if is_drawn {
            log.erase_bar();
        }
        is_drawn = look.is_some();
    }
    log.erase_bar();
}

fn columns() -> usize {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

/// When to tell how far the work is.
struct Lines {
    first: Duration,
    interval: Duration,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            first: FIRST_LINE,
            interval: LINE_INTERVAL,
        }
    }
}

impl Lines {
    fn tell(&self, progress: &Progress, stopped: &mpsc::Receiver<()>, mut line: impl FnMut(Look)) {
        let mut next = Instant::now() + self.first;
        for look in Looks::at(progress, stopped) {
            let now = Instant::now();
            match look {
                Some(look) if next <= now => {
                    line(look);
                    next = now + self.interval;
                }
                Some(_) => {}
                // Whatever begins next may be short, too.
                None => next = next.max(now + self.first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use soloist_server::progress::Unit;

    use super::*;

    #[test]
    fn lines_come_while_something_is_under_way() {
        let (progress, (stop, stopped)) = (Progress::default(), mpsc::sync_channel(0));
        let (lines, told) = mpsc::sync_channel(0);
        let seen = progress.clone();
        let telling = thread::spawn(move || {
            let often = Lines {
                first: Duration::ZERO,
                interval: Duration::ZERO,
            };
            // Ends, because nobody takes the lines any more.
            often.tell(&seen, &stopped, |look| drop(lines.send(look.to_string())));
        });
        progress.begin("reading", Unit::Things("keys"), Some(4));
        progress.set(2);
        let line = told.recv().unwrap();
        assert!(line.starts_with("reading: "), "{line}");
        let line = told.recv().unwrap();
        assert!(line.starts_with("reading: 2 of 4 keys (50%), "), "{line}");
        drop((told, stop));
        telling.join().unwrap();
    }
}
