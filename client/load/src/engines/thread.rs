//! A thread of a run: what it gets, how it starts together with the others, and what it returns.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use soloist::v1;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};

use crate::connect::destination::Destination;
use crate::engines::rules::Rules;
use crate::pace::admission::Admission;
use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::history::{HistoryRecording, HistorySetup, ThreadHistory};
use crate::record::links::Links;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::workload::call::turns::CallRun;
use crate::workload::generator::Workload;
use crate::workload::keys::Keys;

/// What all threads of a run share.
#[derive(Clone, Debug)]
pub(crate) struct RunContext {
    pub(crate) settings: Arc<Settings>,
    /// The connections of all threads.
    pub(crate) links: Arc<Links>,
    /// The connections of the watches: no operation is sent on them.
    pub(crate) watch_links: Arc<Links>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) keys: Keys,
    /// A session for each worker, if the workload needs any, until the worker takes it.
    pub(crate) sessions: Arc<Mutex<Vec<Option<v1::Session>>>>,
    /// What the workers call, if the user names a method.
    pub(crate) call: Option<CallRun>,
    /// `None` in a closed loop.
    pub(crate) admission: Option<Arc<Admission>>,
    /// `None` if the run records no history.
    pub(crate) history: Option<HistorySetup>,
    /// Set at the start, when everything is connected.
    pub(crate) start: watch::Receiver<Option<Arc<Stop>>>,
}

/// A thread that has been started.
#[derive(Debug)]
pub(crate) struct RunningThread {
    /// Receives whether the workers of the thread are ready to send; the error says why they never will be.
    pub(crate) ready: oneshot::Receiver<Result<(), String>>,
    /// Receives the result when all workers are done.
    pub(crate) done: oneshot::Receiver<ThreadResult>,
    pub(crate) live: Arc<LiveCounters>,
}

/// Where a thread says whether its workers are ready.
pub(crate) type ReadySender = oneshot::Sender<Result<(), String>>;

/// What a thread returns.
#[derive(Debug)]
pub(crate) struct ThreadResult {
    pub(crate) recorder: Recorder,
    /// CPU time of the thread since the end of the warm-up.
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
    /// `None` if the run records no history.
    pub(crate) history: Option<ThreadHistory>,
}

impl RunningThread {
    /// Starts a thread, with a runtime of its own for `work`.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn spawn<W>(name: String, work: W) -> io::Result<Self>
    where
        W: FnOnce(ReadySender, Arc<LiveCounters>) -> LocalBoxFuture<'static, Option<ThreadResult>>
            + Send
            + 'static,
    {
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
            if let Some(result) = runtime.block_on(work(ready_sender, thread_live)) {
                // If another thread has failed, nobody waits for this one.
                let _ = done_sender.send(result);
            }
        })?;
        Ok(Self { ready, done, live })
    }
}

/// Says whether this thread could open what it needs, and waits for the start of the run. Returns `None` if the run does
/// not start, because this or another thread could not.
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
    let stop = started.clone().expect("the wait was for it");
    Some((opened, stop))
}

impl RunContext {
    /// Returns the operations of worker `number`.
    pub(crate) fn workload(&self, number: u64) -> Workload {
        let mut workload = Workload::new(&self.settings, self.keys.clone(), number);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(number as usize).and_then(Option::take);
        if let Some(session) = session {
            workload.set_session(session);
        }
        if let Some(call) = &self.call {
            workload.set_call(call.clone(), self.settings.global_number(number));
        }
        workload
    }

    /// Returns the recorder of a thread of workers.
    pub(crate) fn recorder(&self, live: Arc<LiveCounters>) -> Recorder {
        let interval = self.settings.interval;
        match self.settings.open_loop {
            None => Recorder::of_closed_loop(live, interval),
            Some(_) => Recorder::new(live, interval),
        }
    }

    /// Returns where the workers of a thread leave their histories, if the run records any.
    pub(crate) fn recording(&self) -> Option<HistoryRecording> {
        self.history.clone().map(HistoryRecording::new)
    }

    pub(crate) fn rules(&self, stop: &Arc<Stop>) -> Rules {
        Rules::new(&self.settings, stop, self.admission.clone())
    }

    /// Returns the numbers of the connections of thread `index`: connection `c` belongs to thread `c % threads`.
    pub(crate) fn connections_of(&self, index: u64) -> impl Iterator<Item = u64> + use<> {
        let threads = self.settings.threads;
        (0..self.settings.connections).filter(move |number| number % threads == index)
    }

    /// Returns the numbers of the workers of a connection: worker `w` belongs to connection `w % connections`.
    pub(crate) fn workers_of(&self, connection: u64) -> impl Iterator<Item = u64> + use<> {
        let connections = self.settings.connections;
        (0..self.settings.workers()).filter(move |number| number % connections == connection)
    }
}
