//! Clients that want one lock. Each knows until when it may believe to hold it, and no two may believe so at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::calls::{Answer, call, choose};
use super::world::{World, pause};
use crate::machine::{
    Cause, Condition, Delete, OnExisting, OpenSession, Revision, SessionLife, SetLifetime, Value,
    Write, WriteOptions,
};
use crate::owner::CallError;

const CLIENTS: u64 = 2;

const TTL: Duration = Duration::from_secs(3);

const PATIENCE: Duration = Duration::from_secs(2);

/// Outside of the keys of the history.
const LOCK: &str = "lock";

/// Who believes to hold the lock, and until when.
type Holder = Rc<Cell<Option<(u64, Instant)>>>;

pub(super) fn start(world: &Rc<World>) -> JoinSet<()> {
    let holder = Holder::default();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            world: Rc::clone(world),
            rng: world.rng(number + 70),
            number,
            holder: Rc::clone(&holder),
        };
        clients.spawn_local(client.run());
    }
    clients
}

struct Client {
    world: Rc<World>,
    rng: StdRng,
    number: u64,
    holder: Holder,
}

impl Client {
    async fn run(mut self) {
        while !self.world.ends() {
            if let Some((session, until)) = self.open().await
                && let Some(until) = self.lock(session, until).await
            {
                self.hold(session, until).await;
            }
            pause(&mut self.rng, 10, 500).await;
        }
    }

    fn life(&self, create_revision: Revision) -> SessionLife {
        SessionLife {
            id: format!("s-{}", self.number).as_str().into(),
            create_revision,
        }
    }

    /// Opens a session. Returns when it began, and until when it certainly lives.
    async fn open(&mut self) -> Option<(Revision, Instant)> {
        let node = choose(&self.world, &mut self.rng)?;
        let open = OpenSession {
            id: format!("s-{}", self.number).as_str().into(),
            ttl: TTL,
            on_existing: OnExisting::TakeOver,
        };
        let sent = Instant::now();
        let answer = call(
            &self.world,
            &mut self.rng,
            node,
            PATIENCE,
            |owner, deadline| async move { owner.open_session(open, None, deadline).await },
        );
        match answer.await {
            Answer::Done(opened) => Some((opened.session.create_revision, sent + TTL)),
            _ => None,
        }
    }

    /// Returns until when the lock is held, if it is.
    async fn lock(&mut self, session: Revision, until: Instant) -> Option<Instant> {
        let node = choose(&self.world, &mut self.rng)?;
        let life = self.life(session);
        let write = Write {
            key: LOCK.into(),
            value: Some(Value::Int(i64::try_from(self.number).unwrap())),
            options: Some(Box::new(WriteOptions {
                expect: Some(Condition::Exists(false)),
                lifetime: SetLifetime::Session {
                    id: life.id,
                    create_revision: Some(session),
                },
                ..WriteOptions::default()
            })),
        };
        let answer = call(
            &self.world,
            &mut self.rng,
            node,
            PATIENCE,
            |owner, deadline| async move { owner.write(write, None, deadline).await },
        );
        let Answer::Done(_) = answer.await else {
            return None;
        };
        let now = Instant::now();
        if now >= until {
            return None;
        }
        if let Some((other, other_until)) = self.holder.get() {
            assert!(
                other == self.number || other_until <= now,
                "seed {}: two hold the lock, {} until {:?} more",
                self.world.seed,
                other,
                other_until - now
            );
        }
        self.holder.set(Some((self.number, until)));
        self.world.count(|counts| counts.locked += 1);
        Some(until)
    }

    /// Renews the session for a while, then lets go.
    async fn hold(&mut self, session: Revision, mut until: Instant) {
        for _ in 0..self.rng.random_range(0..8) {
            pause(&mut self.rng, 100, 1_000).await;
            if self.world.ends() || Instant::now() >= until {
                return;
            }
            let Some(node) = choose(&self.world, &mut self.rng) else {
                continue;
            };
            let life = self.life(session);
            let sent = Instant::now();
            let answer = call(
                &self.world,
                &mut self.rng,
                node,
                PATIENCE,
                |owner, deadline| async move { owner.renew_session(life, deadline).await },
            );
            match answer.await {
                Answer::Done(_) => {
                    until = until.max(sent + TTL);
                    self.holder.set(Some((self.number, until)));
                }
                Answer::Error(CallError::Rejected(refused)) => {
                    let is_early = Instant::now() < until;
                    assert!(
                        !is_early,
                        "seed {}: the session ended early: {refused:?}",
                        self.world.seed
                    );
                    return;
                }
                Answer::Error(_) | Answer::NotOwner | Answer::Broken => {}
            }
        }
        if Instant::now() < until {
            self.release().await;
        }
    }

    async fn release(&mut self) {
        // From the moment on in which it asks, it believes it no more.
        self.holder.set(None);
        let Some(node) = choose(&self.world, &mut self.rng) else {
            return;
        };
        let session = self.life(0).id;
        let delete = Delete {
            key: LOCK.into(),
            expect: Some(Box::new(Condition::Session(Some(session)))),
        };
        let answer = call(
            &self.world,
            &mut self.rng,
            node,
            PATIENCE,
            |owner, deadline| async move { owner.delete(delete, None, deadline).await },
        );
        if let Answer::Error(CallError::Rejected(refused)) = answer.await {
            let gone = matches!(
                refused.cause,
                Cause::KeyNotFound | Cause::ExpectationFailed(_)
            );
            assert!(gone, "seed {}: {refused:?}", self.world.seed);
        }
        sleep(Duration::from_millis(1)).await;
    }
}
