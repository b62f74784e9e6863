//! The threads of a run: some that run the workers, and one for the watches of the workload `watch`.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::engines::raw::driver;
use crate::engines::thread::{RunContext, RunningThread, ThreadResult};
use crate::engines::{calls, watchers};
use crate::pace::open_loop::ArrivalSource;
use crate::plan::choices::Engine;
use crate::record::live::LiveCounters;

/// All threads of a run.
#[derive(Debug)]
pub(crate) struct Threads {
    workers: Vec<RunningThread>,
    watchers: Option<Watchers>,
}

#[derive(Debug)]
struct Watchers {
    thread: RunningThread,
    /// Sets the revision after which the watches are done.
    last_revision: watch::Sender<Option<i64>>,
}

impl Threads {
    /// Starts all threads. `sources` says where each gets its arrivals from; it is empty in a closed loop.
    ///
    /// # Errors
    /// If the system has not enough threads to give.
    pub(crate) fn start(context: &RunContext, sources: Vec<ArrivalSource>) -> io::Result<Self> {
        let mut sources = sources.into_iter();
        let workers = (0..context.settings.threads)
            .map(|index| start_workers(index, context.clone(), sources.next()))
            .collect::<io::Result<_>>()?;
        let watchers = match context.settings.watchers {
            0 => None,
            _ => Some(start_watchers(context.clone())?),
        };
        Ok(Self { workers, watchers })
    }

    /// Waits until all threads are connected.
    ///
    /// # Errors
    /// If one of them cannot connect.
    pub(crate) async fn ready(&mut self) -> Result<(), String> {
        let watchers = self.watchers.as_mut().map(|watchers| &mut watchers.thread);
        for thread in self.workers.iter_mut().chain(watchers) {
            (&mut thread.ready)
                .await
                .unwrap_or_else(|_| Err("a thread has ended without an error".to_owned()))?;
        }
        Ok(())
    }

    /// Returns where the threads show their counts.
    pub(crate) fn live(&self) -> Vec<Arc<LiveCounters>> {
        let watchers = self.watchers.as_ref().map(|watchers| &watchers.thread);
        let threads = self.workers.iter().chain(watchers);
        threads.map(|thread| Arc::clone(&thread.live)).collect()
    }

    /// Waits until all workers are done. Returns the result of each thread.
    pub(crate) async fn join_workers(&mut self) -> Vec<ThreadResult> {
        let mut results = Vec::with_capacity(self.workers.len());
        for thread in self.workers.drain(..) {
            results.push(join(thread).await);
        }
        results
    }

    /// Waits until the watches, if there are any, have received every event up to `last_revision`.
    pub(crate) async fn join_watchers(self, last_revision: i64) -> Option<ThreadResult> {
        let watchers = self.watchers?;
        watchers.last_revision.send_replace(Some(last_revision));
        Some(join(watchers.thread).await)
    }

    /// Returns whether there are watches.
    pub(crate) fn has_watchers(&self) -> bool {
        self.watchers.is_some()
    }
}

async fn join(thread: RunningThread) -> ThreadResult {
    let result = thread.done.await;
    result.expect("a thread that was ready ends with a result")
}

/// Starts thread `index`, counted from 0.
fn start_workers(
    index: u64,
    context: RunContext,
    source: Option<ArrivalSource>,
) -> io::Result<RunningThread> {
    let engine = context.settings.engine;
    RunningThread::spawn(format!("load-{index}"), move |ready, live| match engine {
        Engine::Raw => Box::pin(driver::drive(index, context, source, ready, live)),
        Engine::Unary | Engine::Pipeline => {
            Box::pin(calls::drive(index, context, source, ready, live))
        }
    })
}

fn start_watchers(context: RunContext) -> io::Result<Watchers> {
    let (last_revision, revision) = watch::channel(None);
    let thread = RunningThread::spawn("load-watch".to_owned(), move |ready, live| {
        Box::pin(watchers::drive(context, revision, ready, live))
    })?;
    Ok(Watchers {
        thread,
        last_revision,
    })
}
