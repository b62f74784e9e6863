//! A protocol that no client can break: connections that are idle, in flight or closing.
//!
//! The machine is defined once for all keys under a prefix. From then on the server refuses every move that the machine
//! does not list, whichever client asks: a second request on a connection that has one in flight, or the deletion of a
//! connection during a request.
//!
//! ```text
//! idle -> inflight -> idle ... -> closing
//! ```
//!
//! ```console
//! $ cargo run --example connection [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Machine, Reason, State};

/// The server closes a connection whose request takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

fn connections() -> Machine {
    Machine::new("connections")
        .key_prefix("connections/")
        .initial("idle")
        .state("idle", State::new().to("inflight").to("closing"))
        .state(
            "inflight",
            State::new()
                .to("idle")
                .to("closing")
                .timeout(REQUEST_TIMEOUT, "closing"),
        )
        // A state without moves is final, and a key can be deleted only in a final state.
        .state("closing", State::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> support::Result {
    let (client, _server) = support::connect().await?;
    // Defining the same machine again changes nothing, so every deployment may do it.
    client.define_machine(connections()).await?;

    let key = format!("connections/{}", std::process::id());
    client.write(&key, "192.0.2.7:443").await?;
    let begun = client.transition(&key, "inflight").await?;
    println!("moved: {} -> inflight", begun.from);
    assert_eq!(begun.from, "idle");

    // A second request would be answered in the wrong order. The machine does not allow it.
    let refused = client.transition(&key, "inflight").await;
    let error = refused.expect_err("a request is in flight");
    assert_eq!(error.reason(), Some(Reason::TransitionRefused));
    println!(
        "refused: {} -> {}, allowed: {}",
        error.metadata("from").unwrap_or_default(),
        error.metadata("to").unwrap_or_default(),
        error.metadata("allowed").unwrap_or_default(),
    );

    // Nor can the connection be deleted during its request.
    let error = client
        .delete(&key)
        .await
        .expect_err("inflight is not final");
    assert_eq!(error.reason(), Some(Reason::StateNotFinal));
    println!("refused: {error}");

    let entry = client.read(&key).await?.entry.expect("the key exists");
    assert_eq!(entry.state.as_deref(), Some("inflight"));
    assert_eq!(entry.revision, begun.revision);
    assert!(
        entry.state_expire_time.is_some(),
        "a forgotten request ends by itself"
    );

    for state in ["idle", "inflight", "closing"] {
        let moved = client.transition(&key, state).await?;
        println!("moved: {} -> {state}", moved.from);
    }
    let closed = client
        .delete(&key)
        .await?
        .previous
        .expect("the key existed");
    println!("deleted: {}", closed.state.unwrap_or_default());
    Ok(())
}
