//! Certificates, authorities and the access file are replaced while the server runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::stream;
use soloist::v1::state_client::StateClient;
use soloist::v1::watch_request::Target;
use soloist::v1::{PipelineRequest, PipelineResponse, WatchRequest, WatchResponse};
use soloist_server::config::Config;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::certificates::{Authority, Identity};
use super::{Client, Setup, channel};
use crate::support::{TestServer, assert_refused, frame, int, read, write, write_op};

/// Everything that a client can have open: a connection with a Pipeline and a Watch.
struct Open {
    state: StateClient<Channel>,
    frames: mpsc::Sender<PipelineRequest>,
    answers: Streaming<PipelineResponse>,
    /// None if nobody looks at it.
    watch: Option<Streaming<WatchResponse>>,
    prefix: &'static str,
}

impl Open {
    /// A client that works on the keys with this prefix.
    async fn new(
        client: &Client,
        server: &TestServer,
        identity: &Identity,
        prefix: &'static str,
    ) -> Self {
        let stream = client.connect(server, Some(identity)).await.unwrap();
        let mut state = StateClient::new(channel(stream).await.unwrap());
        let watch = WatchRequest {
            target: Some(Target::Prefix(prefix.into())),
            ..WatchRequest::default()
        };
        let watch = state.watch(watch).await.unwrap().into_inner();
        let (frames, mut receiver) = mpsc::channel(4);
        let sent = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let answers = state.pipeline(sent).await.unwrap().into_inner();
        Self {
            state,
            frames,
            answers,
            watch: Some(watch),
            prefix,
        }
    }

    /// The next message of the watch.
    async fn message(&mut self) -> Result<WatchResponse, Status> {
        let message = self.watch.as_mut().unwrap().message().await?;
        Ok(message.expect("a watch ends with a status"))
    }

    async fn write(&mut self, value: i64) -> Result<(), Status> {
        let key = format!("{}unary", self.prefix);
        self.state.write(write(key, int(value))).await.map(drop)
    }

    /// Sends a frame, and returns its answer.
    async fn frame(&mut self, value: i64) -> Result<Option<PipelineResponse>, Status> {
        let key = format!("{}frame", self.prefix);
        let sent = self.frames.send(frame([write_op(write(key, int(value)))]));
        sent.await.unwrap();
        self.answers.message().await
    }

    /// Waits for a change.
    async fn change(&mut self) {
        self.message().await.unwrap();
    }

    /// Waits until the watch ends.
    async fn watch_ended(&mut self) -> Status {
        loop {
            if let Err(status) = self.message().await {
                return status;
            }
        }
    }

    /// Everything that it has open goes on.
    async fn goes_on(&mut self, value: i64) {
        self.write(value).await.unwrap();
        let answer = self.frame(value).await.unwrap().unwrap();
        assert_eq!(answer.error, None);
        self.change().await;
    }

    /// Nothing that it has open goes on: each part is refused with this code.
    async fn is_refused(&mut self, value: i64, code: Code) {
        let answer = self.frame(value).await.unwrap().unwrap();
        assert_eq!(Code::from(answer.error.unwrap().code), code);
        assert_eq!(self.watch_ended().await.code(), code);
        self.write(value).await.unwrap_err();
    }
}

/// The file that gives each of these rights to its own keys, by the name in its certificate.
fn access(names: &[&str]) -> String {
    let mut file = String::new();
    for name in names {
        writeln!(
            file,
            "[identities.{name}]\ncertificates = ['dns:{name}']\nroles = ['{name}']\n\
             [roles.{name}]\nread = ['{name}/*']\nwrite = ['{name}/*']"
        )
        .unwrap();
    }
    file
}

/// The files are being replaced: either answer is right.
const CHANGING: u64 = u64::MAX;

/// What the tasks of the test share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// How many replacements were taken. After an even number everybody has its rights.
    taken: AtomicU64,
    /// How often each task has done its work.
    done: [AtomicU64; 5],
}

impl Shared {
    fn goes_on(&self, task: usize) -> bool {
        self.done[task].fetch_add(1, Ordering::SeqCst);
        !self.stop.load(Ordering::SeqCst)
    }

