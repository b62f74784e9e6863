//! Ctrl-C and SIGTERM. One rule for the whole program: the first signal ends what is under way, and what was measured until
//! then is kept and told; the exit code is 130 or 143. A second signal ends the process at once.

use std::future;
use std::io;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::report::live::restore;
use crate::run::error::RunError;

/// The first signal that came, if any did. It is there once the process watches for signals.
static FIRST: OnceLock<watch::Receiver<Option<SignalKind>>> = OnceLock::new();

/// Whether there is nothing to keep, so that even the first signal ends the process at once.
static IS_IDLE: AtomicBool = AtomicBool::new(false);

/// The signals that end a run early.
#[derive(Debug)]
pub(crate) struct Interrupts {
    caught: watch::Receiver<Option<SignalKind>>,
    /// Told when the leader of this agent wants the run to end.
    leader: Option<oneshot::Receiver<SignalKind>>,
    /// What has ended the run early, if anything has.
    pub(crate) first: Option<SignalKind>,
}

impl Interrupts {
    /// Takes over the handling of these signals from the system, for the rest of the process.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        let caught = match FIRST.get() {
            Some(caught) => caught.clone(),
            None => {
                let caught = start_watching()?;
                FIRST.get_or_init(|| caught).clone()
            }
        };
        Ok(Self {
            caught,
            leader: None,
            first: None,
        })
    }

    /// Lets the leader end the run as well.
    pub(crate) fn obey(&mut self, leader: oneshot::Receiver<SignalKind>) {
        self.leader = Some(leader);
    }

    /// Waits for the signal that ends the run. Once it is [known](Self::first), waits for ever.
    pub(crate) async fn recv(&mut self) -> SignalKind {
        if self.first.is_some() {
            return future::pending().await;
        }
        let Self { caught, leader, .. } = self;
        let of_process = async {
            match caught.wait_for(Option::is_some).await {
                Ok(caught) => caught.expect("it was waited for"),
                Err(_) => future::pending().await,
            }
        };
        let of_leader = async {
            let told = match leader.as_mut() {
                Some(told) => told.await,
                None => future::pending().await,
            };
            *leader = None;
            match told {
                Ok(signal) => signal,
                Err(_) => future::pending().await,
            }
        };
        tokio::select! {
            signal = of_process => signal,
            signal = of_leader => signal,
        }
    }
}

/// Returns the first signal that came, if any did.
pub(crate) fn caught() -> Option<SignalKind> {
    *FIRST.get()?.borrow()
}

/// Fails if a signal has come: what follows is not to begin.
pub(crate) fn check() -> Result<(), RunError> {
    match caught() {
        Some(signal) => Err(RunError::Interrupted(signal)),
        None => Ok(()),
    }
}

/// Does what has nothing to keep: meanwhile the first signal ends the process at once.
pub(crate) fn while_idle<T>(wait: impl FnOnce() -> T) -> Result<T, RunError> {
    IS_IDLE.store(true, Ordering::SeqCst);
    // A signal that came before would be waited for in vain.
    check()?;
    let done = wait();
    IS_IDLE.store(false, Ordering::SeqCst);
    Ok(done)
}

/// Returns the exit code of a process that a signal ended, as shells count it: 130 for Ctrl-C, 143 for SIGTERM.
pub(crate) fn exit_code(signal: SignalKind) -> i32 {
    128 + signal.as_raw_value()
}

/// Starts a thread that waits for signals: the commands wait in ways of their own, and some compute.
fn start_watching() -> io::Result<watch::Receiver<Option<SignalKind>>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut ctrl_c, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let (first, caught) = watch::channel(None);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    let signal = either(&mut ctrl_c, &mut terminate).await;
                    if first.borrow().is_some() || IS_IDLE.load(Ordering::SeqCst) {
                        restore(&mut io::stderr());
                        process::exit(exit_code(signal));
                    }
                    first.send_replace(Some(signal));
                }
            });
        })?;
    Ok(caught)
}

async fn either(ctrl_c: &mut Signal, terminate: &mut Signal) -> SignalKind {
    tokio::select! {
        Some(()) = ctrl_c.recv() => SignalKind::interrupt(),
        Some(()) = terminate.recv() => SignalKind::terminate(),
        else => future::pending().await,
    }
}
