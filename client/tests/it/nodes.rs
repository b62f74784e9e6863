//! Several addresses of one store: nodes that do not own it, are gone, or stand still.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message as _;
use soloist_client::{Client, Code, Frame, Outcome, Read, Retry};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic_types::pb;

use crate::support::{TestServer, next_events};

/// A node that does not own the store.
struct Standby {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Standby {
    /// It names this owner; none if it is empty.
    async fn naming(owner: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let owner = owner.to_owned();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (counted, owner) = (Arc::clone(&counted), owner.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let is_direct = request.headers().contains_key("soloist-direct");
                        assert!(
                            is_direct,
                            "a client with several addresses wants to be told"
                        );
                        // A client that is done has left.
                        let _ = respond.send_response(not_owner(&owner), true);
                    }
                });
            }
        });
        Self {
            address,
            calls,
            task,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn not_owner(owner: &str) -> http::Response<()> {
    let metadata = [("owner", owner), ("owner_node", "b"), ("epoch", "7")];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let info = pb::ErrorInfo {
        reason: "NOT_OWNER".into(),
        domain: soloist::ERROR_DOMAIN.into(),
        metadata: metadata.into(),
    };
    let info = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
        value: info.encode_to_vec(),
    };
    let status = pb::Status {
        code: Code::Unavailable as i32,
        message: "another node owns the store".into(),
        details: vec![info],
    };
    let details = status.encode_to_vec().into();
    let status = tonic::Status::with_details(Code::Unavailable, status.message, details);
    status.into_http::<()>().map(drop)
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_call_finds_the_owner_wherever_it_begins() {
    let server = TestServer::start();
    let owner = server.address();
    let knowing = Standby::naming(&owner).await;
    let ignorant = Standby::naming("").await;
    let mistaken = Standby::naming(&nobody().await.to_string()).await;
    let nobody = nobody().await;
    let (knowing, ignorant, mistaken) = (knowing.address, ignorant.address, mistaken.address);
    for addresses in [
        format!("{owner},{knowing}"),
        format!("{knowing},{owner}"),
        // The owner is followed even if it is not in the list.
        format!("{knowing},{nobody}"),
        format!("{nobody},{knowing}"),
        format!("{ignorant},{owner}"),
        format!("{ignorant},{nobody},{owner}"),
        format!("{mistaken},{owner},{nobody}"),
        format!("http://{ignorant},http://{ignorant},http://{knowing}"),
    ] {
        let client = Client::connect(&addresses).await.unwrap();
        let written = client.write("k", 1).await;
        assert!(written.is_ok(), "{addresses}: {written:?}");
        let mut watch = client.watch_key("k").await.unwrap();
        let mut pipeline = client.pipeline().await.unwrap();
        pipeline.send(Frame::new().op(Read::new("k"))).unwrap();
        pipeline.recv().await.unwrap().unwrap().results.unwrap();
        client.add("k", 1).await.unwrap();
        next_events(&mut watch, 1).await;
        drop(client.lock("l").await.unwrap());
    }
}

#[tokio::test]
async fn the_owner_is_remembered() {
    let server = TestServer::start();
    let standby = Standby::naming(&server.address()).await;
    let client = Client::connect(format!("{},{}", standby.address, server.address()))
        .await
        .unwrap();
    for _ in 0..10 {
        client.add("k", 1).await.unwrap();
    }
    assert_eq!(standby.calls(), 1);
}

#[tokio::test]
async fn without_an_owner_a_call_fails_after_a_round_and_with_retries_waits_for_one() {
    let (one, other) = (Standby::naming("").await, Standby::naming("").await);
    let server = TestServer::start();
    let addresses = format!("{},{}", one.address, other.address);
    let client = Client::connect(&addresses).await.unwrap();
    let error = client.write("k", 1).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.is_retryable());
    assert_eq!(error.metadata("epoch"), Some("7"));
    // And once more where it began.
    assert_eq!((one.calls(), other.calls()), (2, 1));

    let nobody = nobody().await;
    let client = Client::builder(format!("{addresses},{nobody}"))
        .retry(Retry::default())
        .connect()
        .await
        .unwrap();
    let writing = tokio::spawn({
        let client = client.clone();
        async move { client.write("k", 1).await }
    });
    while one.calls() < 3 {
        tokio::task::yield_now().await;
    }
    // The server comes up at an address of the list.
    let proxy = crate::proxy::Proxy::at(nobody, &server).await;
    writing.await.unwrap().unwrap();
    drop(proxy);
}

#[tokio::test]
async fn a_single_address_is_not_asked_who_owns_the_store() {
    let server = TestServer::start();
    let client = server.client().await;
    // A standby sends such calls on, so the client needs no other address.
    client.write("k", 1).await.unwrap();
    let error = Client::connect(format!("{},{}", nobody().await, nobody().await))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(
        error.message().starts_with("cannot reach 127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_stands_still_is_left_by_a_call_that_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let server = TestServer::start();
    let client = || {
        Client::builder(format!("{silent},{}", server.address()))
            .timeout(Duration::from_millis(1_100))
            .connect()
    };
    let (read, opened) = (client().await.unwrap(), client().await.unwrap());
    // A short timeout says nothing of the node, even if it is of the same call.
    for _ in 0..3 {
        let brief = read.read("k").timeout(Duration::from_millis(1));
        assert_eq!(brief.await.unwrap_err().code(), Code::DeadlineExceeded);
    }
    let (call, stream) = tokio::join!(
        read.read("k").into_future(),
        opened.pipeline().into_future()
    );
    assert_eq!(call.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(stream.unwrap_err().code(), Code::DeadlineExceeded);
    read.read("k").await.unwrap();
    opened.pipeline().await.unwrap();
}
