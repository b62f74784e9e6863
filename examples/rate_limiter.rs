//! A rate limiter in one call: at most five requests of each user in a second, however many servers count them.
//!
//! One Add does it all: it counts, refuses beyond `max`, and with `ttl` the counter ends by itself a second after the
//! first request, which begins the next window. Nobody reads before writing, so there is no race to lose.
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

/// Counts a request of this user, and tells whether it is one of those that are allowed.
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

    // The counter ends by itself: nothing is to be cleaned up, and the next window begins with the next request.
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
