//! Logs, and the last words of the process, on standard error.
//!
//! A thread of its own writes them. Whoever logs never waits for standard error, and never fails with it: a reader that
//! has gone, a full disk, or a full pipe that nobody reads must not stop a server. Lines that cannot be written, and
//! lines for which the queue has no room, are dropped and counted, and the log tells how many as soon as it can.
//! (`tracing-appender` has such a writer, too. But it prints to standard output when it ends, does not count failed
//! writes, and bounds lines instead of bytes.)

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::ValueEnum;
use soloist_server::config::{LOG_FLUSH_TIMEOUT, LOG_QUEUE_BYTES_MAX, PANIC_TEXT_BYTES_MAX};
use tracing::error;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::{EnvFilter, reload};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// Parses what to log. Stricter than [`EnvFilter`], which takes any word for a target, and then logs nothing else: a
/// typing error must not turn the log off.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const TARGET_CHARACTERS: &str = "_:[]{}=\".*$^+|() ";
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let mut has_level = false;
    let mut directives = Vec::new();
    for directive in text.split(',').map(str::trim) {
        let is_good = match directive.rsplit_once('=') {
            None => {
                has_level = true;
                is_level(directive)
            }
            Some((target, level)) => {
                let may_be_in_target =
                    |c: char| c.is_ascii_alphanumeric() || TARGET_CHARACTERS.contains(c);
                !target.is_empty() && target.chars().all(may_be_in_target) && is_level(level)
            }
        };
        if !is_good {
            return Err(format!(
                "{directive:?} is neither a level ({}) nor TARGET=LEVEL",
                LEVELS.join(", ")
            ));
        }
        directives.push(match directive.rsplit_once('=') {
            None => directive.to_ascii_lowercase(),
            Some((target, level)) => format!("{target}={}", level.to_ascii_lowercase()),
        });
    }
    if !has_level {
        directives.push("warn".into());
    }
    EnvFilter::try_new(directives.join(",")).map_err(|error| error.to_string())
}

/// Changes what is logged.
pub(crate) struct SetFilter(Box<SetFilterFn>);

type SetFilterFn = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send;

impl SetFilter {
    fn new(set: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + 'static) -> Self {
        Self(Box::new(set))
    }

    /// From now on, logs what `filter` says.
    ///
    /// # Errors
    /// If nothing is logged any more.
    pub(crate) fn set(&self, filter: EnvFilter) -> Result<(), String> {
        (self.0)(filter).map_err(|error| error.to_string())
    }
}

/// Where log lines go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Queue>, LogFormat);

/// Returns to the start of the line, and empties it.
const ERASE: &str = "\r\x1b[K";

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    added: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of all lines that are not written yet, with the one that is being written.
    bytes: usize,
    /// Lines that were dropped and not told yet.
    dropped: u64,
    /// Whether a bar is the last line of the terminal, or will be when all is written.
    has_bar: bool,
    /// All lines that were dropped.
    dropped_total: Arc<AtomicU64>,
}

impl Waiting {
    fn drop_line(&mut self) {
        self.dropped += 1;
        self.dropped_total.fetch_add(1, Ordering::Relaxed);
    }
}

