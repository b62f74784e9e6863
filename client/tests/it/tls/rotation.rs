//! Certificates, CAs and tokens are replaced while a client runs.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use soloist_client::{Client, Code, Error, Reason, Retry};
use soloist_server::access::Token;
use soloist_server::config::Config;
use soloist_server::{Reload, Server};
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

use super::{Files, authority, issue};
use crate::proxy::Proxy;
use crate::support::TestServer;

/// How often everything is replaced.
const ROUNDS: usize = 20;

/// How many calls are made between two replacements, at least.
const CALLS: u64 = 20;

impl Files {
    /// Replaces a file, as careful operators do: the name has the old contents or the new ones.
    fn replace(&self, name: &str, contents: &str) {
        let unfinished = self.path("unfinished");
        fs::write(&unfinished, contents).unwrap();
        fs::rename(unfinished, self.path(name)).unwrap();
    }

    /// Lets the callers with these tokens read and write keys under `k/`. Each is an identity of its own.
    fn permit(&self, tokens: &[(usize, Token)]) {
        let mut access = String::from("[roles.some]\nread = ['k/*']\nwrite = ['k/*']\n");
        for (number, token) in tokens {
            let hash = token.hash();
            write!(
                access,
                "[identities.{number}]\ntokens = ['{hash}']\nroles = ['some']\n"
            )
            .unwrap();
        }
        self.replace("access.toml", &access);
    }
}

/// Makes a server use files that have changed.
async fn reload(reload: &Reload) {
    let reload = reload.clone();
    let looked = spawn_blocking(move || reload.now());
    assert_eq!(looked.await.unwrap(), Some(Ok(true)));
}

/// Calls without a pause, until told to stop or until a call fails.
async fn load(
    client: Client,
    key: String,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
) -> Result<(), Error> {
    while !stop.load(Ordering::Relaxed) {
        client.write(&key, 1).await?;
        client.read(&key).await?;
        calls.fetch_add(2, Ordering::Relaxed);
    }
    Ok(())
}

/// Tasks that call without a pause.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Result<(), Error>>>,
}

impl Load {
    fn of(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicU64::new(0));
        let tasks = (0..4).map(|number| {
            let key = format!("k/{number}");
            tokio::spawn(load(client.clone(), key, stop.clone(), calls.clone()))
        });
        Self {
            tasks: tasks.collect(),
            stop,
            calls,
        }
    }

    /// Waits until some more calls have succeeded.
    async fn goes_on(&mut self) {
        let enough = self.calls.load(Ordering::Relaxed) + CALLS;
        while self.calls.load(Ordering::Relaxed) < enough {
            if let Some(failed) = self.tasks.iter().position(JoinHandle::is_finished) {
                let failed = self.tasks.remove(failed).await.unwrap();
                panic!("a call failed: {:?}", failed.unwrap_err());
            }
            yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap().unwrap();
        }
    }
}

