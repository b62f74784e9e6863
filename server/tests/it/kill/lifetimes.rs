//! One client of keys that end with a session or with their ttl. It sends one call at a time, so that what has to be there is
//! known without the checker, which cannot judge such keys.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use soloist::v1;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::Checked;
use super::keys::LIFETIMES_PREFIX;
use crate::support::{int, read, write};

const SESSION: &str = "life";
/// Longer than a run.
const LONG: Duration = Duration::from_secs(86_400);
/// How far the server's clock may be behind this one, at the most.
const LATE: Duration = Duration::from_secs(10);
const KEYS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Op {
    Open,
    /// Of the session with this `create_revision`.
    Close(i64),
    /// A Write of a key that ends with the session of this `create_revision`.
    Owned(usize, i64),
    Timed(usize, Duration),
}

impl Op {
    fn is_about_session(self) -> bool {
        matches!(self, Self::Open | Self::Close(_))
    }

    fn key(self) -> Option<String> {
        match self {
            Self::Owned(index, _) => Some(format!("{LIFETIMES_PREFIX}owned/{index}")),
            Self::Timed(index, _) => Some(format!("{LIFETIMES_PREFIX}timed/{index}")),
            Self::Open | Self::Close(_) => None,
        }
    }
}

/// A call, which may be done.
#[derive(Clone, Debug)]
struct Sent {
    /// The number in the request_id, and the value of a Write.
    number: i64,
    op: Op,
    began: SystemTime,
    /// 0: not known.
    revision: i64,
    /// As the server told it.
    expire_time: Option<SystemTime>,
}

/// The client, and what it knows.
#[derive(Clone, Debug)]
pub(super) struct Lifetimes {
    rng: SmallRng,
    number: i64,
    done: Vec<Sent>,
    /// The last call, if its outcome is not known.
    unknown: Option<Sent>,
}

/// What has to be there.
#[derive(Default)]
struct Model<'a> {
    /// The session's `create_revision`.
    session: Option<i64>,
    keys: BTreeMap<String, &'a Sent>,
}

impl Lifetimes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            number: 0,
            done: Vec::new(),
            unknown: None,
        }
    }

    /// Sends calls until the server is gone.
    pub(super) async fn work(mut self, channel: Channel) -> Checked<Self> {
        loop {
            let sent = self.draw();
            if !self.send(sent, &channel).await? {
                return Ok(self);
            }
        }
    }

    /// Sends the call of unknown outcome again. From then on everything is known.
    pub(super) async fn settle(&mut self, channel: &Channel) -> Checked<()> {
        match self.unknown.take() {
            Some(sent) if !self.send(sent.clone(), channel).await? => {
                Err(format!("{sent:?} was not answered"))
            }
            _ => Ok(()),
        }
    }

    /// Forgets every call after this revision, as a backup of that revision does. A call that may be half in the backup becomes
    /// one of unknown outcome.
    pub(super) fn forget_after(&mut self, revision: i64) {
        self.unknown = self.straddles(revision).cloned();
        self.done.retain(|it| it.revision <= revision);
    }

    fn draw(&mut self) -> Sent {
        self.number += 1;
        let session = self.model(i64::MAX).session;
        let rng = &mut self.rng;
        let index = rng.random_range(0..KEYS);
        let op = match (rng.random_range(0..10), session) {
            (0, _) | (1..6, None) => Op::Open,
            (1, Some(session)) => Op::Close(session),
            (2..6, Some(session)) => Op::Owned(index, session),
            (6..8, _) => Op::Timed(index, LONG),
            _ => Op::Timed(index, Duration::from_millis(rng.random_range(20..2_000))),
        };
        Sent {
            number: self.number,
            op,
            began: SystemTime::now(),
            revision: 0,
            expire_time: None,
        }
    }

    /// Sends a call, and keeps it. `false`: the server is gone.
    async fn send(&mut self, mut sent: Sent, channel: &Channel) -> Checked<bool> {
        let answered = match call(&sent, channel).await {
            Ok(revision) => {
                sent.revision = revision;
                let shown = show(&sent, channel).await;
                shown.map(|expire_time| sent.expire_time = expire_time)
            }
            Err(status) => Err(status),
        };
        let is_lost = |status: &Status| {
            let info = status.get_details_error_info();
            info.is_none_or(|info| info.reason == "OUTCOME_UNKNOWN")
        };
        match answered {
            Err(status) if !is_lost(&status) => return Err(format!("{sent:?}: {status}")),
            Err(_) if sent.revision == 0 => self.unknown = Some(sent),
            _ => {
                self.done.push(sent);
                return Ok(answered.is_ok());
            }
        }
        Ok(false)
    }

    /// The call that may be half done at this revision: the end of a session can have several revisions.
    fn straddles(&self, revision: i64) -> Option<&Sent> {
        let next = self.done.iter().find(|it| it.revision > revision);
        next.filter(|it| it.op.is_about_session())
    }

    fn model(&self, until: i64) -> Model<'_> {
        let mut model = Model::default();
        for sent in self.done.iter().filter(|it| it.revision <= until) {
            if let Some(key) = sent.op.key() {
                model.keys.insert(key, sent);
                continue;
            }
            model.keys.retain(|_, it| matches!(it.op, Op::Timed(..)));
            model.session = match sent.op {
                Op::Open => Some(sent.revision),
                _ => None,
            };
        }
        model
    }

    /// Checks that exactly the right keys and sessions are there, as of this revision.
    pub(super) async fn check(&self, channel: &Channel, revision: i64) -> Checked<()> {
        let began = SystemTime::now();
        let list = v1::ListRequest {
            prefix: LIFETIMES_PREFIX.into(),
            ..v1::ListRequest::default()
        };
        let failed = |status: Status| format!("lifetimes cannot be listed: {status}");
        let mut state = StateClient::new(channel.clone());
        let listed = state.list(list).await.map_err(failed)?.into_inner();
        let ended = SystemTime::now();
        let mut found: BTreeMap<_, _> = (listed.entries.into_iter())
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        let mut sessions = SessionsClient::new(channel.clone());
        let sessions = sessions
            .list_sessions(v1::ListSessionsRequest::default())
            .await;
        let sessions = sessions.map_err(failed)?.into_inner().sessions;

        let model = self.model(revision);
        let unsure = self.unknown.as_ref().or_else(|| self.straddles(revision));
        let unsure = unsure.map(|it| it.op);
        for (key, sent) in &model.keys {
            let entry = found.remove(key);
            if unsure.is_some_and(|it| may_change(it, key)) {
                continue;
            }
            check_key(sent, entry.as_ref(), began, ended).map_err(|what| {
                format!("key {key:?}: {what}\n  it is {entry:?}, after {sent:?}")
            })?;
        }
        found.retain(|key, _| !unsure.is_some_and(|it| may_change(it, key)));
        if !found.is_empty() {
            return Err(format!("keys that should have ended: {found:?}"));
        }
        let alive: Vec<i64> = sessions.iter().map(|it| it.create_revision).collect();
        match unsure.is_some_and(Op::is_about_session) || alive == Vec::from_iter(model.session) {
            true => Ok(()),
            false => Err(format!("{:?} is open, but {sessions:?}", model.session)),
        }
    }
}

