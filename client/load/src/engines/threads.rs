//! The threads that drive the workers, each with a runtime, connections and workers of its own.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engines::raw::driver;
use crate::engines::thread::{Driven, Driver, Plan, Ready, start};
use crate::engines::{calls, watchers};
use crate::pace::open_loop::Inlet;
use crate::plan::choices::Engine;
use crate::record::live::Shown;

/// Starts thread `index`, counted from 0.
pub(crate) fn start_workers(
    index: u64,
    plan: Plan,
    inlet: Option<Inlet>,
) -> std::io::Result<Driver> {
    let engine = plan.settings.engine;
    Driver::spawn(format!("load-{index}"), move |ready, shown| match engine {
        Engine::Raw => Box::pin(driver::drive(index, plan, inlet, ready, shown)),
        Engine::Unary | Engine::Pipeline => {
            Box::pin(calls::drive(index, plan, inlet, ready, shown))
        }
    })
}

/// Starts the thread of the watches. They end when they have seen the last revision.
pub(crate) fn start_watchers(
    plan: Plan,
    last_revision: watch::Receiver<Option<i64>>,
) -> std::io::Result<Driver> {
    Driver::spawn("load-watch".to_owned(), move |ready, shown| {
        Box::pin(watch_over(plan, last_revision, ready, shown))
    })
}

async fn watch_over(
    mut plan: Plan,
    last_revision: watch::Receiver<Option<i64>>,
    ready: Ready,
    shown: Arc<Shown>,
) -> Option<Driven> {
    let opened = watchers::open(
        &plan.settings,
        &plan.address,
        plan.history.as_ref().map(|of| of.revision),
    )
    .await;
    let (streams, stop) = start(opened, ready, &mut plan).await?;
    Some(watchers::drive(plan, streams, stop, shown, last_revision).await)
}
