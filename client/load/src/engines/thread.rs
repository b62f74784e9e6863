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
use crate::record::history::{History, RecordingSeed};
use crate::record::live::Shown;
use crate::record::recorder::Recorder;
use crate::workload::generator::Workload;
use crate::workload::keys::Keys;

/// What all threads share.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Arc<Settings>,
    /// HOST:PORT.
    pub(crate) address: Arc<str>,
    pub(crate) keys: Keys,
    /// One for each worker, if the workload has any.
    pub(crate) sessions: Arc<Mutex<Vec<Option<v1::Session>>>>,
    /// What a history of the run needs, if there is to be one.
    pub(crate) history: Option<RecordingSeed>,
    /// Set when everything is connected: the start.
    pub(crate) start: watch::Receiver<Option<Arc<Stop>>>,
}

/// A thread under way.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Answers when its workers are ready to send, or why they never will be.
    pub(crate) ready: oneshot::Receiver<Result<(), String>>,
    /// Answers when all of them are done.
    pub(crate) done: oneshot::Receiver<Driven>,
    pub(crate) shown: Arc<Shown>,
}

/// What came of one thread.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) recorder: Recorder,
    /// CPU time of the thread from the end of the warm-up on.
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
    /// What its workers asked and were answered, if somebody wants to know.
    pub(crate) history: Option<History>,
}

impl Driver {
    pub(crate) fn spawn(
        name: String,
        work: impl FnOnce(Ready, Arc<Shown>) -> LocalBoxFuture<'static, Option<Driven>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let shown = Arc::<Shown>::default();
        let (ready_sender, ready) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let thread_shown = Arc::clone(&shown);
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
            if let Some(driven) = runtime.block_on(work(ready_sender, thread_shown)) {
                // Nobody waits any more if another thread has failed.
                let _ = done_sender.send(driven);
            }
        })?;
        Ok(Self { ready, done, shown })
    }
}

pub(crate) type Ready = oneshot::Sender<Result<(), String>>;

/// Says what was opened, and waits for the start. `None` if there will be none, because something could not be opened
/// here or in another thread.
pub(crate) async fn start<T>(
    opened: Result<T, String>,
    ready: Ready,
    plan: &mut Plan,
) -> Option<(T, Arc<Stop>)> {
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return None;
        }
    };
    ready.send(Ok(())).ok()?;
    let started = plan.start.wait_for(Option::is_some).await.ok()?;
    let stop = started.clone().expect("waited for");
    Some((opened, stop))
}

impl Plan {
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
