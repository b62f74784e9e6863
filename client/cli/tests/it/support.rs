//! Helpers of the tests.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use soloist_server::Server;
use soloist_server::config::{Config, Transport};

/// What a command has done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program with this server, and without what the environment of the test may say.
pub(crate) fn soloist(server: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soloist"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SOLOIST_") {
            command.env_remove(name);
        }
    }
    command
        .args(words)
        .env("SOLOIST_SERVER", server)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server, and the program for it.
pub(crate) struct Shell {
    server: Option<Server>,
}

impl Shell {
    pub(crate) fn start() -> Self {
        Self::with(&Config::default())
    }

    /// Over the transport that SOLOIST_TRANSPORT names, or the default.
    pub(crate) fn with(config: &Config) -> Self {
        let mut config = config.clone();
        if let Ok(name) = std::env::var("SOLOIST_TRANSPORT") {
            config.transport.transport = Transport::of_name(&name).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, &config).unwrap();
        Self {
            server: Some(server),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.server.as_ref().unwrap().local_addr().to_string()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        soloist(&self.address(), words)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Done {
        self.command(words).output().unwrap().into()
    }

    /// Runs the program, which must succeed and say nothing but its answer. Returns that.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(
            (done.code, done.err.as_str()),
            (0, ""),
            "{words:?}: {done:?}"
        );
        done.out
    }

    /// Runs the program, which must end with this exit code. Returns what it said.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(
            (done.code, done.out.as_str()),
            (code, ""),
            "{words:?}: {done:?}"
        );
        done.err
    }

    /// Runs the program with this input.
    pub(crate) fn with_input(&self, words: &[&str], input: &[u8]) -> Done {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shutdown is not awaited: commands of the test may still be connected.
        self.server.take().unwrap().drain();
    }
}

/// A command that goes on, whose output is read line by line. It is killed when this is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let Some(line) = self.lines.next() else {
            let mut err = String::new();
            let mut stderr = self.child.stderr.take().unwrap();
            stderr.read_to_string(&mut err).unwrap();
            panic!("it has ended: {err}");
        };
        line.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits until the command has ended. Returns its exit code and what it said.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variable that tells the process of a server where its files are.
const DIRECTORY: &str = "SOLOIST_TEST_CLI";

/// A server with a store, in a process that can be killed. Its address outlives it.
pub(crate) struct Process {
    directory: tempfile::TempDir,
    child: Child,
}

impl Process {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Self::spawn(&directory);
        Self { directory, child }
    }

    /// This program again, with nothing but the test below.
    fn spawn(directory: &tempfile::TempDir) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "support::server_process", "--ignored"])
            .env(DIRECTORY, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.spawn().unwrap()
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = Self::spawn(&self.directory);
    }

    /// Waits until it serves.
    pub(crate) fn until_serving(&self) {
        while !soloist(&self.address(), &["health"])
            .output()
            .unwrap()
            .status
            .success()
        {
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the server of another test, in a process of its own"]
fn server_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let directory = Path::new(&directory);
    let mut config = Config::default();
    config.storage.data_dir = Some(directory.join("data"));
    // A killed server leaves its socket.
    let _ = std::fs::remove_file(directory.join("socket"));
    let listener = UnixListener::bind(directory.join("socket")).unwrap();
    Server::start(listener, &config).unwrap().wait().unwrap();
}
