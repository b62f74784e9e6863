use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use soloist::v1::op::Op;
use soloist::v1::op_result::Result as OpResponse;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, value};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::calibrate::*;

const MS: Duration = Duration::from_millis(1);
const SEED: u64 = 7;

async fn connect(server: &NullServer) -> StateClient<Channel> {
    let address = format!("http://{}", server.address());
    let endpoint = Endpoint::from_shared(address).unwrap();
    StateClient::new(endpoint.connect().await.unwrap())
}

fn read(key: &str) -> v1::ReadRequest {
    v1::ReadRequest {
        key: key.to_owned(),
        ..v1::ReadRequest::default()
    }
}

fn frame(ops: Vec<Op>) -> v1::PipelineRequest {
    v1::PipelineRequest {
        ops: ops.into_iter().map(|op| v1::Op { op: Some(op) }).collect(),
        ..v1::PipelineRequest::default()
    }
}

fn assert_is_entry(answer: v1::ReadResponse, key: &str) {
    let entry = answer.entry.unwrap();
    assert_eq!(entry.key, key);
    assert_eq!(entry.value.unwrap().kind, Some(value::Kind::Int(0)));
    assert_eq!((entry.revision, answer.revision), (1, 1));
}

#[tokio::test]
async fn unary_calls_have_responses() {
    let server = NullServer::start(Delay::None, SEED).unwrap();
    let mut client = connect(&server).await;
    let answer = client.read(read("a")).await.unwrap().into_inner();
    assert_is_entry(answer, "a");
    let written = client.write(v1::WriteRequest::default()).await.unwrap();
    let written = written.into_inner();
    assert_eq!((written.revision, written.create_revision), (1, 1));
    let refused = client.delete(v1::DeleteRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);

    let residence = server.stop().unwrap();
    assert_eq!(residence.actual.len(), 2);
    assert_eq!(residence.planned.max(), 0);
}

#[tokio::test]
async fn frames_have_a_result_for_each_operation() {
    let server = NullServer::start(Delay::None, SEED).unwrap();
    let mut client = connect(&server).await;
    let frames = [
        frame(vec![
            Op::Read(read("a")),
            Op::Write(v1::WriteRequest::default()),
        ]),
        frame(vec![
            Op::Add(v1::AddRequest::default()),
            Op::Read(read("b")),
        ]),
    ];
    let answers = client.pipeline(stream::iter(frames)).await.unwrap();
    let mut answers = answers.into_inner();
    let mut next = async || {
        let answer = answers.message().await.unwrap()?;
        assert_eq!((answer.revision, answer.error), (1, None));
        let results = answer.results.into_iter();
        Some(
            results
                .map(|result| result.result.unwrap())
                .collect::<Vec<_>>(),
        )
    };

    let [OpResponse::Read(a), OpResponse::Write(written)] = &next().await.unwrap()[..] else {
        panic!("the results of a Read and a Write");
    };
    assert_is_entry(a.clone(), "a");
    assert_eq!(written.revision, 1);
    let [OpResponse::Error(error), OpResponse::Read(b)] = &next().await.unwrap()[..] else {
        panic!("an error, and the result of a Read");
    };
    assert_eq!(error.code, Code::Unimplemented as i32);
    assert_is_entry(b.clone(), "b");
    assert_eq!(next().await, None);
    assert_eq!(server.stop().unwrap().actual.len(), 2);
}

#[tokio::test]
async fn the_tool_can_connect() {
    let server = NullServer::start(Delay::Fixed(Duration::from_secs(3_600)), SEED).unwrap();
    let client = soloist_client::Client::builder(server.address().to_string());
    let info = client.connect().await.unwrap().info().await.unwrap();
    let limits = info.limits.unwrap();
    assert!(limits.max_batch_ops > 1_000 && limits.max_frames_in_flight > 1_000);
    assert!(info.cpu_time.is_some());
    server.stop().unwrap();
}

/// The delays that the seed draws, whichever call gets which.
fn draws(delay: Delay, count: u64) -> Histogram<u64> {
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut drawn = Histogram::new(3).unwrap();
    for _ in 0..count {
        let nanos = delay.draw(&mut rng).as_nanos() as u64;
        drawn.record(nanos).unwrap();
    }
    drawn
}

