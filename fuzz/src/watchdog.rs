//! Ends the process if one input takes for ever, and tells which.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// An input that takes longer than this hangs. Inputs take microseconds, or a few milliseconds with sockets, so that a machine
/// that is busy with other things does not decide.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// Watches over the inputs of one run, until it is dropped.
pub(crate) struct Watchdog {
    current: Arc<Current>,
    _ends: SyncSender<()>,
}

#[derive(Default)]
struct Current {
    number: AtomicU64,
    input: Mutex<Vec<u8>>,
}

impl Watchdog {
    /// `tell` makes the report of an input that hangs.
    pub(crate) fn start(tell: impl Fn(u64, &[u8]) -> String + Send + 'static) -> Self {
        let current = Arc::new(Current::default());
        let watched = Arc::clone(&current);
        let (ends, ended) = sync_channel(0);
        thread::spawn(move || {
            let mut last = u64::MAX;
            while ended.recv_timeout(HANGS_AFTER) == Err(RecvTimeoutError::Timeout) {
                let number = watched.number.load(Ordering::SeqCst);
                if number == last {
                    let input = watched.input.lock().unwrap_or_else(PoisonError::into_inner);
                    let told = tell(number, &input);
                    // Nothing can be done about a failure to write.
                    let _ = writeln!(std::io::stderr(), "hangs: {told}");
                    std::process::exit(101);
                }
                last = number;
            }
        });
        Self {
            current,
            _ends: ends,
        }
    }

    /// Notes the input that comes next.
    pub(crate) fn next(&self, number: u64, input: &[u8]) {
        let mut current = self
            .current
            .input
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.extend_from_slice(input);
        self.current.number.store(number, Ordering::SeqCst);
    }
}
