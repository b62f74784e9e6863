//! The recipe for a lock: a session, a key that ends with the session, and the create_revision of the key as fencing token.

use serde_json::json;
use tonic::Code;

use crate::json::{Caller, Includes, refused};
use crate::support::TestServer;

#[tokio::test]
async fn a_lock_holder_that_comes_back_late_is_refused() {
    let server = TestServer::start();
    let (first, second) = (Caller::of(&server).await, Caller::of(&server).await);
    let take = |session: &str| json!({"key": "lock", "value": {"text": session}, "session": session, "expect": {"exists": false}});
    for (caller, id) in [(&first, "first"), (&second, "second")] {
        let open = json!({"id": id, "ttl": "1s"});
        caller.call("Sessions/OpenSession", &open).await.unwrap();
    }
    let taken = first.call("State/Write", &take("first")).await.unwrap();
    let old_token = taken["createRevision"].clone();
    let held = refused(
        Code::AlreadyExists,
        "KEY_EXISTS",
        json!({"revision": taken["revision"]}),
    );
    second.check("State/Write", take("second"), held).await;

    // The first client pauses: it does not renew its session. The second one does, and waits until the lock is free.
    let watch = json!({"key": "lock", "after_revision": taken["revision"]});
    let mut watch = second.stream("State/Watch", &watch).await.unwrap();
    let renew = json!({"id": "second", "create_revision": 2});
    let mut renewals = tokio::time::interval(std::time::Duration::from_millis(300));
    loop {
        use futures_util::StreamExt as _;
        tokio::select! {
            message = watch.next() => {
                let message = message.unwrap().unwrap();
                if message["events"][0]["cause"] == "SESSION_ENDED" {
                    break;
                }
            }
            _ = renewals.tick() => {
                second.call("Sessions/RenewSession", &renew).await.unwrap();
            }
        }
    }
    let taken = second.call("State/Write", &take("second")).await.unwrap();
    let new_token = taken["createRevision"].clone();
    let number = |token: &serde_json::Value| token.as_str().unwrap().parse::<i64>().unwrap();
    assert!(number(&new_token) > number(&old_token));

    // The first client wakes up, and goes on as if it still had the lock.
    let guarded = |token: &serde_json::Value| {
        json!({"ops": [
            {"read": {"key": "lock", "expect": {"create_revision": token}}},
            {"write": {"key": "protected", "value": {"text": "mine"}}},
        ]})
    };
    let fenced =
        json!({"test": "create_revision", "expected": old_token, "actual": new_token, "op": "0"});
    let fenced = || refused(Code::Aborted, "EXPECTATION_FAILED", fenced.clone());
    first
        .check("State/Batch", guarded(&old_token), fenced())
        .await;
    second
        .check("State/Batch", guarded(&new_token), Includes(json!({})))
        .await;
    // It cannot release the lock that it no longer has, nor renew its session.
    let release =
        |token: &serde_json::Value| json!({"key": "lock", "expect": {"create_revision": token}});
    let fenced = json!({"test": "create_revision", "expected": old_token, "actual": new_token});
    let fenced = refused(Code::Aborted, "EXPECTATION_FAILED", fenced);
    first
        .check("State/Delete", release(&old_token), fenced)
        .await;
    let ended = refused(Code::NotFound, "SESSION_NOT_FOUND", json!({}));
    let renew = json!({"id": "first", "create_revision": 1});
    first.check("Sessions/RenewSession", renew, ended).await;
    second
        .check("State/Delete", release(&new_token), Includes(json!({})))
        .await;
}
