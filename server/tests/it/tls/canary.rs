//! The log at its most talkative: what people must be able to look up is in it, and no value, token or key material is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::watch_request::Target;
use soloist::v1::{self, BatchRequest, OpenSessionRequest, WatchRequest};
use soloist_server::access::Token;
use soloist_server::config::Transport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::Request;
use tonic::transport::Channel;

use super::{Setup, channel};
use crate::process::{Process, command};
use crate::support::{atomic, expect, frame, read, text, transport, write, write_op};

/// More than this server needs for anything.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Texts that must not be in any log.
struct Canaries(Vec<String>);

impl Canaries {
    fn random(&mut self) -> String {
        let canary = format!("canary{:032x}", rand::random::<u128>());
        self.0.push(canary.clone());
        canary
    }

    /// Fails with the line that has one of them: as text, in hexadecimal, or as Rust shows bytes.
    fn check(&self, log: &str) {
        for canary in &self.0 {
            let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
            let bytes = format!("{:?}", canary.as_bytes());
            for form in [canary.as_str(), &hex, &bytes[1..bytes.len() - 1]] {
                let line = log.lines().find(|line| line.contains(form));
                assert_eq!(line, None, "{canary}");
            }
        }
    }
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// Calls that show values and tokens to every part of the server that could log them.
async fn calls(channel: &Channel, token: &str, canaries: &mut Canaries) {
    let mut state = StateClient::new(channel.clone());
    let value = canaries.random();
    let written = write("audited/k", text(value.clone()));
    state.write(bearing(token, written.clone())).await.unwrap();
    state.read(bearing(token, read("audited/k"))).await.unwrap();
    // Refused by the machine, with the value in the refusal.
    let other = expect(v1::condition::Test::Value(text(canaries.random())));
    let refused = v1::WriteRequest {
        expect: other,
        ..written.clone()
    };
    state.write(bearing(token, refused)).await.unwrap_err();
    let add = v1::AddRequest {
        key: "audited/k".into(),
        delta: 1,
        ..v1::AddRequest::default()
    };
    state.add(bearing(token, add)).await.unwrap_err();
    // Refused for want of a right, and because nobody is known by the token.
    let outside = write("outside", text(canaries.random()));
    state.write(bearing(token, outside)).await.unwrap_err();
    let unknown = canaries.random();
    state.read(bearing(&unknown, read("k"))).await.unwrap_err();
    state.read(read("k")).await.unwrap_err();
    let batch = BatchRequest {
        ops: vec![write_op(write("audited/b", text(canaries.random())))],
        ..BatchRequest::default()
    };
    state.batch(bearing(token, batch)).await.unwrap();
    let mut put = |key: &str| write_op(write(key, text(canaries.random())));
    let frames = [
        frame([put("audited/1")]),
        atomic([put("audited/2")]),
        frame([put("outside")]),
    ];
    let answers = state.pipeline(bearing(token, stream::iter(frames)));
    assert_eq!(answers.await.unwrap().into_inner().count().await, 3);
    let watch = WatchRequest {
        target: Some(Target::Prefix("audited/".into())),
        initial: true,
        ..WatchRequest::default()
    };
    let mut watch = state
        .watch(bearing(token, watch))
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();
    let mut sessions = SessionsClient::new(channel.clone());
    let open = OpenSessionRequest {
        id: "s".into(),
        ttl: Some(prost_types::Duration {
            seconds: 9,
            nanos: 0,
        }),
        take_over: true,
        ..OpenSessionRequest::default()
    };
    sessions
        .open_session(bearing(token, open.clone()))
        .await
        .unwrap();
    sessions.open_session(bearing(token, open)).await.unwrap();
    let mut machines = MachinesClient::new(channel.clone());
    let states = [("a".to_owned(), v1::machine::State::default())];
    let define = v1::DefineMachineRequest {
        machine: Some(v1::Machine {
            name: "audited-machine".into(),
            key_prefix: "machine/".into(),
            initial: "a".into(),
            states: states.into_iter().collect(),
            ..v1::Machine::default()
        }),
        ..v1::DefineMachineRequest::default()
    };
    machines
        .define_machine(bearing(token, define))
        .await
        .unwrap();
}

/// Collects the log, and waits for lines of it.
pub(super) struct Log {
    lines: mpsc::Receiver<String>,
    /// Everything that was waited for, and what came before it.
    pub(super) all: String,
}

impl Log {
    pub(super) fn of(process: &mut Process) -> Self {
        let (sender, lines) = mpsc::channel(1024);
        let stderr = process.child.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        Self {
            lines,
            all: String::new(),
        }
    }