/// Checks that every percentile of `less` is at most that of `more`, up to the three digits of histograms.
fn assert_at_most(less: &Histogram<u64>, more: &Histogram<u64>) {
    assert_eq!(less.len(), more.len());
    for percent in (0..=100).map(f64::from) {
        let quantile = percent / 100.0;
        let (least, most) = (
            less.value_at_quantile(quantile),
            more.value_at_quantile(quantile),
        );
        let slack = least / 500;
        assert!(
            least <= most + slack,
            "{percent}%: {least} ns, then {most} ns"
        );
    }
}

fn every_delay() -> [Delay; 4] {
    [
        Delay::Fixed(2 * MS),
        Delay::Uniform {
            min: MS,
            max: 5 * MS,
        },
        Delay::Exponential { mean: 3 * MS },
        Delay::Bimodal {
            usual: MS,
            rare: 20 * MS,
            rare_share: 0.05,
        },
    ]
}

#[tokio::test]
async fn responses_are_delayed_as_drawn_and_their_residence_is_recorded() {
    for delay in every_delay() {
        let server = NullServer::start(delay, SEED).unwrap();
        let client = connect(&server).await;
        let calls = (0..300).map(|number| {
            let mut client = client.clone();
            async move {
                let key = number.to_string();
                let started = Instant::now();
                let answer = client.read(read(&key)).await.unwrap();
                let took = started.elapsed().as_nanos() as u64;
                assert_is_entry(answer.into_inner(), &key);
                took
            }
        });
        let mut seen = Histogram::<u64>::new(3).unwrap();
        for took in join_all(calls).await {
            seen.record(took).unwrap();
        }
        let residence = server.stop().unwrap();
        assert_eq!(residence.planned, draws(delay, 300), "{delay:?}");
        // No response left before its delay was over, and none stayed longer than the client waited.
        assert_at_most(&residence.planned, &residence.actual);
        assert_at_most(&residence.actual, &seen);
    }
}

#[tokio::test]
async fn delays_of_frames_overlap_and_responses_stay_in_order() {
    for delay in every_delay() {
        let server = NullServer::start(delay, SEED).unwrap();
        let mut client = connect(&server).await;
        let frames = (0..100).map(|number| frame(vec![Op::Read(read(&format!("{number}")))]));
        let answers = client
            .pipeline(stream::iter(frames.collect::<Vec<_>>()))
            .await;
        let mut answers = answers.unwrap().into_inner();
        for number in 0..100 {
            let answer = answers.message().await.unwrap().unwrap();
            let Some(OpResponse::Read(answer)) = answer.results[0].result.clone() else {
                panic!("the result of a Read");
            };
            assert_is_entry(answer, &format!("{number}"));
        }
        assert!(answers.message().await.unwrap().is_none());
        let residence = server.stop().unwrap();
        assert_eq!(residence.planned, draws(delay, 100), "{delay:?}");
        assert_at_most(&residence.planned, &residence.actual);
    }
}

#[tokio::test]
async fn a_stop_cuts_off_delayed_calls() {
    let server = NullServer::start(Delay::Fixed(Duration::from_secs(3_600)), SEED).unwrap();
    let address = server.address();
    let client = connect(&server).await;
    let (mut reader, mut streamer) = (client.clone(), client);
    let frames = stream::iter([frame(vec![Op::Read(read("a"))])]);
    // A stream that the client never ends.
    let frames = frames.chain(stream::pending());
    let mut answers = streamer.pipeline(frames).await.unwrap().into_inner();
    let held = tokio::spawn(async move { reader.read(read("a")).await });
    let info = soloist_client::Client::builder(address.to_string());
    info.connect().await.unwrap().info().await.unwrap();

    assert_eq!(server.residence().actual.len(), 0);
    let residence = tokio::task::spawn_blocking(|| server.stop());
    let residence = residence.await.unwrap().unwrap();
    assert_eq!(residence.actual.len(), 0);
    held.await.unwrap().unwrap_err();
    answers.message().await.unwrap_err();
    std::net::TcpStream::connect(address).unwrap_err();
}
