//! Leader election: three candidates, one leader at a time, and a log that only the present leader can write.
//!
//! The client that creates the leader's key leads while its session lives. The others wait until the key is deleted.
//! The create_revision of the key is the term. The leader writes in batches that are guarded by its term, so a leader
//! that has lost its office without noticing changes nothing.
//!
//! ```console
//! $ cargo run --example leader_election [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Batch, Client, Condition, Error, Read, Reason, Retry, Session, Write};
use support::Result;

const LEADER: &str = "election/leader";
const TTL: Duration = Duration::from_secs(5);
const ENTRIES: usize = 3;

/// Waits until the candidate is elected and returns its term.
async fn elected(client: &Client, name: &str, session: &Session) -> Result<i64> {
    let mut watch = client.watch_key(LEADER).resume(Retry::default()).await?;
    loop {
        let candidacy = client
            .write(LEADER, name)
            .session(session)
            .expect(Condition::Missing)
            .retry(Retry::default());
        match candidacy.await {
            Ok(written) => return Ok(written.create_revision),
            Err(error) if error.reason() == Some(Reason::KeyExists) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(message) = watch.next().await? {
            if message.events.iter().any(|event| event.entry.is_none()) {
                break;
            }
        }
    }
}

/// Appends to the log if the term is still the present one.
async fn append(client: &Client, name: &str, term: i64, number: usize) -> Result<(), Error> {
    let entry = format!("election/log/{term:020}/{number}");
    let guarded = Batch::new()
        .op(Read::new(LEADER).expect(Condition::CreateRevision(term)))
        .op(Write::new(entry, name).ttl(TTL));
    client.batch(guarded).await.map(drop)
}

/// Waits to be elected, leads for a while, and resigns. Returns the term.
async fn candidate(client: Client, name: &'static str) -> Result<i64> {
    let session = client.open_session(TTL).await?;
    let keep_alive = client.keep_alive(&session).await?;
    let term = tokio::select! {
        term = elected(&client, name, &session) => term?,
        lost = keep_alive.lost() => return Err(lost.into()),
    };
    println!("{name} leads in term {term}");
    for number in 0..ENTRIES {
        append(&client, name, term, number).await?;
    }
    // Closing the session deletes the leader's key, so the next candidate is elected.
    keep_alive.close().await?;

    let late = append(&client, name, term, ENTRIES).await;
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
