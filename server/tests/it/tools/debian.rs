//! Programs of Debian's packages, which `./test --tools` installs where they are missing.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Far more than any of them takes: one that waits for the server in vain fails the test, and does not hold it up.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits for the end of a command.
pub(crate) async fn output(command: &mut Command) -> Output {
    let ended = timeout(LONG, command.output()).await;
    ended
        .unwrap_or_else(|_| panic!("{command:?} does not end"))
        .unwrap()
}

/// Returns a program that is in `PATH`. Dropping its process ends it.
pub(crate) fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    assert!(found, "this test needs {name}: run ./test --tools once");
    quiet(name)
}

/// Returns curl: that in `PATH`, or Debian's, if the other was built without HTTP/2.
pub(crate) async fn curl() -> Command {
    for curl in ["curl", "/usr/bin/curl"].map(Path::new) {
        let version = quiet(curl).arg("--version").output().await;
        if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" HTTP2 ")) {
            let mut curl = quiet(curl);
            curl.args(["--silent", "--show-error"]);
            return curl;
        }
    }
    panic!("this test needs a curl with HTTP/2: run ./test --tools once");
}

fn quiet(program: impl AsRef<Path>) -> Command {
    let program: PathBuf = program.as_ref().into();
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    command
}
