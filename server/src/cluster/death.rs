//! Finds out at once that the owner's process has died: its connections end, and nobody listens in its place.
//!
//! A connection that only is silent says nothing: the owner's lease decides then.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// How long a connection may take. It says nothing about the owner if it takes longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait before the owner is tried again when it could not be reached.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until the process that listens at `address` has died: until a connection to it has ended, and another one was refused.
/// Meanwhile `reaches` is told whether there is a connection.
///
/// The connection carries nothing. A server closes such a connection after a few seconds; then another one is made.
pub(super) async fn died(address: &str, mut reaches: impl FnMut(bool)) {
    let mut was_connected = false;
    loop {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => {
                was_connected = true;
                reaches(true);
                ended(connection).await;
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused && was_connected => {
                debug!(owner = address, "the owner does not listen any more");
                reaches(false);
                return;
            }
            Ok(Err(_)) | Err(_) => {
                reaches(false);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until a connection ends, however.
async fn ended(mut connection: TcpStream) {
    let mut bytes = [0; 256];
    while connection
        .read(&mut bytes)
        .await
        .is_ok_and(|count| count > 0)
    {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::mpsc;

    use tokio::net::TcpListener;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_owner_that_listens_no_more_and_whose_connection_ended_has_died() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, seen) = mpsc::sync_channel(100);
        let death = tokio::spawn(async move {
            died(&address, |reaches| sender.send(reaches).unwrap()).await;
        });
        // A connection that is closed while the owner lives is no death.
        for _ in 0..3 {
            drop(listener.accept().await.unwrap());
        }
        let (connection, _) = listener.accept().await.unwrap();
        assert!(!death.is_finished());
        drop(listener);
        assert!(!death.is_finished(), "there is a connection still");
        drop(connection);
        timeout(WAIT, death).await.unwrap().unwrap();
        let seen: Vec<_> = seen.try_iter().collect();
        assert_eq!(seen, [true, true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_was_never_reached_has_not_died() {
        // The port is free, as far as anybody can tell.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let waited = timeout(WAIT, died(&address, |reaches| assert!(!reaches))).await;
        assert!(waited.is_err());
    }
}
