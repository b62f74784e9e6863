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

/// Waits for the end of the work, for a moment. Returns whether it has come.
fn has_ended(stopped: &mpsc::Receiver<()>) -> bool {
    stopped.recv_timeout(DRAW_INTERVAL) != Err(RecvTimeoutError::Timeout)
}

fn draw(progress: &Progress, log: &Log, stopped: &mpsc::Receiver<()>) {
    while !has_ended(stopped) {
        match progress.look() {
            Some(look) => log.bar(&look.bar(columns())),
            None => log.erase_bar(),
        }
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
        while !has_ended(stopped) {
            if Instant::now() < next {
                continue;
            }
            if let Some(look) = progress.look() {
                line(look);
                next = Instant::now() + self.interval;
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