/// As whom the server knows the client now: its answer to a call without a right says so.
async fn identity(client: &Client) -> usize {
    let denied = client.read("other").await.unwrap_err();
    assert_eq!(denied.reason(), Some(Reason::NotPermitted), "{denied}");
    denied.metadata("identity").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_replacements_of_certificates_cas_and_tokens_fail_no_call() {
    let files = Files::new();
    files.issue("client", "billing", |_| ());
    let mut tokens = vec![(0, Token::random())];
    files.permit(&tokens);
    files.write("token", tokens[0].1.secret());
    let mut config = files.config("server");
    config.access.file = Some(files.path("access.toml"));
    config.tls.reload_interval = Duration::from_secs(3600);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::start(listener, &config).unwrap();
    let reload_handle = server.reload_handle();
    let client = Client::builder(format!("https://localhost:{port}"))
        .ca_file(files.path("ca.pem"))
        .identity_files(files.path("client.pem"), files.path("client.key"))
        .token_file(files.path("token"))
        .connect()
        .await
        .unwrap();

    let mut load = Load::of(&client);
    let mut present = files.authority.pem();
    for round in 1..=ROUNDS {
        let next = authority(&format!("authority {round}"));
        // Both sides trust both authorities, before anybody has a certificate of the next one.
        files.replace("ca.pem", &format!("{present}{}", next.pem()));
        reload(&reload_handle).await;
        issue(&files, &next, "server", "localhost", |_| ());
        issue(&files, &next, "client", "billing", |_| ());
        tokens.push((round, Token::random()));
        files.permit(&tokens);
        reload(&reload_handle).await;
        files.replace("token", tokens.last().unwrap().1.secret());
        load.goes_on().await;

        // The connection was made with a certificate of the authority that goes now: it is told to leave.
        present = next.pem();
        files.replace("ca.pem", &present);
        reload(&reload_handle).await;
        load.goes_on().await;
        // Tokens that the client does not show any more are revoked.
        let shown = identity(&client).await;
        tokens.retain(|(number, _)| *number >= shown);
    }
    // At most a second later the client shows the last token.
    while identity(&client).await < ROUNDS {
        load.goes_on().await;
    }
    files.permit(&tokens[tokens.len() - 1..]);
    reload(&reload_handle).await;
    load.goes_on().await;
    load.end().await;

    files.permit(&[]);
    reload(&reload_handle).await;
    let revoked = client.read("k/1").await.unwrap_err();
    assert_eq!(revoked.code(), Code::Unauthenticated);
    assert_eq!(revoked.reason(), Some(Reason::CredentialsUnknown));
    server.drain();
}

#[tokio::test]
async fn a_certificate_whose_key_is_not_there_yet_leaves_the_last_ones_in_use() {
    let files = Files::new();
    files.issue("client", "billing", |_| ());
    let server = files.server("server", true);
    let proxy = Proxy::to(&server).await;
    let port = proxy.address().rsplit(':').next().unwrap().to_owned();
    let client = Client::builder(format!("https://localhost:{port}"))
        .ca_file(files.path("ca.pem"))
        .identity_files(files.path("client.pem"), files.path("client.key"))
        .connect()
        .await
        .unwrap();
    let key = fs::read_to_string(files.path("client.key")).unwrap();
    files.issue("client", "billing", |_| ());
    files.write("client.key", &key);
    proxy.cut(Some(&server));
    client.read("k").retry(Retry::default()).await.unwrap();

    // If they are not accepted, the error says that they are not what the files hold.
    let mut config = files.config("server");
    config.tls.client_ca = Some(files.path("other-ca.pem"));
    let other = TestServer::with(config);
    proxy.cut(Some(&other));
    // The first call may find the end of the last connection.
    let mut error = client.read("k").await.unwrap_err();
    if !error.message().contains("CA of the client's certificate") {
        error = client.read("k").await.unwrap_err();
    }
    for part in [
        "CA of the client's certificate",
        "identity_files",
        "does not fit the key",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

/// A file of a network that is gone, for which a pipe without a writer stands here.
#[tokio::test]
async fn a_token_file_that_does_not_answer_leaves_the_last_token_in_use() {
    let files = Files::new();
    let tokens = [(0, Token::random())];
    files.permit(&tokens);
    files.write("token", tokens[0].1.secret());
    let mut config = Config::default();
    config.access.file = Some(files.path("access.toml"));
    let server = TestServer::with(config);
    let client = Client::builder(server.address()).token_file(files.path("token"));
    let client = client.connect().await.unwrap();
    fs::remove_file(files.path("token")).unwrap();
    let made = Command::new("mkfifo").arg(files.path("token")).status();
    assert!(made.unwrap().success());
    loop {
        let begun = Instant::now();
        client.read("k/1").await.unwrap();
        // This call has waited for the file.
        if begun.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    // The thread that reads gets an end.
    fs::write(files.path("token"), tokens[0].1.secret()).unwrap();
}