    /// Waits until each task has done something from its beginning to its end.
    async fn progress(&self) {
        let counts = || self.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        let before = counts();
        while counts()
            .iter()
            .zip(before)
            .any(|(now, before)| *now < before + 2)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Makes a call with a new connection, of somebody who has its right after an even number of replacements only.
    async fn judge(&self, called: impl Future<Output = Result<(), String>>) {
        let before = self.taken.load(Ordering::SeqCst);
        let called = called.await;
        if before != CHANGING && before == self.taken.load(Ordering::SeqCst) {
            let expected = before.is_multiple_of(2);
            assert_eq!(called.is_ok(), expected, "after {before}: {called:?}");
        }
    }
}

/// What a refusal says because of the certificate of its connection.
const ENDED: [(&str, &str); 1] = [("connection", "ended")];

/// Writes a key with a new connection.
async fn write_anew(
    client: &Client,
    server: &TestServer,
    identity: &Identity,
    key: &str,
) -> Result<(), String> {
    let stream = client.connect(server, Some(identity)).await;
    let stream: TlsStream<TcpStream> = stream.map_err(|error| format!("{error:?}"))?;
    let channel = channel(stream)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let written = StateClient::new(channel).write(write(key, int(0))).await;
    written.map(drop).map_err(|error| format!("{error:?}"))
}

/// A server that knows its callers by certificates of two authorities.
struct Replaced {
    setup: Setup,
    other: Authority,
    /// By name. Those of "gone" are of the other authority.
    identities: BTreeMap<&'static str, Identity>,
}

impl Replaced {
    fn new() -> Self {
        let setup = Setup::new();
        let other = Authority::new("another authority");
        let identities = [
            ("keeps", setup.authority.issue("keeps")),
            ("loses", setup.authority.issue("loses")),
            ("gone", other.issue("gone")),
        ];
        Self {
            setup,
            other,
            identities: identities.into(),
        }
    }

    /// Replaces all files. With `all`, everybody has its rights. Otherwise "loses" is not in the access file, and the authority
    /// of "gone" is not accepted.
    fn replace(&self, all: bool) {
        let files = &self.setup.files;
        let ours = self.setup.authority.pem();
        self.setup
            .serve_as(&self.setup.authority.issue("localhost"));
        match all {
            true => {
                files.write("ca.pem", &(ours + &self.other.pem()));
                files.write("access.toml", &access(&["keeps", "loses", "gone"]));
            }
            false => {
                files.write("ca.pem", &ours);
                files.write("access.toml", &access(&["keeps", "gone"]));
            }
        }
    }

