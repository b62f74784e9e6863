//! Leader election: three candidates, one leader at a time, and a log that only the present leader can write.
//!
//! Candidates are elected in the order in which they stand. The leader writes in batches that are guarded by its office, so
//! a leader that has lost it without noticing changes nothing.
//!
//! ```console
//! $ cargo run --example leader_election [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Batch, Client, Error, Read, Reason, Write};
use support::Result;

const ELECTION: &str = "election/leader";
const TTL: Duration = Duration::from_secs(5);
const ENTRIES: usize = 3;

/// Appends to the log if the guard holds: the term is still the present one.
async fn append(
    client: &Client,
    guard: Read,
    name: &str,
    term: i64,
    number: usize,
) -> Result<(), Error> {
    let entry = format!("election/log/{term:020}/{number}");
    let guarded = Batch::new().op(guard).op(Write::new(entry, name).ttl(TTL));
    client.batch(guarded).await.map(drop)
}

/// Waits to be elected, leads for a while, and resigns. Returns the term.
async fn candidate(client: Client, name: &'static str) -> Result<i64> {
    let leadership = client.elect(ELECTION, name).ttl(TTL).await?;
    let term = leadership.term();
    println!("{name} leads in term {term}");
    for number in 0..ENTRIES {
        append(&client, leadership.guard(), name, term, number).await?;
    }
    // The next candidate is elected.
    let guard = leadership.guard();
    leadership.resign().await?;

    let late = append(&client, guard, name, term, ENTRIES).await;
    let error = late.expect_err("the term is over");
    assert_eq!(error.reason(), Some(Reason::ExpectationFailed));
    println!("{name} has resigned");
    Ok(term)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (client, _server) = support::connect().await?;
    let begin = client.info().await?.revision;
    let candidates =
        ["anna", "ben", "cleo"].map(|name| (name, tokio::spawn(candidate(client.clone(), name))));
    let mut terms = Vec::new();
    for (name, candidate) in candidates {
        terms.push((candidate.await??, name));
    }
    terms.sort_unstable();

    // The log is sorted by term, so it is also sorted by revision if no leader wrote after its term.
    let page = client.list("election/log/").await?;
    let own = page
        .entries
        .iter()
        .filter(|listed| listed.entry.revision > begin);
    let log: Vec<_> = own
        .map(|listed| (listed.entry.revision, listed.entry.value.clone()))
        .collect();
    assert!(log.is_sorted_by_key(|(revision, _)| *revision));
    let expected = terms
        .iter()
        .flat_map(|&(_, name)| vec![Some(name.into()); ENTRIES]);
    assert!(log.into_iter().map(|(_, name)| name).eq(expected));
    println!("{} terms, one leader at a time", terms.len());
    Ok(())
}
