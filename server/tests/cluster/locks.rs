//! Several clients want one lock, while owners are killed. There is never more than one that may believe that it holds it.

use std::time::Duration;

use serde_json::json;
use soloist::v1;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{OpenSessionRequest, RenewSessionRequest, Session, condition, write_request};
use tokio::sync::watch;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::clients::{Clock, Nodes, request};
use crate::cluster::{Cluster, Plan};
use crate::rounds::{report, rounds, some_time};
use crate::values::{int, write};

const LOCK: &str = "locks/one";
const TTL: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// From when until when a client may have believed that it holds the lock, and its fencing token.
#[derive(Clone, Copy, Debug)]
struct Held {
    from: u64,
    until: u64,
    token: i64,
}

struct Holder {
    number: i64,
    clock: Clock,
    nodes: Nodes,
    stop: watch::Receiver<bool>,
    held: Vec<Held>,
}

impl Holder {
    /// Takes the lock, holds it for a while, and gives it back, again and again.
    async fn work(mut self) -> Vec<Held> {
        while !*self.stop.borrow() {
            if let Err(status) = self.once().await {
                let info = status.get_details_error_info();
                let reason = info.map_or_else(String::new, |it| it.reason);
                if !matches!(
                    &*reason,
                    "KEY_EXISTS" | "SESSION_NOT_FOUND" | "SESSION_TAKEN_OVER"
                ) {
                    self.nodes.go_on(&status);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        self.held
    }

    async fn once(&mut self) -> Result<(), Status> {
        let mut known = self.clock.now();
        let session = self.open().await?;
        let key = v1::WriteRequest {
            expect: Some(v1::Condition {
                test: Some(condition::Test::Exists(false)),
            }),
            lifetime: Some(write_request::Lifetime::Session(session.id.clone())),
            session_create_revision: session.create_revision,
            ..write(LOCK, int(self.number))
        };
        let mut state = StateClient::new(self.nodes.channel());
        let token = state
            .write(request(key))
            .await?
            .into_inner()
            .create_revision;
        let from = self.clock.now();
        let wanted = from + some_time(50..1_500).as_nanos() as u64;
        loop {
            let until = known + TTL.as_nanos() as u64;
            if self.clock.now() >= wanted.min(until) {
                self.held.push(Held {
                    from,
                    until: wanted.min(until),
                    token,
                });
                break;
            }
            tokio::time::sleep(RENEW_EVERY / 10).await;
            if self.clock.now() > known + RENEW_EVERY.as_nanos() as u64 {
                let asked = self.clock.now();
                match self.renew(&session).await {
                    Ok(()) => known = asked,
                    Err(status) => self.nodes.go_on(&status),
                }
            }
        }
        let close = v1::CloseSessionRequest {
            id: session.id,
            create_revision: session.create_revision,
            request_id: String::new(),
        };
        let mut sessions = SessionsClient::new(self.nodes.channel());
        sessions.close_session(request(close)).await.map(drop)
    }

    async fn open(&self) -> Result<Session, Status> {
        let open = OpenSessionRequest {
            id: format!("holder-{}", self.number),
            ttl: Some(TTL.try_into().unwrap()),
            take_over: true,
            request_id: String::new(),
        };
        let mut sessions = SessionsClient::new(self.nodes.channel());
        Ok(sessions.open_session(request(open)).await?.into_inner())
    }

    /// Renews the session in a part of its ttl, or not at all.
    async fn renew(&self, session: &Session) -> Result<(), Status> {
        let renew = RenewSessionRequest {
            id: session.id.clone(),
            create_revision: session.create_revision,
        };
        let mut sessions = SessionsClient::new(self.nodes.channel());
        let mut renew = request(renew);
        renew.set_timeout(RENEW_EVERY);
        sessions.renew_session(renew).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_two_holders_of_a_lock() {
    let mut cluster = Cluster::start(Plan::default()).await;
    let stop = watch::Sender::new(false);
    let clock = Clock(std::time::Instant::now());
    let addresses: Vec<_> = cluster.nodes.iter().map(|it| it.address).collect();
    let holder = |number| {
        let holder = Holder {
            number,
            clock,
            nodes: Nodes::new(&addresses),
            stop: stop.subscribe(),
            held: Vec::new(),
        };
        tokio::spawn(holder.work())
    };
    let holders: Vec<_> = (0..4).map(holder).collect();
    let rounds = rounds(2);
    for round in 0..rounds {
        cluster.all_caught_up().await;
        tokio::time::sleep(some_time(500..2_500)).await;
        let (owner, shown) = cluster.owner().await;
        match round % 2 {
            0 => cluster.nodes[owner].kill(),
            // It wakes up when another owns the store, and must not renew for those who still ask it.
            _ => cluster.nodes[owner].signal(nix::sys::signal::Signal::SIGSTOP),
        }
        cluster.owner_after(shown.epoch).await;
        if round % 2 == 1 {
            cluster.nodes[owner].signal(nix::sys::signal::Signal::SIGCONT);
            cluster.nodes[owner].ended().await;
        }
        cluster.nodes[owner].start();
    }
    tokio::time::sleep(some_time(500..1_000)).await;
    stop.send_replace(true);
    let mut held = Vec::new();
    for holder in holders {
        held.extend(holder.await.unwrap());
    }
    held.sort_by_key(|it| it.from);
    report(
        "there_are_never_two_holders_of_a_lock",
        json!({"held": held.len()}),
    );
    assert!(held.len() > rounds, "{held:?}: {}", cluster.logs());
    for pair in held.windows(2) {
        assert!(
            pair[0].until <= pair[1].from,
            "two holders: {pair:?}: {}",
            cluster.logs()
        );
        assert!(pair[0].token < pair[1].token, "an older token: {pair:?}");
    }
}
