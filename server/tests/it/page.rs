//! The page at `/` of the HTTP listener, in a real browser. `./test --tools` installs what drives it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use soloist_client::{Client, Machine, State};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::access::AccessFile;
use crate::http::request;
use crate::process::{Process, command};
use crate::support::TestServer;
use crate::tools::tool;

/// A headless Chromium, in which `tools/browser.mjs` does what it is told.
struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    fn start() -> Self {
        let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
        let chromium = chromium.iter().find(|path| Path::new(path).exists());
        let chromium = chromium.expect("this test needs Chromium: apt-get install chromium");
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(tool("node"))
            .arg(driver("browser.mjs"))
            .arg(chromium)
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
            _profile: profile,
        }
    }

    async fn tell(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        self.commands.write_all(line.as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.expect("the browser runs")).unwrap();
        assert_eq!(answer["error"], Value::Null, "{command}");
        answer["value"].clone()
    }

    async fn open(&mut self, url: &str, headers: Value) {
        let failed = self.tell(json!({"open": url, "headers": headers})).await;
        assert_eq!(failed, Value::Null);
    }

    /// The value of an expression.
    async fn value(&mut self, expression: &str) -> Value {
        self.tell(json!({"eval": expression})).await
    }

    /// Waits until an expression is true.
    async fn until(&mut self, expression: &str) {
        let value = self.tell(json!({"until": expression})).await;
        if value == Value::Null {
            let body = self.value("document.body.innerText").await;
            panic!("{expression} does not become true: {body}");
        }
    }
}

