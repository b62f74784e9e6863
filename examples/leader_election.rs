//! Leader election: three candidates, one leader at a time, and a log that only the leader of the day can write.
//!
//! Whoever writes the leader's key first leads, as long as its session lives; the others wait until the key is gone. The
//! key's create_revision is the term. What a leader writes is guarded by its term, in one Batch: a leader that has lost
//! its office without noticing changes nothing any more.
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

/// Waits until it is elected; returns the term.
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

/// Writes to the log, but only in this term.
async fn append(client: &Client, name: &str, term: i64, number: usize) -> Result<(), Error> {
    let entry = format!("election/log/{term:020}/{number}");
    let guarded = Batch::new()
        .op(Read::new(LEADER).expect(Condition::CreateRevision(term)))
        .op(Write::new(entry, name).ttl(TTL));
    client.batch(guarded).await.map(drop)
}

/// Is elected, leads for a while, and resigns; returns its term.
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
    // Its key goes with its session, and the next one is elected.
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

    // The log is in the order of the terms, and each leader's entries stand together, in the order of their revisions.
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
