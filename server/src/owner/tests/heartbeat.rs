//! Finding out whether the owner takes messages.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_while_the_owner_takes_nothing() {
    let (sender, mut mailbox) = mailbox(MAILBOX);
    let handle = OwnerHandle::new(sender);
    let heartbeat = handle.heartbeat();
    let late = tokio::time::timeout(SECOND, heartbeat.beat()).await;
    assert!(late.is_err(), "nobody took it");

    // A full mailbox is waited for.
    let read = || handle.read(read("a"), soon());
    let full = futures_util::future::join_all((1..MAILBOX.messages).map(|_| read()));
    let beat = async {
        tokio::task::yield_now().await;
        heartbeat.beat().await
    };
    let owner = async {
        let machine = machine();
        let mut owner = Owner::new(machine, None, &limits(MAILBOX), None);
        let clock = Clock::set(Time::MIN);
        let mut batch = Vec::new();
        // Until the mailbox is full, and the heartbeat waits.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            mailbox.recv_many(&mut batch).await;
            for envelope in batch.drain(..) {
                mailbox.release(&envelope);
                owner.dispatch(envelope.message, clock.now());
            }
        }
    };
    let (_, is_alive, ()) = tokio::join!(full, beat, owner);
    assert!(is_alive);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_does_not_keep_the_owner() {
    let (handle, owner) = start();
    let heartbeat = handle.heartbeat();
    assert!(heartbeat.beat().await);
    drop(handle);
    owner.await.unwrap().unwrap();
    assert!(!heartbeat.beat().await);
}
