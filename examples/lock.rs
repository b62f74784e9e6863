//! A lock whose holder is paused and comes back late, which a fencing token catches.
//!
//! The lock ends with its holder's session. Its token grows from holder to holder, and whatever the lock protects refuses
//! a token that is older than one it has seen.
//!
//! ```console
//! $ cargo run --example lock [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Batch, Client, Reason, Write};

const LOCK: &str = "lock/printer";

/// What the lock protects. It is outside of Soloist and knows of the lock only the tokens that it is shown.
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

/// Ends the session that a lock's key is named for.
async fn end_session(client: &Client, key: &str) -> support::Result {
    let sessions = client.list_sessions().await?.sessions;
    let session = sessions.iter().find(|session| key.ends_with(&session.id));
    client.close_session(session.ok_or("no session")?).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> support::Result {
    let (client, _server) = support::connect().await?;
    let mut printer = Printer::default();

    let first = client.lock(LOCK).ttl(Duration::from_secs(1)).await?;
    printer.print("page 1 of the first", first.token())?;

    // Here the first holder is paused: by its garbage collector, its hypervisor, or a closed lid. It does not renew its
    // session, so the session ends, and the lock with it. So that nobody has to wait, the session is closed instead.
    end_session(&client, first.key()).await?;
    let second = client.lock(LOCK).await?;
    assert!(second.token() > first.token());
    printer.print("page 1 of the second", second.token())?;

    // The first holder wakes up and believes that it holds the lock.
    let late = printer.print("page 2 of the first", first.token());
    println!("refused: {}", late.expect_err("the token is old"));
    // What is in Soloist itself needs no such printer: a Batch with the lock's guard is refused whole.
    let guarded = Batch::new()
        .op(first.guard())
        .op(Write::new("printer/page", 2));
    let error = client.batch(guarded).await.expect_err("the lock has ended");
    assert_eq!(error.reason(), Some(Reason::ExpectationFailed));
    let lost = first.lost().await;
    assert_eq!(lost.reason(), Some(Reason::SessionNotFound));

    assert!(second.is_held());
    printer.print("page 2 of the second", second.token())?;
    second.release().await?;
    println!("released");
    Ok(())
}
