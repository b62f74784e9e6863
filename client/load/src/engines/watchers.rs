//! Watches that are told of what the workers write: how long a change takes to reach everyone.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use soloist::v1::event::Cause;
use soloist::v1::watch_request::Target;
use soloist::v1::{WatchRequest, WatchResponse, value};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tonic::Streaming;

use crate::engines::connection::Connection;
use crate::engines::thread::{RunContext, ThreadResult};
use crate::pace::cpu::thread_cpu_time;
use crate::pace::stop::Stop;
use crate::plan::mix::WATCHED_PREFIX;
use crate::plan::settings::Settings;
use crate::record::history::WatchHistory;
use crate::record::live::LiveCounters;
use crate::record::recorder::Recorder;

/// Watches on one connection: each is a stream.
const WATCHES_PER_CONNECTION: u64 = 200;

/// How often the watches are told to say how far they are, though nothing happens.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the watches.
pub(crate) async fn open(
    settings: &Settings,
    address: &str,
    after: Option<i64>,
) -> Result<Vec<Streaming<WatchResponse>>, String> {
    let connections = settings.watchers.div_ceil(WATCHES_PER_CONNECTION);
    let opening = (0..connections).map(|_| Connection::open(address, settings.connect_timeout));
    let connections = try_join_all(opening).await?;
    let opening = (0..settings.watchers).map(|number| {
        let connection = &connections[(number / WATCHES_PER_CONNECTION) as usize];
        open_one(connection, address, settings, after)
    });
    try_join_all(opening).await
}

async fn open_one(
    connection: &Connection,
    address: &str,
    settings: &Settings,
    after: Option<i64>,
) -> Result<Streaming<WatchResponse>, String> {
    let request = WatchRequest {
        target: Some(Target::Prefix(WATCHED_PREFIX.to_owned())),
        after_revision: after,
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

/// Receives until every watch has seen the last revision, which is told when all writes are answered.
pub(crate) async fn drive(
    context: RunContext,
    streams: Vec<Streaming<WatchResponse>>,
    stop: Arc<Stop>,
    live: Arc<LiveCounters>,
    last_revision: watch::Receiver<Option<i64>>,
) -> ThreadResult {
    let settings = &context.settings;
    let history = context.history.map(|seed| {
        let after = seed.revision;
        (seed.start(), after)
    });
    let recorder = Rc::new(RefCell::new(Recorder::new(live, settings.interval)));
    let watching: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let watcher = Watcher {
                stream,
                seen: 0,
                stop: Arc::clone(&stop),
                recorder: Rc::clone(&recorder),
                record: history.as_ref().map(|(of, after)| of.watch(*after)),
            };
            spawn_local(watcher.run(last_revision.clone(), settings.answer_timeout()))
        })
        .collect();
    tokio::time::sleep_until(stop.window_start().into()).await;
    let cpu_before = thread_cpu_time();
    for watcher in watching {
        watcher
            .await
            .expect("watchers neither panic nor are aborted");
    }
    let cpu = thread_cpu_time().saturating_sub(cpu_before);
    let recorder = Rc::into_inner(recorder).expect("all watchers are done");
    let mut recorder = recorder.into_inner();
    recorder.finish();
    ThreadResult {
        recorder,
        cpu,
        // What ends a run is the last answer to a write.
        finished: stop.window_start(),
        history: history.map(|(history, _)| history.finish()),
    }
}

struct Watcher {
    stream: Streaming<WatchResponse>,
    /// The revision up to which it has been told everything.
    seen: i64,
    stop: Arc<Stop>,
    recorder: Rc<RefCell<Recorder>>,
    record: Option<WatchHistory>,
}

impl Watcher {
    async fn run(mut self, last: watch::Receiver<Option<i64>>, timeout: Duration) {
        self.receive(last, timeout).await;
        if let Some(record) = self.record {
            record.end();
        }
    }

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
            let given_up = async {
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
                () = given_up => {
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
        if let Some(record) = &mut self.record {
            record.take(&message, self.stop.nanos_of(now));
        }
        let mut recorder = self.recorder.borrow_mut();
        for event in message.events {
            let is_write = event.cause == i32::from(Cause::Written);
            let value = event.entry.and_then(|entry| entry.value);
            let stamp = match value.and_then(|value| value.kind) {
                Some(value::Kind::Int(stamp)) if is_write => u64::try_from(stamp).ok(),
                _ => None,
            };
            if let Some(stamp) = stamp {
                let intended = self.stop.instant_of(stamp);
                recorder.event(intended, now, &self.stop);
            }
        }
    }
}
