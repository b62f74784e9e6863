//! Jobs that are neither done twice nor forgotten: queued, running, done or failed, with a timeout.
//!
//! Two workers watch for jobs, and both try to move each job to `running`. The machine lets only one of them. If a
//! worker dies, the timeout of the state `running` moves its job to `failed`, and this program queues the job again.
//!
//! ```console
//! $ cargo run --example job_workflow [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use soloist_client::{Cause, Client, Machine, Reason, State};
use support::Result;
use tokio::task::JoinSet;

const TIMEOUT: Duration = Duration::from_millis(500);

fn jobs() -> Machine {
    Machine::new("jobs")
        .key_prefix("jobs/")
        .initial("queued")
        .state("queued", State::new().to("running"))
        .state(
            "running",
            State::new()
                .to("done")
                .to("failed")
                .timeout(TIMEOUT, "failed"),
        )
        .state("failed", State::new().to("queued"))
        .state("done", State::new())
}

/// Takes and does jobs. Dies in the middle of a job whose value is `deadly`.
async fn worker(client: Client, name: &'static str, prefix: String) -> Result {
    let mut watch = client.watch_prefix(prefix).initial().await?;
    while let Some(message) = watch.next().await? {
        for event in message.events {
            let Some(job) = event
                .entry
                .filter(|job| job.state.as_deref() == Some("queued"))
            else {
                continue;
            };
            match client.transition(&event.key, "running").await {
                Ok(_) if job.value == "deadly".into() => return Ok(()),
                Ok(_) => client.transition(&event.key, "done").value(name).await?,
                // The other worker was faster.
                Err(error) if error.reason() == Some(Reason::TransitionRefused) => continue,
                Err(error) => return Err(error.into()),
            };
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (client, _server) = support::connect().await?;
    client.define_machine(jobs()).await?;
    let prefix = format!("jobs/{}/", std::process::id());
    let mut watch = client.watch_prefix(&prefix).await?;
    let mut workers = JoinSet::new();
    for name in ["anna", "ben"] {
        workers.spawn(worker(client.clone(), name, prefix.clone()));
    }
    for (job, kind) in [
        ("resize", "harmless"),
        ("encode", "deadly"),
        ("mail", "harmless"),
    ] {
        client.write(format!("{prefix}{job}"), kind).await?;
    }

    let mut runs = BTreeMap::new();
    let mut done = 0;
    while done < 3 {
        let message = tokio::select! {
            message = watch.next() => message?.expect("an error ends a watch"),
            Some(worker) = workers.join_next() => {
                worker??;
                println!("a worker died");
                continue;
            }
        };
        for event in message.events {
            let job = event.key.trim_start_matches(&prefix);
            let state = event
                .entry
                .and_then(|entry| entry.state)
                .unwrap_or_default();
            println!("{job}: {state} ({:?})", event.cause);
            match state.as_str() {
                "running" => *runs.entry(job.to_owned()).or_insert(0) += 1,
                "failed" => {
                    assert_eq!((job, event.cause), ("encode", Cause::TimedOut));
                    // Queue the job again, in a form that no worker dies of.
                    let again = client.transition(&event.key, "queued").value("harmless");
                    again.await?;
                }
                "done" => done += 1,
                _ => {}
            }
        }
    }

    // Each job ran once, except the one whose worker died.
    assert_eq!(runs["resize"], 1);
    assert_eq!(runs["mail"], 1);
    assert_eq!(runs["encode"], 2);
    for job in runs.keys() {
        let key = format!("{prefix}{job}");
        let entry = client
            .delete(&key)
            .await?
            .previous
            .expect("a done job is not deleted yet");
        println!("{job} was done by {:?}", entry.value);
    }
    Ok(())
}
