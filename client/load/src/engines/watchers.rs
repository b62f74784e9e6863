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
use tonic::{Code, Request, Response, Status, Streaming};

use crate::engines::backoff::Backoff;
use crate::engines::link::Link;
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
    let ((streams, links), stop) = wait_for_start(opened, ready, &mut context).await?;
    let maintaining: Vec<_> = links
        .iter()
        .map(|link| spawn_local(Rc::clone(link).maintain()))
        .collect();
    let settings = &context.settings;
    let recording = context.recording();
    let recorder = Rc::new(RefCell::new(Recorder::new(live, settings.interval)));
    let watching: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(number, stream)| {
            let watcher = Watcher {
                stream,
                link: Rc::clone(&links[number / WATCHES_PER_CONNECTION as usize]),
                settings: Arc::clone(settings),
                has_lost: false,
                seen: None,
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
    for task in maintaining {
        task.abort();
    }
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

/// Returns the watches, and the links of their connections.
async fn open(
    context: &RunContext,
) -> Result<(Vec<Streaming<WatchResponse>>, Vec<Rc<Link>>), String> {
    let (settings, destination) = (&context.settings, &context.destination);
    let after_revision = context.history.as_ref().map(|setup| setup.revision);
    let connections = settings.watchers.div_ceil(WATCHES_PER_CONNECTION);
    let opening = (0..connections).map(|number| {
        let backoff = Backoff::new(settings.seed ^ number, connections);
        Link::open(
            destination,
            settings.connect_timeout,
            backoff,
            &context.watch_links,
        )
    });
    let links = try_join_all(opening).await?;
    let opening = (0..settings.watchers).map(|number| {
        let link = &links[(number / WATCHES_PER_CONNECTION) as usize];
        async move {
            let opened = open_watch(link, settings, after_revision).await;
            opened.map_err(|status| {
                let address = destination.address();
                format!("cannot open a watch on {address}: {status}")
            })
        }
    });
    Ok((try_join_all(opening).await?, links))
}

/// Opens a watch of the changes after a revision, or from now on.
async fn open_watch(
    link: &Link,
    settings: &Settings,
    after_revision: Option<i64>,
) -> Result<Streaming<WatchResponse>, Status> {
    let request = WatchRequest {
        target: Some(Target::Prefix(settings.key_names().common())),
        after_revision,
        progress_interval: PROGRESS_INTERVAL.try_into().ok(),
        ..WatchRequest::default()
    };
    let connection = link.connection();
    let connection = connection.ok_or_else(|| Status::unavailable("there is no connection"))?;
    let mut request = Request::new(request);
    *request.metadata_mut() = connection.metadata(&settings.metadata);
    let mut state = connection.state();
    let opening = state.watch(request);
    let timeout = settings.connect_timeout;
    match tokio::time::timeout(timeout, opening).await {
        Ok(opened) => {
            let opened = opened.map(Response::into_inner);
            opened.inspect_err(|status| {
                connection.is_elsewhere(status.code(), status.details());
            })
        }
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {timeout:?}"
        ))),
    }
}

/// One watch.
struct Watcher {
    stream: Streaming<WatchResponse>,
    link: Rc<Link>,
    settings: Arc<Settings>,
    /// Whether it has lost its stream.
    has_lost: bool,
    /// The revision up to which the server has sent every event. `None` before the first message.
    seen: Option<i64>,
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
            if last.is_some_and(|last| self.seen.unwrap_or(0) >= last) {
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
                        self.lose_stream();
                        if !self.reopen(&mut last_revision, timeout).await {
                            return;
                        }
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

    fn lose_stream(&mut self) {
        if !std::mem::replace(&mut self.has_lost, true) {
            let now = Instant::now();
            self.recorder.borrow_mut().lose_worker(now, &self.stop);
        }
    }

    /// Opens the watch again where it was interrupted. Once the last revision is known, tries for `timeout` at most. Returns
    /// whether there is a stream again.
    async fn reopen(
        &mut self,
        last_revision: &mut watch::Receiver<Option<i64>>,
        timeout: Duration,
    ) -> bool {
        let give_up = async {
            if last_revision.wait_for(Option::is_some).await.is_ok() {
                tokio::time::sleep(timeout).await;
            }
        };
        let mut backoff = Backoff::new(self.settings.seed, self.settings.watchers);
        let link = Rc::clone(&self.link);
        let opening = async {
            loop {
                let changed = link.changed();
                if !link.is_up() {
                    changed.await;
                    continue;
                }
                match open_watch(&link, &self.settings, self.seen).await {
                    Ok(stream) => return stream,
                    // The server has another store, or keeps these changes no longer. A history would have a gap.
                    Err(status) if status.code() == Code::OutOfRange => {
                        self.seen = None;
                        if let Some(history) = self.history.take() {
                            history.end();
                        }
                    }
                    Err(_) => tokio::time::sleep(backoff.wait()).await,
                }
            }
        };
        tokio::select! {
            stream = opening => {
                self.stream = stream;
                true
            }
            () = give_up => false,
        }
    }

    fn take(&mut self, message: WatchResponse) {
        let now = Instant::now();
        self.seen = self.seen.max(Some(message.revision));
        self.link.answered(self.link.generation());
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
