//! A thread of the generator: what it is given, how it starts together with the others, and what comes of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use soloist::v1;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};

use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::history::{HistorySetup, ThreadHistory};
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::workload::generator::Workload;
use crate::workload::keys::Keys;

/// What all threads share.
#[derive(Clone, Debug)]
pub(crate) struct RunContext {
    pub(crate) settings: Arc<Settings>,
    /// HOST:PORT.
    pub(crate) address: Arc<str>,
    pub(crate) keys: Keys,
    /// One for each worker, if the workload has any.
    pub(crate) sessions: Arc<Mutex<Vec<Option<v1::Session>>>>,
    /// What a history of the run needs, if there is to be one.
    pub(crate) history: Option<HistorySetup>,
    /// Set when everything is connected: the start.
    pub(crate) start: watch::Receiver<Option<Arc<Stop>>>,
}

/// A thread under way.
#[derive(Debug)]
pub(crate) struct RunningThread {
    /// Answers when its workers are ready to send, or why they never will be.
    pub(crate) ready: oneshot::Receiver<Result<(), String>>,
    /// Answers when all of them are done.
    pub(crate) done: oneshot::Receiver<ThreadResult>,
    pub(crate) live: Arc<LiveCounters>,
}

/// What came of one thread.
#[derive(Debug)]
pub(crate) struct ThreadResult {
    pub(crate) recorder: Recorder,
    /// CPU time of the thread from the end of the warm-up on.
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
    /// What its workers asked and were answered, if somebody wants to know.
    pub(crate) history: Option<ThreadHistory>,
}

impl RunningThread {
    pub(crate) fn spawn(
        name: String,
        work: impl FnOnce(
            ReadySender,
            Arc<LiveCounters>,
        ) -> LocalBoxFuture<'static, Option<ThreadResult>>
        + Send
        + 'static,
    ) -> std::io::Result<Self> {
        let live = Arc::<LiveCounters>::default();
        let (ready_sender, ready) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let thread_live = Arc::clone(&live);
        thread::Builder::new().name(name).spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let why = format!("cannot start a runtime: {error}");
                    return drop(ready_sender.send(Err(why)));
                }
            };
            if let Some(driven) = runtime.block_on(work(ready_sender, thread_live)) {
                // Nobody waits any more if another thread has failed.
                let _ = done_sender.send(driven);
            }
        })?;
        Ok(Self { ready, done, live })
    }
}

pub(crate) type ReadySender = oneshot::Sender<Result<(), String>>;

/// Says what was opened, and waits for the start. `None` if there will be none, because something could not be opened
/// here or in another thread.
pub(crate) async fn wait_for_start<T>(
    opened: Result<T, String>,
    ready: ReadySender,
    context: &mut RunContext,
) -> Option<(T, Arc<Stop>)> {
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return None;
        }
    };
    ready.send(Ok(())).ok()?;
    let started = context.start.wait_for(Option::is_some).await.ok()?;
    let stop = started.clone().expect("waited for");
    Some((opened, stop))
}

impl RunContext {
    /// What a worker sends.
    pub(crate) fn workload(&self, number: u64) -> Workload {
        let mut workload = Workload::new(&self.settings, self.keys.clone(), number);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(number as usize).and_then(Option::take);
        if let Some(session) = session {
            workload.set_session(session);
        }
        workload
    }
}
