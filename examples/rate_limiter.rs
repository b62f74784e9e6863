//! A rate limiter in one call: each user may make five requests in a second, however many servers count them.
//!
//! A single Add does everything. It counts, it refuses a count above `max`, and its `ttl` deletes the counter a second
//! after the first request, which starts the next window. Nobody reads before writing, so there is no race.
//!
//! ```console
//! $ cargo run --example rate_limiter [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::time::Duration;

use soloist_client::{Cause, Client, Error, Reason};

const REQUESTS_MAX: i64 = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts a request of this user and returns whether it is allowed.
async fn is_allowed(client: &Client, user: &str) -> Result<bool, Error> {
    let counted = client
        .add(format!("requests/{user}"), 1)
        .max(REQUESTS_MAX)
        .ttl(WINDOW);
    match counted.await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Some(Reason::BoundReached) => Ok(false),
        Err(error) => Err(error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> support::Result {
    let (client, _server) = support::connect().await?;
    // Two users that no other run of this example has.
    let anna = format!("anna-{}", std::process::id());
    let ben = format!("ben-{}", std::process::id());
    let mut watch = client.watch_key(format!("requests/{anna}")).await?;

    let mut allowed = 0;
    for number in 1..=8 {
        let is_allowed = is_allowed(&client, &anna).await?;
        let answer = if is_allowed {
            "200 OK"
        } else {
            "429 Too Many Requests"
        };
        println!("request {number} of anna: {answer}");
        allowed += i64::from(is_allowed);
    }
    assert_eq!(allowed, REQUESTS_MAX);
    println!("{allowed} of 8 requests allowed");

    assert!(
        is_allowed(&client, &ben).await?,
        "every user has a count of their own"
    );
    println!("request 1 of ben: 200 OK");

    // The counter expires by itself, so there is nothing to clean up. The next request starts the next window.
    while let Some(message) = watch.next().await? {
        if message
            .events
            .iter()
            .any(|event| event.cause == Cause::Expired)
        {
            break;
        }
    }
    assert!(is_allowed(&client, &anna).await?);
    println!("a second later, anna again: 200 OK");
    Ok(())
}
