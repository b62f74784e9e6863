//! A command in a process group of its own.
//!
//! The group can be killed as a whole. On a terminal it is the group in the foreground, so that the command reads what is typed, and
//! Ctrl-C and Ctrl-Z are for it.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};
use tokio::sync::mpsc;

use crate::process::signals::exit_code;

/// What becomes of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// It has ended, with this exit code.
    Ended(i32),
    /// It was stopped by this signal, as by Ctrl-Z.
    Stopped(Signal),
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    changes: mpsc::Receiver<Change>,
    /// Whether this program was in the foreground of a terminal.
    has_terminal: bool,
    has_ended: bool,
}

impl Group {
    /// Starts a command with these variables.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn start(
        command: &OsStr,
        arguments: &[OsString],
        variables: &[(&str, String)],
    ) -> io::Result<Self> {
        let mut command = Command::new(command);
        command.args(arguments).process_group(0);
        for (name, value) in variables {
            command.env(name, value);
        }
        let has_terminal = io::stdin().is_terminal() && tcgetpgrp(io::stdin()) == Ok(getpgrp());
        let child = command.spawn()?;
        let leader = Pid::from_raw(child.id().cast_signed());
        let (sender, changes) = mpsc::channel(16);
        thread::Builder::new()
            .name("wait".to_owned())
            .spawn(move || wait(leader, &sender))?;
        let group = Self {
            leader,
            changes,
            has_terminal,
            has_ended: false,
        };
        group.give_terminal();
        Ok(group)
    }

    /// Waits until the command ends or is stopped. If the future is dropped, nothing is lost.
    pub(crate) async fn changed(&mut self) -> Change {
        let change = self.changes.recv().await;
        // The thread ends with the command.
        let change = change.unwrap_or(Change::Ended(exit_code(Signal::SIGKILL)));
        if matches!(change, Change::Ended(_)) {
            self.has_ended = true;
            self.take_terminal();
        }
        change
    }

    /// Sends a signal to the command and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        // Its number may be that of another after its end.
        if !self.has_ended {
            let _ = killpg(self.leader, signal);
        }
    }

    /// Stops this program as its command was stopped by this signal, so that the shell takes over. Returns when it goes on.
    pub(crate) fn stop_with_it(&self, signal: Signal) {
        if !self.has_terminal {
            return;
        }
        let foreground = tcgetpgrp(io::stdin());
        let is_ours = foreground == Ok(getpgrp()) || foreground == Ok(self.leader);
        if is_ours && matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU) {
            // It was faster than this program, which had not given it the terminal yet.
            self.give_terminal();
            self.signal(Signal::SIGCONT);
            return;
        }
        self.take_terminal();
        let _ = kill(getpid(), Signal::SIGSTOP);
        // It may go on in the background.
        if tcgetpgrp(io::stdin()) == Ok(getpgrp()) {
            self.give_terminal();
        }
        self.signal(Signal::SIGCONT);
    }

    fn give_terminal(&self) {
        if self.has_terminal {
            let _ = tcsetpgrp(io::stdin(), self.leader);
        }
    }

    fn take_terminal(&self) {
        if !self.has_terminal {
            return;
        }
        // A group in the background is stopped when it does this, unless it has blocked the signal.
        let mut set = SigSet::empty();
        set.add(Signal::SIGTTOU);
        let _ = set.thread_block();
        let _ = tcsetpgrp(io::stdin(), getpgrp());
        let _ = set.thread_unblock();
    }
}

/// Waits for the command, on a thread: tokio does not tell that a child was stopped.
fn wait(leader: Pid, changes: &mpsc::Sender<Change>) {
    loop {
        let change = match waitpid(leader, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => Change::Ended(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Change::Ended(exit_code(signal)),
            Ok(WaitStatus::Stopped(_, signal)) => Change::Stopped(signal),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        if changes.blocking_send(change).is_err() || matches!(change, Change::Ended(_)) {
            return;
        }
    }
}
