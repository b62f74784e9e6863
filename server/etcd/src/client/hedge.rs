//! Asks another member when one is silent: for requests that may be made more than once.
//!
//! A member that stands still does not say so, and one that has just lost its leader keeps what it was asked to itself: what it has
//! sent to the old leader is lost. So the same request is made again, at the next member, while the first is still waited for.
//! That another leader is elected takes etcd a second or two; whatever comes later is ours.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::endpoints::Endpoint;
use super::{Client, login};
use crate::{Error, ErrorKind};

/// How often a request is under way at most at each endpoint. Once is not enough, because what a member was asked before an election
/// is lost. More would be a burden on an etcd that is slow.
const UNDER_WAY_MAX: usize = 2;

/// The pause after a member that has refused, as a part of the patience.
const PAUSE: u32 = 8;

impl Client {
    /// Calls the current endpoint. If this client hedges, and there is no answer for a while, the next endpoint is called, too, and
    /// so on. The first answer counts. If none answers, the error is that of the last one.
    pub(super) async fn call_any<A, F>(
        &self,
        rpc: impl Fn(Channel, login::Token) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let endpoints = &self.shared.endpoints;
        match self.patience {
            Some(patience) if endpoints.count() > 1 => self.hedge(patience, &rpc).await,
            _ => self.call(rpc).await,
        }
    }

    async fn hedge<A, F>(
        &self,
        patience: Duration,
        rpc: &impl Fn(Channel, login::Token) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let endpoints = &self.shared.endpoints;
        let call =
            async |endpoint: &Endpoint| (endpoint.index(), self.call_at(endpoint, rpc).await);
        let mut under_way = UnderWay::new(endpoints.count());
        let mut calls = FuturesUnordered::new();
        let mut next = Some(endpoints.current().index());
        let mut ask_at = Instant::now();
        loop {
            let ended = tokio::select! {
                biased;
                Some(ended) = calls.next() => ended,
                () = sleep_until(ask_at), if next.is_some() => {
                    if let Some(index) = next {
                        under_way.begins(index);
                        calls.push(call(endpoints.get(index)));
                        next = under_way.after(index);
                        ask_at = Instant::now() + patience;
                    }
                    continue;
                }
            };
            let (index, answer) = ended;
            let endpoint = endpoints.get(index);
            under_way.ended(index);
            match answer {
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    endpoints.leave(endpoint);
                    if calls.is_empty() {
                        return Err(error);
                    }
                    next = next.or(Some(index));
                    ask_at = ask_at.min(Instant::now() + patience / PAUSE);
                }
                answer => {
                    if under_way.is_hedged {
                        endpoints.go_on_with(endpoint);
                    }
                    return answer;
                }
            }
        }
    }
}

/// How often the same request is under way at each endpoint.
struct UnderWay {
    counts: Vec<usize>,
    /// Whether it was sent to more than one.
    is_hedged: bool,
}

impl UnderWay {
    fn new(endpoints: usize) -> Self {
        Self {
            counts: vec![0; endpoints],
            is_hedged: false,
        }
    }

    fn begins(&mut self, endpoint: usize) {
        self.is_hedged |= self.counts.iter().any(|count| *count > 0);
        self.counts[endpoint] += 1;
    }

    fn ended(&mut self, endpoint: usize) {
        self.counts[endpoint] -= 1;
    }

    /// The next endpoint after this one that may be asked.
    fn after(&self, endpoint: usize) -> Option<usize> {
        let count = self.counts.len();
        let others = (1..=count).map(|step| (endpoint + step) % count);
        others
            .into_iter()
            .find(|it| self.counts[*it] < UNDER_WAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_and_none_is_asked_for_ever() {
        let mut under_way = UnderWay::new(3);
        let mut asked = vec![1];
        under_way.begins(1);
        assert!(!under_way.is_hedged);
        while let Some(next) = under_way.after(asked[asked.len() - 1]) {
            under_way.begins(next);
            asked.push(next);
        }
        assert_eq!(asked, [1, 2, 0, 1, 2, 0]);
        assert!(under_way.is_hedged);
        under_way.ended(2);
        assert_eq!(under_way.after(2), Some(2));
        assert_eq!(under_way.after(0), Some(2));
    }
}