impl Log {
    /// Sends the logs of this process, and the texts of panics, to standard error.
    ///
    /// # Errors
    /// The system's error if the thread cannot be created.
    pub(crate) fn start(filter: EnvFilter, format: LogFormat) -> io::Result<(Self, SetFilter)> {
        let log = Self::to(io::stderr(), format)?;
        let writer = log.clone();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || writer.clone())
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
        let set_filter = match format {
            LogFormat::Text => {
                let logs = logs.with_filter_reloading();
                let handle = logs.reload_handle();
                logs.init();
                SetFilter::new(move |filter| handle.reload(filter))
            }
            LogFormat::Json => {
                let logs = logs.json().with_filter_reloading();
                let handle = logs.reload_handle();
                logs.init();
                SetFilter::new(move |filter| handle.reload(filter))
            }
        };
        // The default hook writes to standard error itself, and waits for it.
        std::panic::set_hook(Box::new(log_panic));
        Ok((log, set_filter))
    }

    fn to(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let log = Self(Arc::clone(&queue), format);
        // Ends with the process.
        thread::Builder::new()
            .name("log".into())
            .spawn(move || queue.write_to(out, format))?;
        Ok(log)
    }

    /// How many lines were dropped, now and later.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.lock().dropped_total)
    }

    /// Writes a line that is not a log line, even if logging is off.
    pub(crate) fn line(&self, text: &str) {
        self.0.push(format!("{text}\n").into_bytes());
    }

    /// Whether log lines are for people.
    pub(crate) fn is_text(&self) -> bool {
        self.1 == LogFormat::Text
    }

    /// Draws a bar as the last line of the terminal, in place of the one before. The next log line takes its place.
    pub(crate) fn bar(&self, text: &str) {
        self.0.draw(&format!("{ERASE}{text}"), true);
    }

    /// Removes the bar, if there is one.
    pub(crate) fn erase_bar(&self) {
        self.0.draw(ERASE, false);
    }

    /// Waits until all lines are written, for a moment only: nobody may be reading.
    pub(crate) fn flush(&self) {
        let waiting = self.0.lock();
        let ended = self
            .0
            .written
            .wait_timeout_while(waiting, LOG_FLUSH_TIMEOUT, |waiting| waiting.bytes > 0);
        drop(ended);
    }
}

impl Write for Log {
    /// Takes all of `line`, which is a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under the lock panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut line: Vec<u8>) {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.has_bar) {
            line.splice(..0, ERASE.bytes());
        }
        if waiting.bytes + line.len() > LOG_QUEUE_BYTES_MAX {
            waiting.drop_line();
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.added.notify_one();
    }

    /// Draws the last line of the terminal, unless the terminal has not taken what was written before.
    fn draw(&self, text: &str, is_bar: bool) {
        let mut waiting = self.lock();
        if (is_bar && waiting.bytes > 0) || (!is_bar && !waiting.has_bar) {
            return;
        }
        waiting.has_bar = is_bar;
        waiting.bytes += text.len();
        waiting.lines.push_back(text.into());
        self.added.notify_one();
    }

    /// Writes lines for ever.
    fn write_to(&self, out: impl Write, format: LogFormat) {
        let mut out = Lines {
            out,
            is_torn: false,
        };
        loop {
            let waiting = self.lock();
            let mut waiting = self
                .added
                .wait_while(waiting, |waiting| waiting.lines.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let Some(line) = waiting.lines.pop_front() else {
                continue;
            };
            drop(waiting);

            let written = out.write(&line);
            let mut waiting = self.lock();
            if written.is_err() {
                waiting.drop_line();
            } else if waiting.dropped > 0 {
                let dropped = std::mem::take(&mut waiting.dropped);
                drop(waiting);
                let told = out.write(dropped_line(dropped, format).as_bytes());
                waiting = self.lock();
                if told.is_err() {
                    waiting.dropped += dropped;
                }
            }
            waiting.bytes -= line.len();
            if waiting.bytes == 0 {
                self.written.notify_all();
            }
        }
    }
}

/// Writes whole lines.
struct Lines<W> {
    out: W,
    /// Whether only the start of the last line was written.
    is_torn: bool,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.out.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.is_torn = !rest.is_empty();
        }
        self.out.flush()
    }
}

/// The line that tells how many were dropped. It is made by hand, because a log line could be dropped, too.
fn dropped_line(dropped: u64, format: LogFormat) -> String {
    let mut time = String::new();
    // Without a time the line still tells what it must.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let message = "log lines were dropped: standard error did not take them";
    match format {
        LogFormat::Text => {
            format!("{time}  WARN soloist_server::logging: {message} dropped={dropped}\n")
        }
        LogFormat::Json => format!(
            "{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"fields\":{{\"message\":\"{message}\",\
             \"dropped\":{dropped}}},\"target\":\"soloist_server::logging\"}}\n"
        ),
    }
}

/// Logs a panic: its thread, its place, and the start of its text.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no text");
    let text = &text[..text.floor_char_boundary(PANIC_TEXT_BYTES_MAX)];
    let place = panic.location().map(ToString::to_string);
    let thread = thread::current();
    error!(
        thread = thread.name().unwrap_or("unnamed"),
        place = place.as_deref().unwrap_or("unknown"),
        "panicked: {text}"
    );
}