/// Whether a call that may be done, or half done, changes this key.
fn may_change(op: Op, key: &str) -> bool {
    match op.key() {
        Some(changed) => changed == key,
        None => key.starts_with(&format!("{LIFETIMES_PREFIX}owned/")),
    }
}

/// Sends a call. Returns its revision.
async fn call(sent: &Sent, channel: &Channel) -> Result<i64, Status> {
    let request_id = format!("life-{}", sent.number);
    let mut sessions = SessionsClient::new(channel.clone());
    let (key, lifetime, session_create_revision) = match (sent.op, sent.op.key()) {
        (Op::Close(create_revision), _) => {
            let close = v1::CloseSessionRequest {
                id: SESSION.into(),
                create_revision,
                request_id,
            };
            return Ok(sessions.close_session(close).await?.into_inner().revision);
        }
        (Op::Owned(_, create_revision), Some(key)) => {
            let session = v1::write_request::Lifetime::Session(SESSION.into());
            (key, session, create_revision)
        }
        (Op::Timed(_, ttl), Some(key)) => {
            let ttl = v1::write_request::Lifetime::Ttl(ttl.try_into().unwrap());
            (key, ttl, 0)
        }
        _ => {
            let open = v1::OpenSessionRequest {
                id: SESSION.into(),
                ttl: Some(LONG.try_into().unwrap()),
                take_over: true,
                request_id,
            };
            let opened = sessions.open_session(open).await?.into_inner();
            return Ok(opened.create_revision);
        }
    };
    let write = v1::WriteRequest {
        request_id,
        lifetime: Some(lifetime),
        session_create_revision,
        ..write(key, int(sent.number))
    };
    let mut state = StateClient::new(channel.clone());
    Ok(state.write(write).await?.into_inner().revision)
}

/// Asks when a key will end. `None` if it has no ttl, or has ended.
async fn show(sent: &Sent, channel: &Channel) -> Result<Option<SystemTime>, Status> {
    let Some(key) = sent.op.key() else {
        return Ok(None);
    };
    let answer = StateClient::new(channel.clone()).read(read(key)).await?;
    let entry = answer.into_inner().entry;
    let shown = entry.filter(|it| it.revision == sent.revision);
    Ok(shown.and_then(|it| it.expire_time?.try_into().ok()))
}

/// Checks a key that was listed between two times, or was not in the list.
fn check_key(
    sent: &Sent,
    entry: Option<&v1::Entry>,
    began: SystemTime,
    ended: SystemTime,
) -> Result<(), &'static str> {
    let earliest = match sent.op {
        Op::Timed(_, ttl) => Some(sent.expire_time.unwrap_or(sent.began + ttl)),
        _ => None,
    };
    let Some(entry) = entry else {
        return match earliest {
            Some(earliest) if earliest <= ended => Ok(()),
            Some(_) => Err("it ended before its time"),
            None => Err("it is lost"),
        };
    };
    if entry.value != Some(int(sent.number)) || entry.revision != sent.revision {
        return Err("another value or revision");
    }
    let expires: Option<SystemTime> = entry.expire_time.and_then(|it| it.try_into().ok());
    match (earliest, expires) {
        (None, None) if entry.session == SESSION => Ok(()),
        (Some(earliest), Some(at)) => match sent.expire_time {
            Some(told) if told != at => Err("another expire_time than was told"),
            None if at < earliest => Err("an expire_time that is too early"),
            _ if at + LATE < began => Err("it should have ended"),
            _ => Ok(()),
        },
        _ => Err("another lifetime"),
    }
}
