//! Shows the work before and after a run, on standard error: as a bar on a terminal, and elsewhere as a line now and then.

use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal;
use soloist_server::progress::{Progress, Unit};

/// How often the bar is drawn again.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// When the first line of a step comes, and how long after it the next: a short step needs none.
const FIRST_LINE: Duration = Duration::from_secs(2);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The columns of a terminal that does not tell how many it has.
const COLUMNS: usize = 80;

/// Returns to the start of the line, and empties it.
const ERASE: &str = "\r\x1b[K";

/// How work that may take long is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Nothing,
    /// A line now and then, even on a terminal.
    Lines,
    /// A bar on a terminal; otherwise lines.
    Bar,
}

impl Work {
    /// Whether a bar is drawn.
    pub(crate) fn is_bar(self) -> bool {
        self == Self::Bar && io::stderr().is_terminal()
    }

    /// Begins a step of the work, which is shown until it is dropped.
    pub(crate) fn step(self, what: &str, unit: Unit, total: Option<u64>) -> Step {
        let progress = Progress::default();
        progress.begin(what, unit, total);
        let shown = match (self, self.is_bar()) {
            (Self::Nothing, _) => None,
            (_, true) => Shown::by(&progress, draw),
            (_, false) => Shown::by(&progress, tell),
        };
        Step {
            progress,
            _shown: shown,
        }
    }
}

/// A step of long work.
#[derive(Debug)]
pub(crate) struct Step {
    progress: Progress,
    /// `None` if nothing is to be shown.
    _shown: Option<Shown>,
}

impl Step {
    /// Counts what was done.
    pub(crate) fn add(&self, count: u64) {
        self.progress.add(count);
    }

    /// Says how much was done since the step began.
    pub(crate) fn set(&self, done: u64) {
        self.progress.set(done);
    }

    /// Goes on with another step.
    pub(crate) fn next(&self, what: &str, unit: Unit, total: Option<u64>) {
        self.progress.begin(what, unit, total);
    }
}

/// A thread that shows a step. Dropping it removes the bar.
#[derive(Debug)]
struct Shown {
    /// `None` once it is being dropped.
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// `None` if the system has no thread for it: the work matters more.
    fn by(progress: &Progress, show: fn(&Progress, &mpsc::Receiver<()>)) -> Option<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let progress = progress.clone();
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || show(&progress, &stopped));
        Some(Self {
            stop: Some(stop),
            thread: Some(thread.ok()?),
        })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed.
            let _ = thread.join();
        }
    }
}

/// Waits for the end of the step, for a moment. Returns whether it has come.
fn has_ended(stopped: &mpsc::Receiver<()>) -> bool {
    stopped.recv_timeout(DRAW_INTERVAL) != Err(RecvTimeoutError::Timeout)
}

fn draw(progress: &Progress, stopped: &mpsc::Receiver<()>) {
    // If standard error is closed, there is nobody to read it.
    let write = |text: &str| _ = io::stderr().write_all(text.as_bytes());
    while !has_ended(stopped) {
        if let Some(look) = progress.look() {
            let columns = terminal::size().map_or(COLUMNS, |(columns, _)| columns.into());
            write(&format!("{ERASE}{}", look.bar(columns)));
        }
    }
    write(ERASE);
}

fn tell(progress: &Progress, stopped: &mpsc::Receiver<()>) {
    let mut next = Instant::now() + FIRST_LINE;
    while !has_ended(stopped) {
        if Instant::now() < next {
            continue;
        }
        if let Some(look) = progress.look() {
            let _ = writeln!(io::stderr(), "{look}");
        }
        next = Instant::now() + LINE_INTERVAL;
    }
}
