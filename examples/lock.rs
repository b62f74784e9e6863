//! A lock that stays safe even if its holder is paused for any length of time: a session and a fencing token.
//!
//! The lock is a key that is written with the holder's session, and only if it is missing. It ends with the session.
//! But a holder that was paused does not know that its session has ended, and goes on. So every holder gets a token,
//! the create_revision of the key, which grows from holder to holder. Whatever the lock protects refuses a token that
//! is older than the newest one it has seen.
//!
//! ```console
//! $ cargo run --example lock [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Client, Condition, Error, Reason, Session};

const LOCK: &str = "locks/printer";
/// The shortest ttl that a server grants, so that this example ends soon.
const TTL: Duration = Duration::from_secs(1);

/// Waits until the lock is free, acquires it, and returns its token.
async fn acquire(client: &Client, session: &Session) -> Result<i64, Error> {
    // Watch before the first attempt, so that no release is missed in between.
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

/// Releases the lock, unless another holder has it by now.
async fn release(client: &Client, token: i64) -> Result<(), Error> {
    let condition = Condition::CreateRevision(token);
    client.delete(LOCK).expect(condition).await.map(drop)
}

/// What the lock protects. It knows nothing of sessions.
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

    // Here the first holder is paused: by its garbage collector, its hypervisor, or a closed lid. It does not renew its
    // session, so the session ends, and the lock with it. The second holder waits for that.
    let second = client.open_session(10 * TTL).await?;
    let keep_alive = client.keep_alive(&second).await?;
    let second_token = acquire(&client, &second).await?;
    assert!(second_token > first_token);
    printer.print("page 1 of the second", second_token)?;

    // The first holder wakes up and believes that it holds the lock.
    let late = printer.print("page 2 of the first", first_token);
    println!("refused: {}", late.expect_err("the token is old"));
    // It can neither release the lock of another holder nor renew its own session.
    let error = release(&client, first_token)
        .await
        .expect_err("another holder has the lock");
    assert_eq!(error.reason(), Some(Reason::ExpectationFailed));
    let error = client
        .renew_session(&first)
        .await
        .expect_err("the session has ended");
    assert_eq!(error.reason(), Some(Reason::SessionNotFound));

    assert!(keep_alive.is_alive());
    printer.print("page 2 of the second", second_token)?;
    release(&client, second_token).await?;
    keep_alive.close().await?;
    assert_eq!(client.read(LOCK).await?.entry, None);
    println!("released");
    Ok(())
}
