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
        let call = |index| async move {
            let endpoint = endpoints.get(index);
            let answer = self.call_at(endpoint, rpc).await;
            if answer.as_ref().is_err_and(is_unavailable) {
                endpoints.leave(endpoint);
            }
            answer
        };
        let first = endpoints.current().index();
        let answered = first_answer(endpoints.count(), first, patience, call).await;
        if answered.is_hedged && !answered.answer.as_ref().is_err_and(is_unavailable) {
            endpoints.go_on_with(endpoints.get(answered.endpoint));
        }
        answered.answer
    }
}

fn is_unavailable(error: &Error) -> bool {
    error.kind == ErrorKind::Unavailable
}

struct Answered<A> {
    answer: Result<A, Error>,
    /// Where the answer is from.
    endpoint: usize,
    /// Whether more than one endpoint was asked.
    is_hedged: bool,
}

/// Calls the endpoint `first` at once, and others as long as no answer comes. The first answer counts that is another than
/// [`Unavailable`](ErrorKind::Unavailable).
async fn first_answer<A, F>(
    endpoints: usize,
    first: usize,
    patience: Duration,
    call: impl Fn(usize) -> F,
) -> Answered<A>
where
    F: Future<Output = Result<A, Error>>,
{
    let call = |endpoint| {
        let answer = call(endpoint);
        async move { (endpoint, answer.await) }
    };
    let mut under_way = UnderWay::new(endpoints);
    let mut calls = FuturesUnordered::new();
    // Not by the timer below, which would round the time up to a millisecond: each request of a lone caller would wait for it.
    under_way.begins(first);
    calls.push(call(first));
    let mut next = under_way.after(first);
    let mut ask_at = Instant::now() + patience;
    loop {
        let due = async {
            sleep_until(ask_at).await;
            next
        };
        let (endpoint, answer) = tokio::select! {
            biased;
            Some(ended) = calls.next() => ended,
            Some(endpoint) = due => {
                under_way.begins(endpoint);
                calls.push(call(endpoint));
                next = under_way.after(endpoint);
                ask_at = Instant::now() + patience;
                continue;
            }
        };
        under_way.ended(endpoint);
        if answer.as_ref().is_err_and(is_unavailable) && !calls.is_empty() {
            next = next.or(Some(endpoint));
            ask_at = ask_at.min(Instant::now() + patience / PAUSE);
            continue;
        }
        return Answered {
            answer,
            endpoint,
            is_hedged: under_way.is_hedged,
        };
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

    const PATIENCE: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn the_first_endpoint_is_asked_without_a_wait() {
        // Timers have whole milliseconds: a timer that is due now would take the rest of this one.
        tokio::time::advance(Duration::from_micros(1)).await;
        let began = Instant::now();
        let answered = first_answer(3, 1, PATIENCE, async |endpoint| Ok(endpoint)).await;
        assert_eq!(answered.answer, Ok(1));
        assert!(!answered.is_hedged);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_endpoint_is_asked_when_one_is_silent() {
        let began = Instant::now();
        let answered = first_answer(3, 1, PATIENCE, async |endpoint| match endpoint {
            2 => Ok(endpoint),
            _ => std::future::pending().await,
        })
        .await;
        assert_eq!((answered.answer, answered.endpoint), (Ok(2), 2));
        assert!(answered.is_hedged);
        assert!((PATIENCE..PATIENCE * 2).contains(&began.elapsed()));
    }
}