    fn server(&self, change: impl FnOnce(&mut Config)) -> TestServer {
        self.replace(true);
        self.setup.mutual(|config| {
            config.access.file = Some(self.setup.files.path("access.toml"));
            change(config);
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_replacements_of_all_files_fail_nothing_that_is_permitted_and_permit_nothing_else() {
    let replaced = Arc::new(Replaced::new());
    let server = Arc::new(replaced.server(|_| ()));
    let client = Arc::new(replaced.setup.client());
    let shared = Arc::new(Shared::default());
    let open = async |name: &str, prefix| {
        Open::new(&client, &server, &replaced.identities[name], prefix).await
    };
    let mut tasks = JoinSet::new();
    // Who keeps its rights: unary calls, frames and a watch that are never interrupted, and new connections.
    for task in 0..3 {
        let (mut open, shared) = (open("keeps", "keeps/").await, Arc::clone(&shared));
        if task != 2 {
            open.watch = None;
        }
        tasks.spawn(async move {
            while shared.goes_on(task) {
                match task {
                    0 => open.write(1).await.unwrap(),
                    1 => assert_eq!(open.frame(1).await.unwrap().unwrap().error, None),
                    _ => open.change().await,
                }
            }
        });
    }
    for (task, name) in [(3, "keeps"), (4, "gone")] {
        let (shared, replaced) = (Arc::clone(&shared), Arc::clone(&replaced));
        let (client, server) = (Arc::clone(&client), Arc::clone(&server));
        tasks.spawn(async move {
            while shared.goes_on(task) {
                let key = format!("{name}/new");
                let called = write_anew(&client, &server, &replaced.identities[name], &key);
                match name {
                    "keeps" => called.await.unwrap(),
                    _ => shared.judge(called).await,
                }
            }
        });
    }

    for round in 0..20 {
        let lost = round % 2 == 0;
        let mut open = match lost {
            true => Some((open("loses", "loses/").await, open("gone", "gone/").await)),
            false => None,
        };
        if let Some((loses, gone)) = &mut open {
            loses.goes_on(1).await;
            gone.goes_on(1).await;
        }
        shared.taken.store(CHANGING, Ordering::SeqCst);
        replaced.replace(!lost);
        server.reload().await;
        shared.taken.store(round + 1, Ordering::SeqCst);
        if let Some((loses, gone)) = &mut open {
            loses.is_refused(2, Code::Unauthenticated).await;
            gone.is_refused(2, Code::Unauthenticated).await;
        } else {
            open_all(&replaced, &client, &server).await;
        }
        shared.progress().await;
    }
    shared.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Everybody has its rights again, and nothing of what was refused was done.
async fn open_all(replaced: &Replaced, client: &Client, server: &TestServer) {
    for (name, prefix) in [("loses", "loses/"), ("gone", "gone/")] {
        let mut open = Open::new(client, server, &replaced.identities[name], prefix).await;
        for key in ["unary", "frame"] {
            let entry = open.state.read(read(format!("{prefix}{key}"))).await;
            let entry = entry.unwrap().into_inner().entry.unwrap();
            assert_eq!(entry.value, Some(int(1)), "{name}: {key}");
        }
        open.goes_on(1).await;
    }
}

#[tokio::test]
async fn what_a_client_has_open_does_nothing_more_once_its_certificate_is_refused() {
    // Without an access file whoever gets in may do everything, and nobody who does not get in may do anything.
    let setup = Setup::new();
    setup.files.write("crl.pem", &setup.authority.revokes(&[]));
    let server = setup.mutual(|config| {
        config.tls.client_crl = Some(setup.files.path("crl.pem"));
    });
    let (stays, leaves) = (
        setup.authority.issue("stays"),
        setup.authority.issue("leaves"),
    );
    let client = setup.client();
    let mut staying = Open::new(&client, &server, &stays, "s/").await;
    let mut leaving = Open::new(&client, &server, &leaves, "l/").await;
    staying.goes_on(1).await;
    leaving.goes_on(1).await;

    let list = setup.authority.revokes(&[&leaves]);
    setup.files.write("crl.pem", &list);
    server.reload().await;
    // A stream that is open goes on after GOAWAY. Its frames are refused, and change nothing.
    let answer = leaving.frame(2).await.unwrap().unwrap();
    let status = answer.error.unwrap();
    crate::support::assert_rpc_refused(
        &status,
        Code::Unauthenticated,
        "CREDENTIALS_UNKNOWN",
        &ENDED,
    );
    let ended = leaving.watch_ended().await;
    assert_refused(&ended, Code::Unauthenticated, "CREDENTIALS_UNKNOWN", &ENDED);
    leaving.write(2).await.unwrap_err();
    for key in ["l/unary", "l/frame"] {
        let entry = staying.state.read(read(key)).await.unwrap().into_inner();
        assert_eq!(entry.entry.unwrap().value, Some(int(1)), "{key}");
    }
    staying.goes_on(2).await;
    client.call(&server, Some(&leaves)).await.unwrap_err();
    // The connection ends with its last stream.
    let Open {
        frames, answers, ..
    } = &mut leaving;
    drop(std::mem::replace(frames, mpsc::channel(1).0));
    assert!(matches!(answers.message().await, Ok(None) | Err(_)));
}

#[tokio::test]
async fn a_client_that_is_not_accepted_any_more_is_told_to_leave() {
    let setup = Setup::new();
    let empty = setup.authority.revokes(&[]);
    setup.files.write("crl.pem", &empty);
    let server = setup.mutual(|config| {
        config.tls.client_crl = Some(setup.files.path("crl.pem"));
    });
    let (stays, leaves) = (
        setup.authority.issue("stays"),
        setup.authority.issue("leaves"),
    );
    let client = setup.client();
    let open = async |identity| {
        let stream = client.connect(&server, Some(identity)).await.unwrap();
        StateClient::new(channel(stream).await.unwrap())
    };
    let (mut staying, mut leaving) = (open(&stays).await, open(&leaves).await);
    leaving.write(write("k", int(1))).await.unwrap();

    let list = setup.authority.revokes(&[&leaves]);
    setup.files.write("crl.pem", &list);
    server.reload().await;
    staying.read(read("k")).await.unwrap();
    // The connection ends in order, so a call that is on its way may still be answered.
    while leaving.read(read("k")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.call(&server, Some(&leaves)).await.unwrap_err();
    client.call(&server, Some(&stays)).await.unwrap();
}
