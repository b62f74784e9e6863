//! The threads that drive the workers, each with a runtime, connections and workers of its own.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engines::raw::driver;
use crate::engines::thread::{
    ReadySender, RunContext, RunningThread, ThreadResult, wait_for_start,
};
use crate::engines::{calls, watchers};
use crate::pace::open_loop::ArrivalSource;
use crate::plan::choices::Engine;
use crate::record::live::LiveCounters;

/// Starts thread `index`, counted from 0.
pub(crate) fn start_workers(
    index: u64,
    context: RunContext,
    source: Option<ArrivalSource>,
) -> std::io::Result<RunningThread> {
    let engine = context.settings.engine;
    RunningThread::spawn(format!("load-{index}"), move |ready, live| match engine {
        Engine::Raw => Box::pin(driver::drive(index, context, source, ready, live)),
        Engine::Unary | Engine::Pipeline => {
            Box::pin(calls::drive(index, context, source, ready, live))
        }
    })
}

/// Starts the thread of the watches. They end when they have seen the last revision.
pub(crate) fn start_watchers(
    context: RunContext,
    last_revision: watch::Receiver<Option<i64>>,
) -> std::io::Result<RunningThread> {
    RunningThread::spawn("load-watch".to_owned(), move |ready, live| {
        Box::pin(watch_over(context, last_revision, ready, live))
    })
}

async fn watch_over(
    mut context: RunContext,
    last_revision: watch::Receiver<Option<i64>>,
    ready: ReadySender,
    live: Arc<LiveCounters>,
) -> Option<ThreadResult> {
    let opened = watchers::open(
        &context.settings,
        &context.address,
        context.history.as_ref().map(|of| of.revision),
    )
    .await;
    let (streams, stop) = wait_for_start(opened, ready, &mut context).await?;
    Some(watchers::drive(context, streams, stop, live, last_revision).await)
}