/// Writes a line to standard output without waiting for its reader. A failed write is ignored: whoever started the
/// process may not read its output.
///
/// # Errors
/// The system's error if the thread cannot be created.
pub(crate) fn announce(line: String) -> io::Result<()> {
    thread::Builder::new()
        .name("announce".into())
        .spawn(move || {
            let _ = writeln!(io::stdout(), "{line}");
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Standard error that takes a write when the test wants it to.
    struct Reader {
        writes: SyncSender<Vec<u8>>,
        results: Receiver<io::Result<usize>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.send(bytes.to_vec()).unwrap();
            let result = self.results.recv();
            result.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_filter_that_would_turn_the_log_off_is_refused() {
        for (text, shown) in [
            ("info", "info"),
            ("OFF", "off"),
            ("soloist_server=debug", "soloist_server=debug,warn"),
            ("info, h2=trace", "h2=trace,info"),
        ] {
            assert_eq!(filter(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "nonsense",
            "inf",
            "soloist_server",
            "info,",
            "=info",
            "soloist-server=info",
            "h2=loud",
        ] {
            filter(text).unwrap_err();
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_told() {
        for (format, told) in [
            (LogFormat::Text, "dropped=3"),
            (LogFormat::Json, "\"dropped\":3}"),
        ] {
            let (writes, written) = sync_channel(0);
            let (result, results) = sync_channel(1);
            let mut log = Log::to(Reader { writes, results }, format).unwrap();
            let line = vec![b'x'; LOG_QUEUE_BYTES_MAX / 4];
            for _ in 0..7 {
                log.write_all(&line).unwrap();
            }
            log.flush();
            assert_eq!(log.0.lock().dropped, 3);
            assert_eq!(written.recv().unwrap(), line);
            result.send(Ok(line.len())).unwrap();
            let text = String::from_utf8(written.recv().unwrap()).unwrap();
            assert!(text.contains(told) && text.ends_with('\n'), "{text}");
            result.send(Ok(text.len())).unwrap();
            for _ in 0..3 {
                assert_eq!(written.recv().unwrap(), line);
                result.send(Ok(line.len())).unwrap();
            }
            log.flush();
            let waiting = log.0.lock();
            assert_eq!((waiting.bytes, waiting.dropped), (0, 0));
        }
    }

    #[test]
    fn a_bar_makes_room_for_lines() {
        let (writes, written) = sync_channel(0);
        let (result, results) = sync_channel(1);
        let log = Log::to(Reader { writes, results }, LogFormat::Text).unwrap();
        let expect = |text: &str| {
            let bytes = String::from_utf8(written.recv().unwrap()).unwrap();
            assert_eq!(bytes, text);
            result.send(Ok(bytes.len())).unwrap();
        };
        // There is no bar to remove.
        log.erase_bar();
        log.bar("half");
        // It has not been written yet, so there is no further one.
        log.bar("more");
        expect("\r\x1b[Khalf");
        log.flush();
        log.line("a line");
        log.line("another");
        expect("\r\x1b[Ka line\n");
        expect("another\n");
        log.flush();
        log.bar("all");
        expect("\r\x1b[Kall");
        log.erase_bar();
        log.erase_bar();
        log.line("the end");
        expect("\r\x1b[K");
        expect("the end\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_and_do_not_tear_the_next() {
        let (writes, written) = sync_channel(0);
        let (result, results) = sync_channel(1);
        let log = Log::to(Reader { writes, results }, LogFormat::Text).unwrap();
        let expect = |text: &str, answer: io::Result<usize>| {
            let bytes = String::from_utf8(written.recv().unwrap()).unwrap();
            assert!(bytes.ends_with(text), "{bytes:?} and not {text:?}");
            result
                .send(answer.map(|len| if len == 0 { bytes.len() } else { len }))
                .unwrap();
        };
        log.line("first");
        expect("first\n", Ok(2));
        expect("rst\n", Err(io::ErrorKind::StorageFull.into()));
        log.line("second");
        expect("\n", Ok(0));
        expect("second\n", Ok(0));
        expect("dropped=1\n", Ok(0));
        log.line("third");
        expect("third\n", Ok(0));
    }
}
