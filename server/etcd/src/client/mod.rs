//! The client of a real etcd.

mod connector;
mod endpoints;
mod hedge;
mod login;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use tokio::time;
use tonic::transport::Channel;
use tonic::{Response, Status};

use endpoints::{Endpoint, Endpoints};
use login::Login;
pub(crate) use watch::Watch;
use wire::pb::kv_client::KvClient;
use wire::pb::lease_client::LeaseClient;
use wire::pb::maintenance_client::MaintenanceClient;
use wire::pb::watch_client::WatchClient;
use wire::pb::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseRevokeRequest, StatusRequest,
};
#[cfg(feature = "sim")]
pub(crate) use wire::txn_bytes;

use crate::{Error, ErrorKind, Get, KeyRange, Lease, Member, Options, RangeAnswer, Txn, TxnAnswer};

/// The largest answer that is taken. etcd bounds requests, not answers: a range has whatever is in it.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long a login may take, if requests may not take longer: a busy machine needs a second for the hash of the password.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of a real etcd.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    /// How long a member may take to answer until another one is asked, too. `None`: as long as the time limit of requests.
    patience: Option<Duration>,
}

struct Shared {
    endpoints: Endpoints,
    login: Option<Login>,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client")
            .field(&self.shared.endpoints)
            .finish()
    }
}

