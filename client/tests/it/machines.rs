//! Machines: the moves that they allow and refuse, their definitions, and timeouts.

use std::time::Duration;

use soloist_client::{
    Batch, Cause, Code, Condition, Machine, OpReply, Outcome, Reason, State, Transition,
};

use crate::support::{TestServer, next_events};

fn connection() -> Machine {
    Machine::new("conn")
        .key_prefix("conn/")
        .initial("idle")
        .state("idle", State::new().to("inflight").to("closing"))
        .state("inflight", State::new().to("idle"))
        .state("closing", State::new())
}

#[tokio::test]
async fn a_key_moves_only_as_its_machine_allows() {
    let server = TestServer::start();
    let client = server.client().await;
    client.define_machine(connection()).await.unwrap();
    client.write("conn/1", "address").await.unwrap();

    let moved = client.transition("conn/1", "inflight").await.unwrap();
    assert_eq!((moved.from.as_str(), moved.replayed), ("idle", false));
    let refused = client.transition("conn/1", "closing").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.reason(), Some(Reason::TransitionRefused));
    assert_eq!(refused.outcome(), Outcome::NotApplied);
    assert_eq!(refused.metadata("from"), Some("inflight"));
    assert_eq!(refused.metadata("to"), Some("closing"));
    assert_eq!(refused.metadata("allowed"), Some("idle"));
    let kept = client.delete("conn/1").await.unwrap_err();
    assert_eq!(kept.reason(), Some(Reason::StateNotFinal));

    let entry = client.read("conn/1").await.unwrap().entry.unwrap();
    assert_eq!(entry.value, "address".into());
    assert_eq!(entry.revision, moved.revision);
    assert_eq!(entry.machine.as_deref(), Some("conn"));
    assert_eq!(entry.state.as_deref(), Some("inflight"));
    assert_eq!(entry.state_expire_time, None);

    let both = Batch::new()
        .op(Transition::new("conn/1", "idle").value("other"))
        .op(Transition::new("conn/1", "closing").expect(Condition::State("idle".into())));
    let done = client.batch(both).await.unwrap();
    assert!(
        matches!(&done.results[1], OpReply::Transition(moved) if moved.from == "idle"),
        "{done:?}"
    );
    let deleted = client.delete("conn/1").await.unwrap().previous.unwrap();
    assert_eq!(deleted.value, "other".into());
    assert_eq!(deleted.state.as_deref(), Some("closing"));
}

#[tokio::test]
async fn a_state_can_be_a_condition() {
    let server = TestServer::start();
    let client = server.client().await;
    client.define_machine(connection()).await.unwrap();
    client.write("conn/1", 1).await.unwrap();
    let idle = Condition::State("idle".into());
    client
        .write("conn/1", 2)
        .expect(idle.clone())
        .await
        .unwrap();
    client.transition("conn/1", "inflight").await.unwrap();
    let error = client.write("conn/1", 3).expect(idle).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(error.reason(), Some(Reason::StateMismatch));
    assert_eq!(error.metadata("actual"), Some("inflight"));
}

#[tokio::test]
async fn definitions_are_validated_guarded_and_idempotent() {
    let server = TestServer::start();
    let client = server.client().await;
    let timed = connection().state(
        "inflight",
        State::new()
            .to("idle")
            .timeout(Duration::from_secs(30), "closing"),
    );

    let tried = client.define_machine(timed.clone()).validate_only().await;
    assert_eq!(tried.unwrap(), timed);
    let missing = client.get_machine("conn").await.unwrap_err();
    assert_eq!(missing.reason(), Some(Reason::MachineNotFound));

    let defined = client.define_machine(timed.clone()).await.unwrap();
    assert!(defined.revision > 0);
    assert_eq!(defined.states, timed.states);
    // A deployment may define the same machine again.
    assert_eq!(client.define_machine(timed).await.unwrap(), defined);
    assert_eq!(client.get_machine("conn").await.unwrap(), defined);

    let guarded = |condition| client.define_machine(connection()).expect(condition);
    let there = guarded(Condition::Missing).await.unwrap_err();
    assert_eq!(there.reason(), Some(Reason::MachineExists));
    let changed = guarded(Condition::Revision(defined.revision))
        .await
        .unwrap();
    assert!(changed.revision > defined.revision);
    let late = guarded(Condition::Revision(defined.revision))
        .await
        .unwrap_err();
    assert_eq!(late.reason(), Some(Reason::ExpectationFailed));
}

#[tokio::test]
async fn machines_are_listed_and_deleted() {
    let server = TestServer::start();
    let client = server.client().await;
    for name in ["b", "a", "c"] {
        let machine = Machine::new(name)
            .key_prefix(format!("{name}/"))
            .initial("only")
            .state("only", State::new().to("last"))
            .state("last", State::new());
        client.define_machine(machine).await.unwrap();
    }
    let first = client.list_machines().page_size(2).await.unwrap();
    let token = first.next_page_token.unwrap();
    let second = client.list_machines().page_token(token).await.unwrap();
    assert_eq!(second.next_page_token, None);
    let machines = first.machines.iter().chain(&second.machines);
    assert!(machines.map(|machine| &machine.name).eq(["a", "b", "c"]));

    client.write("a/1", 1).await.unwrap();
    let kept = client.delete_machine("a").await.unwrap_err();
    assert_eq!(kept.reason(), Some(Reason::EntriesInState));
    assert_eq!(kept.metadata("example"), Some("a/1"));
    client.transition("a/1", "last").await.unwrap();
    client.delete_machine("a").await.unwrap();
    let entry = client.read("a/1").await.unwrap().entry.unwrap();
    assert_eq!((entry.machine, entry.state), (None, None));
    let gone = client.delete_machine("a").await.unwrap_err();
    assert_eq!(gone.reason(), Some(Reason::MachineNotFound));

    client.write("c/1", 1).await.unwrap();
    client.delete_machine("c").force().await.unwrap();
    client.delete("c/1").await.unwrap();

    let overlapping = Machine::new("d")
        .key_prefix("b/1")
        .initial("only")
        .state("only", State::new());
    let taken = client.define_machine(overlapping).await.unwrap_err();
    assert_eq!(taken.reason(), Some(Reason::PrefixTaken));
}

#[tokio::test]
async fn a_timeout_moves_a_key() {
    let server = TestServer::start();
    let client = server.client().await;
    let timeout = Duration::from_millis(20);
    let machine = Machine::new("jobs")
        .key_prefix("jobs/")
        .initial("queued")
        .state("queued", State::new().to("running"))
        .state(
            "running",
            State::new().to("done").timeout(timeout, "failed"),
        )
        .state("done", State::new())
        .state("failed", State::new());
    client.define_machine(machine).await.unwrap();
    client.write("jobs/1", 1).await.unwrap();
    let mut watch = client.watch_key("jobs/1").previous().await.unwrap();

    client.transition("jobs/1", "running").await.unwrap();
    let [started, ended] = &next_events(&mut watch, 2).await[..] else {
        panic!("two events");
    };
    assert_eq!(started.cause, Cause::Transitioned);
    let running = started.entry.as_ref().unwrap();
    assert!(running.state_expire_time.is_some());
    assert_eq!(ended.cause, Cause::TimedOut);
    let failed = ended.entry.as_ref().unwrap();
    assert_eq!(failed.state.as_deref(), Some("failed"));
    assert_eq!(failed.value, 1.into());
    assert_eq!(ended.previous.as_ref(), Some(running));
}
