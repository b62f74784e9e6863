//! Signals, and the binary under test.

use std::path::Path;
use std::process::Child;

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The binary: that of this build, or the one that SOLOIST_TEST_SERVER names, such as a release build.
pub(crate) fn server() -> String {
    let this_build = env!("CARGO_BIN_EXE_soloist-server");
    std::env::var("SOLOIST_TEST_SERVER").unwrap_or_else(|_| this_build.into())
}

/// Sends a signal to a process that this one has started. After SIGSTOP it stands still: on a busy machine its other threads go on
/// for a while, until the one that was given the signal has its turn.
pub(crate) fn signal(id: u32, signal: Signal) {
    let id = Pid::from_raw(id.cast_signed());
    nix::sys::signal::kill(id, signal).unwrap();
    if signal == Signal::SIGSTOP {
        let status = waitpid(id, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    }
}

/// Ends a process at once, even one that is stopped.
pub(crate) fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        child.wait().unwrap();
    }
}

/// The end of a log, for a failure.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
