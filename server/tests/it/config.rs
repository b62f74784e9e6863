//! `--config` and the subcommand `config`: from a file to a running server, and back.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use soloist::v1::GetInfoRequest;
use soloist::v1::admin_client::AdminClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::process::{Process, command};
use crate::support::channel;

struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("soloist.toml");
        let file = Self { folder, path };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Returns the exit code, the output and the error of a command.
async fn run(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = command(args);
    command.envs(variables.iter().copied());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_server_takes_its_flags_from_a_file() {
    let file = File::new("listen = \"127.0.0.1:0\"\nmax-key-bytes = \"2KiB\"\nmax-states = 9\n");
    let args = ["--config", file.path(), "--max-states", "10"];
    let process = Process::spawn(command(&args)).await;
    let mut admin = AdminClient::new(channel(process.addr).await);
    let info = admin.get_info(GetInfoRequest {}).await.unwrap();
    let limits = info.into_inner().limits.unwrap();
    assert_eq!((limits.max_key_bytes, limits.max_states), (2_048, 10));
}

#[tokio::test]
async fn config_prints_what_holds_and_where_it_came_from() {
    let file =
        File::new("# ours\nmax-key-bytes = \"2KiB\"\nmax-states = 9\ndata-dir = \"/none\"\n");
    let args = ["config", "--config", file.path(), "--max-states", "10"];
    let variables = [("SOLOIST_MAX_SESSIONS", "77")];
    let (code, printed, error) = run(&args, &variables).await;
    assert_eq!(code, Some(0), "{error}");
    let from_file = format!("max-key-bytes = \"2KiB\"  # file {}:2\n", file.path());
    for part in [
        &*from_file,
        "max-states = 10  # flag\n",
        "max-sessions = 77  # environment SOLOIST_MAX_SESSIONS\n",
        "durability = \"sync\"  # default\n",
        "# tls-cert = FILE  # not set\n",
        "# Longest key, in bytes.",
        "## TLS\n",
    ] {
        assert!(printed.contains(part), "{printed} lacks {part}");
    }
    let again = File::new(&printed);
    let (code, fed_back, error) = run(&["config", "--config", again.path()], &[]).await;
    assert_eq!(code, Some(0), "{error}");
    let values = |text: &str| -> Vec<_> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split("  # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&fed_back), values(&printed));
    let (code, _, error) = run(&["config", "--check", again.path()], &[]).await;
    assert_eq!(code, Some(0), "{error}");
}

#[tokio::test]
async fn a_wrong_file_ends_with_2_and_is_named_with_the_line() {
    let file = File::new("");
    for (text, parts) in [
        (
            "max-key-bites = 1\n",
            [":1: ", "max-key-bites", "max-key-bytes"],
        ),
        ("\nmax-key-bytes = 65537\n", [":2: ", "65537", "1..=65536"]),
        (
            "max-value-bytes = \"8MiB\"\n",
            [":1: ", "--max-message-bytes is 4259840", "8MiB"],
        ),
        (
            "listen = \"0.0.0.0:0\"\n",
            [":1: ", "--listen 0.0.0.0:0", "--plaintext"],
        ),
        (
            "accept-data-loss = 5\n",
            [":1: ", "accept-data-loss", "one start"],
        ),
        ("durability = \"none\"\n", [":1: ", "--data-dir", "none"]),
    ] {
        file.write(text);
        for args in [
            &["--config", file.path()][..],
            &["config", "--config", file.path()],
            &["config", "--check", file.path()],
        ] {
            let (code, output, error) = run(args, &[]).await;
            assert_eq!(
                (code, &*output),
                (Some(2), ""),
                "{args:?} {text:?}: {error}"
            );
            assert!(error.contains(file.path()), "{error}");
            for part in parts {
                assert!(
                    error.contains(part),
                    "{args:?} {text:?}: {error:?} lacks {part:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_check_reads_the_files_that_are_named() {
    let file = File::new("");
    let access = file.folder.path().join("access.toml");
    file.write(&format!("access-file = {:?}\n", access));
    let (code, _, error) = run(&["config", "--check", file.path()], &[]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains(access.to_str().unwrap()), "{error}");
    fs::write(&access, "[roles.a]\nread = [\"*\"]\n").unwrap();
    let (code, output, error) = run(&["config", "--check", file.path()], &[]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(output.contains(file.path()), "{output}");
}

#[tokio::test]
async fn sighup_takes_a_new_log_level_and_tells_what_needs_a_restart() {
    let text = "listen = \"127.0.0.1:0\"\nlog = \"warn\"\nmax-states = 9\n";
    let file = File::new(text);
    let args = ["--config", file.path(), "--max-sessions", "5"];
    let mut process = Process::spawn(command(&args)).await;
    let mut log = BufReader::new(process.child.stderr.take().unwrap()).lines();
    let changed = "listen = \"127.0.0.1:1\"\nlog = \"info\"\nmax-sessions = 6\n";
    file.write(changed);
    process.signal(Signal::SIGHUP);
    let told = until(&mut log, "reloaded: log is info").await;
    for name in ["listen", "max-states"] {
        let line = format!("{name} has changed in {}, and needs a restart", file.path());
        assert!(told.contains(&line), "{told} lacks {line}");
    }
    assert!(
        !told.contains("max-sessions"),
        "the log was at warn: {told}"
    );
    file.write(&changed.replace('6', "7"));
    process.signal(Signal::SIGHUP);
    until(&mut log, "max-sessions has changed").await;
    process.signal(Signal::SIGHUP);
    until(&mut log, "nothing to reload: --config").await;
    file.write("max-states = true\n");
    process.signal(Signal::SIGHUP);
    let told = until(&mut log, "not reloaded").await;
    assert!(
        told.contains("soloist.toml:1: max-states is true"),
        "{told}"
    );
    process.end().await;
}

#[tokio::test]
async fn the_program_has_manual_pages_and_completions() {
    for (args, part) in [
        (&["man"][..], "\\-\\-durability"),
        (&["man", "backup"], "SOLOIST_CLIENT_TLS_CA"),
        (&["completions", "zsh"], "--durability"),
        (&["completions", "fish"], "durability"),
    ] {
        let (code, output, error) = run(args, &[]).await;
        assert_eq!(code, Some(0), "{args:?}: {error}");
        assert!(output.contains(part), "{args:?}: {output}");
    }
    let file = File::new(&run(&["completions", "bash"], &[]).await.1);
    let line = "source \"$1\"; COMP_WORDS=(soloist-server --dura); COMP_CWORD=1; \
                _soloist__server soloist-server --dura soloist-server; echo \"${COMPREPLY[@]}\"";
    let mut bash = tokio::process::Command::new("bash");
    let output = bash
        .args(["-c", line, "bash", file.path()])
        .output()
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        "--durability"
    );
}

/// Reads the log up to a line with this text. Returns what it read.
async fn until(log: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    let mut all = String::new();
    while let Some(line) = log.next_line().await.unwrap() {
        all += &line;
        all += "\n";
        if line.contains(text) {
            return all;
        }
    }
    panic!("the log ends without {text:?}:\n{all}");
}

#[tokio::test]
async fn the_flags_of_a_node_go_together() {
    let node = [
        "--etcd",
        "http://127.0.0.1:1",
        "--cluster",
        "prod",
        "--node",
        "a",
        "--advertise",
        "127.0.0.1:5",
    ];
    for (more, parts) in [
        (&["--data-dir", "/none"][..], &["--etcd", "--data-dir"][..]),
        (&["--owner-ttl", "1s"], &["--owner-ttl", "1s", "2s..=60s"]),
        (
            &["--max-store-bytes", "1GiB"],
            &["--etcd-quota-bytes is 2147483648", "469762048 or less"],
        ),
    ] {
        let (code, _, error) = run(&[&node[..], more].concat(), &[]).await;
        assert_eq!(code, Some(2), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error} lacks {part:?}");
        }
    }
    let (code, _, error) = run(&node[..4], &[]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--node is not"), "{error}");
    // The state of a node is smaller by itself, so that it fits into the quota that etcd has by itself.
    let config = [&["config"][..], &node].concat();
    let (code, printed, error) = run(&config, &[]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(
        printed.contains("max-store-bytes = \"256MiB\"  # default"),
        "{printed}"
    );
    let file = File::new("etcd = [\"http://e:1\", \"http://f:1\"]\ncluster = \"prod\"\n");
    let (code, _, error) = run(&["--config", file.path()], &[]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--node is not"), "{error}");
}