impl Client {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::new(Shared {
                endpoints: Endpoints::new(&options)?,
                login: options
                    .user
                    .map(|(user, password)| Login::new(user, password)),
                timeout: options.timeout,
            }),
            patience: None,
        })
    }

    /// The same client, which asks several members if one takes longer than `patience`.
    pub(crate) fn hedging(&self, patience: Duration) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            patience: Some(patience),
        }
    }

    pub(crate) async fn txn(&self, txn: &Txn) -> Result<TxnAnswer, Error> {
        let request = wire::txn_request(txn);
        let answer = self.call_any(|channel, token| {
            let request = login::with_token(request.clone(), token);
            async move { kv(channel).txn(request).await }
        });
        answer.await.map(wire::txn_answer)
    }

    pub(crate) async fn get(&self, get: &Get) -> Result<RangeAnswer, Error> {
        let request = wire::range_request(&get.range, get.limit, get.keys_only, get.revision);
        let answer = self.call_any(|channel, token| {
            let request = login::with_token(request.clone(), token);
            async move { kv(channel).range(request).await }
        });
        answer.await.map(wire::range_answer)
    }

    pub(crate) async fn compact(&self, revision: i64) -> Result<(), Error> {
        let answer = self.call(|channel, token| {
            let request = login::with_token(CompactionRequest { revision }, token);
            async move { kv(channel).compact(request).await }
        });
        answer.await.map(drop)
    }

    pub(crate) async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let seconds = ttl.as_millis().div_ceil(1_000);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let answer = self.call(|channel, token| {
            let request = LeaseGrantRequest {
                ttl: seconds,
                id: 0,
            };
            let request = login::with_token(request, token);
            async move { LeaseClient::new(channel).lease_grant(request).await }
        });
        let answer = answer.await?;
        Ok(Lease {
            id: answer.id,
            ttl: seconds_left(answer.ttl).unwrap_or_default(),
        })
    }

    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<Duration, Error> {
        let answer = self.call_any(|channel, token| keep_alive(channel, lease, token));
        let answer = answer.await?;
        seconds_left(answer.ttl).ok_or_else(|| {
            Error::new(
                ErrorKind::LeaseGone,
                self.shared.endpoints.current().name(),
                format!("the lease {lease:x} has ended"),
            )
        })
    }

    pub(crate) async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let answer = self.call(|channel, token| {
            let request = login::with_token(LeaseRevokeRequest { id: lease }, token);
            async move { LeaseClient::new(channel).lease_revoke(request).await }
        });
        answer.await.map(drop)
    }

    pub(crate) async fn watch(&self, range: KeyRange, from: i64) -> Result<Watch, Error> {
        let endpoint = self.shared.endpoints.current();
        let opened = self.call_from(endpoint, |channel, token| {
            let client = WatchClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            let opening = watch::open(client, &range, from, token);
            async move { opening.await.map(Response::new) }
        });
        let opened = opened.await?;
        let endpoint = endpoint.index();
        Ok(Watch::new(
            self.clone(),
            opened,
            endpoint,
            self.shared.timeout,
        ))
    }

    pub(crate) async fn members(&self) -> Vec<(String, Result<Member, Error>)> {
        join_all(self.shared.endpoints.all().map(|endpoint| async {
            let status = self.call_at(endpoint, |channel, token| {
                let request = login::with_token(StatusRequest {}, token);
                async move { MaintenanceClient::new(channel).status(request).await }
            });
            let status = status.await.map(wire::member);
            (endpoint.name().to_owned(), status)
        }))
        .await
    }

    /// Calls the current endpoint. If it does not answer the next one is current from then on.
    async fn call<A, F>(&self, rpc: impl Fn(Channel, login::Token) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_from(self.shared.endpoints.current(), rpc).await
    }

    async fn call_from<A, F>(
        &self,
        endpoint: &Endpoint,
        rpc: impl Fn(Channel, login::Token) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = self.call_at(endpoint, rpc).await;
        if let Err(error) = &answer
            && error.kind == ErrorKind::Unavailable
        {
            self.shared.endpoints.leave(endpoint);
        }
        answer
    }

    /// Calls an endpoint, within the time limit of requests, and logs in before if that is needed. What was refused for its token is
    /// tried again with a new one.
    async fn call_at<A, F>(
        &self,
        endpoint: &Endpoint,
        rpc: impl Fn(Channel, login::Token) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let token = self.token(endpoint).await?;
        let answer = rpc(endpoint.channel(), token.clone());
        match (
            within(self.shared.timeout, endpoint, answer).await,
            &self.shared.login,
        ) {
            (Err(error), Some(login)) if error.is_about_token() => {
                login.forget(&token);
                let token = self.token(endpoint).await?;
                let answer = rpc(endpoint.channel(), token);
                within(self.shared.timeout, endpoint, answer).await
            }
            (answer, _) => answer,
        }
    }

    /// The token, for which etcd may take longer than for anything else: it makes a hash of the password that takes long on purpose.
    /// So one request at a time asks a member for it.
    async fn token(&self, endpoint: &Endpoint) -> Result<login::Token, Error> {
        let Some(login) = &self.shared.login else {
            return Ok(login::Token::default());
        };
        if let Some(token) = login.known() {
            return Ok(token);
        }
        let _turn = endpoint.login_turn().await;
        if let Some(token) = login.known() {
            return Ok(token);
        }
        let asking = async {
            let token = login.ask(endpoint.channel()).await;
            token.map(Response::new)
        };
        within(self.shared.timeout.max(LOGIN_TIMEOUT), endpoint, asking).await
    }
}

/// What a member answers, within this time.
async fn within<A>(
    limit: Duration,
    endpoint: &Endpoint,
    answer: impl Future<Output = Result<Response<A>, Status>>,
) -> Result<A, Error> {
    match time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Error::of(&status, endpoint.name())),
        Err(_) => {
            endpoint.hang_up();
            let why = format!("no answer within {limit:?}");
            Err(Error::new(ErrorKind::Unavailable, endpoint.name(), why))
        }
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// etcd keeps leases alive by a stream. One request on it is enough.
async fn keep_alive(
    channel: Channel,
    lease: i64,
    token: login::Token,
) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let requests = stream::iter([LeaseKeepAliveRequest { id: lease }]);
    let requests = login::with_token(requests, token);
    let answers = LeaseClient::new(channel).lease_keep_alive(requests).await?;
    match answers.into_inner().message().await? {
        Some(answer) => Ok(Response::new(answer)),
        None => Err(Status::unavailable("the stream of keep-alives has ended")),
    }
}

fn seconds_left(ttl: i64) -> Option<Duration> {
    let seconds = u64::try_from(ttl).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}
