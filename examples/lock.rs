//! A lock that is safe though its holder may stop for any length of time: a session, and a fencing token.
//!
//! The lock is a key written with `expect` missing and with the holder's session: it ends with the holder. But a holder
//! that was paused does not know that its session has ended, and goes on. So every lock comes with a token, the
//! create_revision of its key, which grows from holder to holder, and what the lock protects refuses older ones.
//!
//! ```console
//! $ cargo run --example lock [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Client, Condition, Error, Reason, Session};

const LOCK: &str = "locks/printer";
/// The shortest that there is, so that this example ends soon.
const TTL: Duration = Duration::from_secs(1);

/// Takes the lock, after waiting for its holder; returns its token.
async fn acquire(client: &Client, session: &Session) -> Result<i64, Error> {
    // Watched before it is tried, so that no release goes unseen in between.
    let mut watch = client.watch_key(LOCK).await?;
    loop {
        let attempt = client
            .write(LOCK, session.id.as_str())
            .session(session)
            .expect(Condition::Missing);
        match attempt.await {
            Ok(written) => return Ok(written.create_revision),
            Err(error) if error.reason() == Some(Reason::KeyExists) => {}
            Err(error) => return Err(error),
        }
        while let Some(message) = watch.next().await? {
            if message.events.iter().any(|event| event.entry.is_none()) {
                break;
            }
        }
    }
}

/// Gives the lock back, unless it is somebody else's by now.
async fn release(client: &Client, token: i64) -> Result<(), Error> {
    let condition = Condition::CreateRevision(token);
    client.delete(LOCK).expect(condition).await.map(drop)
}

/// What the lock protects: somewhere else, and with no idea of sessions.
#[derive(Default)]
struct Printer {
    newest_token: i64,
}

impl Printer {
    fn print(&mut self, page: &str, token: i64) -> Result<(), String> {
        if token < self.newest_token {
            let newest = self.newest_token;
            return Err(format!("token {token} is older than {newest}"));
        }
        self.newest_token = token;
        println!("printed: {page} (token {token})");
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> support::Result {
    let (client, _server) = support::connect().await?;
    let mut printer = Printer::default();

    let first = client.open_session(TTL).await?;
    let first_token = acquire(&client, &first).await?;
    printer.print("page 1 of the first", first_token)?;

    // Here the first holder is paused: by its garbage collector, by its hypervisor, by a closed lid. It does not renew
    // its session, which ends, and the lock with it. That is what the second one waits for.
    let second = client.open_session(10 * TTL).await?;
    let keep_alive = client.keep_alive(&second).await?;
    let second_token = acquire(&client, &second).await?;
    assert!(second_token > first_token);
    printer.print("page 1 of the second", second_token)?;

    // The first one wakes up, and believes that it holds the lock.
    let late = printer.print("page 2 of the first", first_token);
    println!("refused: {}", late.expect_err("its token is old"));
    // Nor can it give away a lock that is not its own, or take the session for alive.
    let error = release(&client, first_token)
        .await
        .expect_err("not its own");
    assert_eq!(error.reason(), Some(Reason::ExpectationFailed));
    let error = client
        .renew_session(&first)
        .await
        .expect_err("it has ended");
    assert_eq!(error.reason(), Some(Reason::SessionNotFound));

    assert!(keep_alive.is_alive());
    printer.print("page 2 of the second", second_token)?;
    release(&client, second_token).await?;
    keep_alive.close().await?;
    assert_eq!(client.read(LOCK).await?.entry, None);
    println!("released");
    Ok(())
}
