//! Many clients increment one key: no update is lost, and revisions have no gap.

use soloist_client::{Client, Condition, Reason, Value};

use crate::support::TestServer;

const CLIENTS: i64 = 16;
const INCREMENTS: i64 = 50;

/// Increments the counter by read and compare-and-set, again after each conflict. Returns the revisions of its writes.
async fn increment(client: Client) -> Vec<i64> {
    let mut revisions = Vec::new();
    while revisions.len() < INCREMENTS as usize {
        let entry = client.read("counter").await.unwrap().entry;
        let (count, condition) = match entry {
            None => (0, Condition::Missing),
            Some(entry) => match entry.value {
                Value::Int(count) => (count, Condition::Revision(entry.revision)),
                other => panic!("{other:?}"),
            },
        };
        match client.write("counter", count + 1).expect(condition).await {
            Ok(written) => revisions.push(written.revision),
            Err(error) => assert!(
                matches!(
                    error.reason(),
                    Some(Reason::ExpectationFailed | Reason::KeyExists)
                ),
                "{error}"
            ),
        }
    }
    revisions
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    let server = TestServer::start();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        tasks.push(tokio::spawn(increment(server.client().await)));
    }
    let mut revisions = Vec::new();
    for task in tasks {
        let own = task.await.unwrap();
        assert!(own.is_sorted());
        revisions.extend(own);
    }
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=CLIENTS * INCREMENTS));

    let client = server.client().await;
    let counter = client.read("counter").await.unwrap();
    assert_eq!(counter.value(), Some(&Value::Int(CLIENTS * INCREMENTS)));
    assert_eq!(counter.entry.unwrap().create_revision, 1);
}