fn driver(name: &str) -> String {
    format!("{}/tests/it/tools/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Starts the binary with its HTTP listener. Returns also the address of that.
async fn start() -> (Process, String) {
    let args = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let mut child = command(&args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async |begins: &str| {
        let line = lines.next_line().await.unwrap().unwrap();
        line.strip_prefix(begins).expect(&line).to_owned()
    };
    let addr = line("listening on ").await.parse().unwrap();
    let page = format!("http://{}/", line("listening for HTTP on ").await);
    (Process { child, addr }, page)
}

const NASTY: &str = "<script>alert(1)</script>";

async fn define_machines(client: &Client) {
    let connections = Machine::new("connections")
        .key_prefix("connections/")
        .initial("idle")
        .state("idle", State::new().to("inflight").to("closing"))
        .state(
            "inflight",
            State::new()
                .to("idle")
                .to("closing")
                .timeout(Duration::from_secs(3_600), "closing"),
        )
        .state("closing", State::new());
    let nasty = Machine::new(NASTY)
        .key_prefix("nasty/")
        .initial("<b>a</b>")
        .state("<b>a</b>", State::new().to("\"><img src=x>"))
        .state("\"><img src=x>", State::new());
    client.define_machine(connections).await.unwrap();
    client.define_machine(nasty).await.unwrap();
    let mut ring = Machine::new("ring").key_prefix("ring/").initial("s0");
    for n in 0..12 {
        let next = State::new().to(format!("s{}", (n + 1) % 12));
        ring = ring.state(format!("s{n}"), next);
    }
    client.define_machine(ring).await.unwrap();
}

/// Moves no key of a machine, and never stops.
async fn load(client: Client) {
    for n in 0_u64.. {
        let key = format!("canary-key/{}", n % 100);
        client.write(key, "canary-value").await.unwrap();
    }
}

/// Something of the machine `connections`, as the page shows it.
fn of_connections(selector: &str) -> String {
    format!(
        "[...document.querySelectorAll('.machine')].find((it) => it.querySelector('h3').textContent === 'connections')?.querySelector('{selector}')?.textContent"
    )
}

fn count_is(state: &str, count: &str) -> String {
    let shown = of_connections(&format!("[data-state={state}] .count"));
    format!("{shown} === '{count}'")
}

const GONE: &str =
    "!document.getElementById('gone').hidden && document.getElementById('gone').textContent";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_server_under_load_and_says_when_it_is_gone() {
    let (mut server, page) = start().await;
    let client = Client::connect(format!("http://{}", server.addr))
        .await
        .unwrap();
    define_machines(&client).await;
    for n in 0..7 {
        let key = format!("connections/{n}");
        client.write(&key, "canary-value").await.unwrap();
        if n < 3 {
            client.transition(&key, "inflight").await.unwrap();
        }
    }
    client
        .transition("connections/0", "inflight")
        .await
        .unwrap_err();
    let load = tokio::spawn(load(client.clone()));

    let mut browser = Browser::start();
    browser.open(&page, json!({})).await;
    let number = "document.querySelector('#now dd span').textContent";
    browser
        .until(&format!("!['0', '–', ''].includes({number})"))
        .await;
    let sum = "Series.columns.calls.reduce((a, b) => a + b, 0)";
    let before = browser.value(sum).await;
    browser.until(&format!("{sum} > {before}")).await;
    browser
        .until("document.querySelector('.plot .main').getAttribute('d').includes('L')")
        .await;

    // The machine is drawn, and its numbers follow.
    browser.until(&count_is("inflight", "3")).await;
    browser.until(&count_is("idle", "4")).await;
    browser.until(&count_is("closing", "0")).await;
    let refused = of_connections("header p");
    browser
        .until(&format!("{refused}.includes('1 refused move')"))
        .await;
    let timeouts = of_connections("svg .label");
    assert_eq!(browser.value(&timeouts).await, "1 h");
    client.transition("connections/6", "closing").await.unwrap();
    browser.until(&count_is("closing", "1")).await;
    browser.until(&count_is("idle", "3")).await;
    let drawn = "document.querySelectorAll('[data-state^=s]').length";
    assert_eq!(browser.value(drawn).await, 12);

    // Names stay texts.
    let nasty = format!(
        "[...document.querySelectorAll('h3')].some((it) => it.textContent === {})",
        json!(NASTY)
    );
    assert_eq!(browser.value(&nasty).await, true);
    let elements = "document.querySelectorAll('main script, main img, main .machine b').length";
    assert_eq!(browser.value(elements).await, 0);
    let all = browser.value("document.documentElement.outerHTML").await;
    assert!(
        !all.as_str().unwrap().contains("canary"),
        "a key or a value is shown"
    );

    // Nobody asks for a tab that is hidden.
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}),
             document.dispatchEvent(new Event('visibilitychange')), Answer.at"
        )
    };
    browser.value(&hide(true)).await;
    browser.until("!asking").await;
    let hidden = "new Promise((done) => { const { at } = Answer; setTimeout(() => done(Answer.at === at), 1500); })";
    assert_eq!(browser.value(hidden).await, true);
    let seen = browser.value(&hide(false)).await;
    browser.until(&format!("Answer.at > {seen}")).await;

    let log = browser.tell(json!({"log": true})).await;
    assert_eq!(log["errors"], json!([]));
    for request in log["requests"].as_array().unwrap() {
        let path = request.as_str().unwrap().strip_prefix(&page).unwrap();
        assert!(
            path.is_empty() || path.starts_with("status.json?since="),
            "{path}"
        );
    }

    // A server that stands still, goes on, and is gone.
    server.signal(Signal::SIGSTOP);
    browser
        .until(&format!("({GONE} || '').includes('No answer since')"))
        .await;
    server.signal(Signal::SIGCONT);
    browser
        .until(
            "document.getElementById('gone').hidden && !document.body.classList.contains('away')",
        )
        .await;
    load.abort();
    server.child.kill().await.unwrap();
    browser
        .until(&format!("({GONE} || '').includes('No answer since')"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_the_right_of_admin() {
    let roles = [("operator", "admin = true"), ("reader", "read = ['*']")];
    let access = AccessFile::new(&roles);
    let server = TestServer::with_http(|config| {
        config.access.file = Some(access.path());
        config.tls.reload_interval = Duration::from_secs(3_600);
    });
    let addr = server.http_addr();
    let bearer = |name| access.bearer(name);
    let basic = |name| {
        let token = access.bearer(name).split_off("Bearer ".len());
        format!("Basic {}", STANDARD.encode(format!("anybody:{token}")))
    };
    for path in ["/", "/status.json", "/status.json?since=3"] {
        for (authorization, expected) in [
            (None, StatusCode::UNAUTHORIZED),
            (
                Some("Bearer slst_nonsense".into()),
                StatusCode::UNAUTHORIZED,
            ),
            (Some("Basic !".into()), StatusCode::UNAUTHORIZED),
            (Some(bearer("reader")), StatusCode::FORBIDDEN),
            (Some(basic("reader")), StatusCode::FORBIDDEN),
            (Some(bearer("operator")), StatusCode::OK),
            (Some(basic("operator")), StatusCode::OK),
        ] {
            let header = authorization.map(|it| format!("authorization: {it}\r\n"));
            let header = header.unwrap_or_default();
            let answer = request(addr, &format!("GET {path} HTTP/1.1\r\n{header}")).await;
            assert_eq!(answer.status(), expected, "{path} {header}");
            let challenge = answer.headers().get("www-authenticate");
            let is_asked = expected == StatusCode::UNAUTHORIZED;
            assert_eq!(challenge.is_some(), is_asked, "{path} {header}");
            if expected != StatusCode::OK {
                assert_eq!(
                    answer.headers()["content-type"],
                    "text/plain; charset=utf-8"
                );
                assert!(!answer.body().contains("slst_"), "{}", answer.body());
            }
        }
    }
    for open in ["/livez", "/readyz", "/metrics"] {
        let answer = request(addr, &format!("GET {open} HTTP/1.1\r\n")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{open}");
    }

    // Whoever loses the right sees no more of it, and is not asked for a password each second.
    let mut browser = Browser::start();
    let shown = json!({"authorization": basic("operator")});
    browser.open(&format!("http://{addr}/"), shown).await;
    browser
        .until("document.querySelectorAll('#now dd').length > 0")
        .await;
    access.write(&[("operator", "admin = false"), roles[1]]);
    server.reload().await;
    browser
        .until(&format!(
            "({GONE} || '').includes('does not let you see this any more')"
        ))
        .await;
    assert_eq!(browser.value("forbidden").await, true);
}

#[tokio::test]
async fn drawings_of_machines_have_no_labels_states_or_arrows_in_each_others_way() {
    let layout = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/page/layout.js");
    let mut node = Command::new(tool("node"));
    let output = node.arg(driver("layout.mjs")).arg(layout).output().await;
    let output = output.unwrap();
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{faults}");
}
