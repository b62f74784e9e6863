//! The watches of the workload `watch`: how long a write takes to reach everyone who watches its key.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use soloist::v1::event::Cause;
use soloist::v1::watch_request::Target;
use soloist::v1::{Event, WatchRequest, WatchResponse, value};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tonic::Streaming;

use crate::engines::connection::Connection;
use crate::engines::thread::{ReadySender, RunContext, ThreadResult, wait_for_start};
use crate::pace::cpu::thread_cpu_time;
use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::history::HistoryRecording;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;
use crate::record::watch_history::WatchHistory;

/// The watches on one connection. Each is a stream, and servers allow 256 by default.
const WATCHES_PER_CONNECTION: u64 = 200;

/// How often the server tells a watch the revision up to which it has sent every event, even if there is none.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the watches, and receives until every watch has seen the last revision. That becomes known when all writes are
/// answered.
pub(crate) async fn drive(
    mut context: RunContext,
    last_revision: watch::Receiver<Option<i64>>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let opened = open(&context).await;
    let (streams, stop) = wait_for_start(opened, ready, &mut context).await?;
    let settings = &context.settings;
    let recording = context.recording();
    let recorder = Rc::new(RefCell::new(Recorder::new(live, settings.interval)));
    let watching: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let watcher = Watcher {
                stream,
                seen: 0,
                stop: Arc::clone(&stop),
                recorder: Rc::clone(&recorder),
                history: recording.as_ref().map(WatchHistory::new),
            };
            spawn_local(watcher.run(last_revision.clone(), settings.answer_timeout()))
        })
        .collect();
    tokio::time::sleep_until(stop.window_start().into()).await;
    let cpu_before = thread_cpu_time();
    for watcher in watching {
        watcher
            .await
            .expect("a watch neither panics nor is aborted");
    }
    let cpu = thread_cpu_time().saturating_sub(cpu_before);
    let recorder = Rc::into_inner(recorder).expect("all watches are done");
    let mut recorder = recorder.into_inner();
    recorder.finish();
    Some(ThreadResult {
        recorder,
        cpu,
        // The run ends with the last answer to a write: the watches do not prolong it.
        finished: stop.window_start(),
        history: recording.map(HistoryRecording::finish),
    })
}

async fn open(context: &RunContext) -> Result<Vec<Streaming<WatchResponse>>, String> {
    let (settings, address) = (&context.settings, &context.address);
    let after_revision = context.history.as_ref().map(|setup| setup.revision);
    let connections = settings.watchers.div_ceil(WATCHES_PER_CONNECTION);
    let opening = (0..connections).map(|_| Connection::open(address, settings.connect_timeout));
    let connections = try_join_all(opening).await?;
    let opening = (0..settings.watchers).map(|number| {
        let connection = &connections[(number / WATCHES_PER_CONNECTION) as usize];
        open_watch(connection, address, settings, after_revision)
    });
    try_join_all(opening).await
}

async fn open_watch(
    connection: &Connection,
    address: &str,
    settings: &Settings,
    after_revision: Option<i64>,
) -> Result<Streaming<WatchResponse>, String> {
    let request = WatchRequest {
        target: Some(Target::Prefix(settings.key_names().common())),
        after_revision,
        progress_interval: PROGRESS_INTERVAL.try_into().ok(),
        ..WatchRequest::default()
    };
    let mut state = connection.state(address);
    let opening = state.watch(request);
    let opened = tokio::time::timeout(settings.connect_timeout, opening).await;
    match opened {
        Ok(Ok(stream)) => Ok(stream.into_inner()),
        Ok(Err(status)) => Err(format!("cannot open a watch on {address}: {status}")),
        Err(_) => Err(format!(
            "cannot open a watch on {address} within {:?}",
            settings.connect_timeout
        )),
    }
}

/// One watch.
struct Watcher {
    stream: Streaming<WatchResponse>,
    /// The revision up to which the server has sent every event.
    seen: i64,
    stop: Arc<Stop>,
    recorder: Rc<RefCell<Recorder>>,
    history: Option<WatchHistory>,
}

impl Watcher {
    async fn run(mut self, last_revision: watch::Receiver<Option<i64>>, timeout: Duration) {
        self.receive(last_revision, timeout).await;
        if let Some(history) = self.history {
            history.end();
        }
    }

    /// Receives until the last revision is known and seen. Once it is known, waits at most for `timeout` until the next
    /// message.
    async fn receive(
        &mut self,
        mut last_revision: watch::Receiver<Option<i64>>,
        timeout: Duration,
    ) {
        loop {
            let last = *last_revision.borrow();
            if last.is_some_and(|last| self.seen >= last) {
                return;
            }
            let timed_out = async {
                match last {
                    Some(_) => tokio::time::sleep(timeout).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.stream.message() => match message {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) | Err(_) => {
                        let now = Instant::now();
                        self.recorder.borrow_mut().lose_worker(now, &self.stop);
                        return;
                    }
                },
                _ = last_revision.changed(), if last.is_none() => {}
                () = timed_out => {
                    let now = Instant::now();
                    self.recorder.borrow_mut().lose_watch(now);
                    return;
                }
            }
        }
    }

    fn take(&mut self, message: WatchResponse) {
        let now = Instant::now();
        self.seen = self.seen.max(message.revision);
        if let Some(history) = &mut self.history {
            history.take(&message, self.stop.nanos_of(now));
        }
        let mut recorder = self.recorder.borrow_mut();
        for event in message.events {
            if let Some(stamp) = stamp(event) {
                let intended = self.stop.instant_of(stamp);
                recorder.event(intended, now, &self.stop);
            }
        }
    }
}

/// Returns the value of a key that a worker wrote: when that write was meant to start, in nanoseconds after the start of the
/// run.
fn stamp(event: Event) -> Option<u64> {
    if event.cause != i32::from(Cause::Written) {
        return None;
    }
    match event.entry?.value?.kind? {
        value::Kind::Int(stamp) => u64::try_from(stamp).ok(),
        _ => None,
    }
}