    /// Waits for a line with this text.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                self.all.push_str(&line);
                self.all.push('\n');
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the log has no {text}: {}", self.all);
        };
        let found = tokio::time::timeout(TIMEOUT, found).await;
        found.unwrap_or_else(|_| panic!("the log has no {text} in time"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_at_any_level_has_values_tokens_or_key_material() {
    let setup = Setup::new();
    let mut canaries = Canaries(Vec::new());
    // The middle of the key is as good as all of it.
    let key = std::fs::read_to_string(setup.files.path("key.pem")).unwrap();
    canaries.0.push(key.lines().nth(1).unwrap().into());
    let token = Token::random();
    canaries.0.push(token.secret()[5..].into());
    let access = |tokens: &str| {
        format!(
            "[identities.someone]\ntokens = ['{tokens}']\nroles = ['r']\n[roles.r]\nread = ['audited/*']\n\
             write = ['audited/*']\naudit = ['audited/k']\nsessions = ['*']\ndefine = ['machine/*']\n"
        )
    };
    let hash = token.hash().to_string();
    setup.files.write("access.toml", &access(&hash));
    let data = tempfile::tempdir().unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--log",
        "trace",
        "--reload-interval",
        "1h",
        "--tls-cert",
        &path(&setup.files.path("cert.pem")),
        "--tls-key",
        &path(&setup.files.path("key.pem")),
        "--access-file",
        &path(&setup.files.path("access.toml")),
        "--data-dir",
        &path(data.path()),
        "--snapshot-log-bytes",
        "1024",
    ];
    let mut process = Process::spawn(command(&args)).await;
    let mut log = Log::of(&mut process);
    let calling = async {
        let stream = TcpStream::connect(process.addr).await.unwrap();
        let config = Arc::new(setup.client().config(None));
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let channel = channel(stream).await.unwrap();
        calls(&channel, token.secret(), &mut canaries).await;
    };
    let reading = log.until("DefineMachine");
    let ((), _) = tokio::join!(calling, reading);

    // Files that are replaced by what does not belong there.
    setup.files.write(
        "access.toml",
        &access(&format!("slst_{}", canaries.random())),
    );
    process.signal(Signal::SIGHUP);
    log.until("not reloaded").await;
    setup.files.write(
        "access.toml",
        &format!("{}\n = {}", access(&hash), canaries.random()),
    );
    process.signal(Signal::SIGHUP);
    log.until("not reloaded").await;
    setup.files.write(
        "access.toml",
        &format!("# {}\n{}", canaries.random(), access(&hash)),
    );
    process.signal(Signal::SIGHUP);
    log.until("access reloaded").await;
    let fault = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        canaries.random()
    );
    setup.files.write("key.pem", &fault);
    process.signal(Signal::SIGHUP);
    log.until("not reloaded").await;
    process.signal(Signal::SIGTERM);
    log.until("stopped").await;

    // The crate h2 logs every frame, and the server's own transport none.
    let logs_frames = transport() == Transport::Hyper;
    assert!(
        !logs_frames || (log.all.contains("TRACE") && log.all.contains("h2")),
        "the log is talkative"
    );
    canaries.check(&log.all);
    let audit: Vec<_> = log
        .all
        .lines()
        .filter(|line| line.contains(" audit: "))
        .collect();
    for (what, name) in [
        ("denied", "outside"),
        ("login failed", "not in the access file"),
        ("login failed", "wants to know who calls"),
        ("take-over", "name=s"),
        ("DefineMachine", "audited-machine"),
        ("Write", "audited/k"),
        ("access reloaded", ""),
    ] {
        let found = audit
            .iter()
            .any(|line| line.contains(what) && line.contains(name));
        assert!(found, "no line {what} {name} in {audit:#?}");
    }
    assert!(
        !audit.iter().any(|line| line.contains("audited/b")),
        "not under audit: {audit:#?}"
    );
}
