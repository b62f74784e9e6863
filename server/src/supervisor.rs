//! What systemd, or another supervisor that speaks its protocols, gives to the server and is told by it.
//!
//! The protocols are those of sd_notify(3) and sd_listen_fds(3). Without the environment variables of a supervisor nothing
//! is done.

use std::env;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use sd_notify::NotifyState;
use soloist_server::config::{
    Config, START_EXTEND_BY, START_EXTEND_EVERY, STOP_SPARE, SUPERVISOR_NEWS_MAX,
};
use soloist_server::progress::Progress;
use soloist_server::{Listener, Pulse};
use tokio::runtime;
use tokio::time::timeout;
use tracing::warn;

/// Takes the socket that a supervisor has opened for the server; `None` if there is none. Call it before any thread is
/// started, because it removes the variables from the environment.
///
/// # Errors
/// What is wrong with the sockets, for the operator.
pub(crate) fn take_socket() -> Result<Option<Listener>, String> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => return Ok(None),
        1 => {}
        count => {
            return Err(format!(
                "{count} sockets were passed (LISTEN_FDS), but this server listens on one"
            ));
        }
    }
    if let Ok(Some(tcp)) = passed.take_tcp_listener(0)
        && getsockopt(&tcp, AcceptConn) == Ok(true)
    {
        return Ok(Some(tcp.into()));
    }
    if let Ok(Some(unix)) = passed.take_unix_listener(0)
        && getsockopt(&unix, AcceptConn) == Ok(true)
    {
        return Ok(Some(unix.into()));
    }
    Err("what was passed (LISTEN_FDS) is no TCP and no Unix socket that listens; in a .socket unit, use ListenStream and \
         not Accept"
        .into())
}

/// Tells the supervisor how the server is, on a thread of its own: a supervisor that does not read must not stop the
/// server. Cheap to clone. Does nothing if there is no supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor(Option<SyncSender<News>>);

/// What has happened to the server.
#[derive(Debug)]
enum News {
    /// It serves. The text is for people.
    Serving(String, Pulse),
    /// It serves in another way than before. The text is for people.
    Status(String),
    /// It looks at its files.
    Reloading,
    /// It has looked at its files, and cannot use them for this reason.
    Reloaded(Option<String>),
    /// It drains, and ends then. The sender is dropped when the supervisor has been told.
    Stopping(SyncSender<()>),
}

impl Supervisor {
    /// Says that the server opens its store, and goes on saying so until it serves.
    ///
    /// # Errors
    /// The system's error if no thread can be started.
    pub(crate) fn start(progress: Progress, config: &Config) -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        let (sender, news) = sync_channel(SUPERVISOR_NEWS_MAX);
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let reporter = Reporter {
            watchdog: sd_notify::watchdog_enabled(),
            phase: Phase::Opening,
            status: OPENING.into(),
            progress,
            // First the connections may take it, and then the last changes.
            stop_within: 2 * config.transport.drain_timeout + STOP_SPARE,
        };
        thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || reporter.run(&news, &runtime))?;
        Ok(Self(Some(sender)))
    }

    /// Whether there is anybody to tell.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn serving(&self, status: String, pulse: Pulse) {
        self.tell(News::Serving(status, pulse));
    }

    pub(crate) fn status(&self, status: String) {
        self.tell(News::Status(status));
    }

    pub(crate) fn reloading(&self) {
        self.tell(News::Reloading);
    }

    /// Takes why the files cannot be used, if they cannot.
    pub(crate) fn reloaded(&self, error: Option<String>) {
        self.tell(News::Reloaded(error));
    }

    /// Returns when the supervisor has been told, or after a while: the process may end before its thread runs again.
    pub(crate) fn stopping(&self) {
        let (told, is_told) = sync_channel(1);
        self.tell(News::Stopping(told));
        // Nothing is ever sent: the sender is dropped.
        let _ = is_told.recv_timeout(STOPPING_TOLD_WITHIN);
    }

    fn tell(&self, news: News) {
        if let Some(sender) = &self.0 {
            // A failed send means that the supervisor has not read for a long time.
            let _ = sender.try_send(news);
        }
    }
}

/// How far the server is.
enum Phase<P> {
    Opening,
    Serving(P),
    /// The drain timeout bounds it, so the watchdog need not.
    Stopping,
}

/// Knows what the supervisor must be told next.
struct Reporter<P> {
    /// How long the supervisor waits for a sign of life, if it does.
    watchdog: Option<Duration>,
    phase: Phase<P>,
    /// For people.
    status: String,
    /// How far the opening of the store is.
    progress: Progress,
    /// How long a shutdown can take.
    stop_within: Duration,
}

impl Reporter<Pulse> {
    fn run(mut self, news: &Receiver<News>, runtime: &runtime::Runtime) {
        let mut is_late = false;
        notify(&self.opening());
        loop {
            match news.recv_timeout(self.interval()) {
                Ok(news) => {
                    let told = match &news {
                        News::Stopping(told) => Some(told.clone()),
                        _ => None,
                    };
                    notify(&self.note(news));
                    drop(told);
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let limit = self.interval();
                    let beats = |pulse: &Pulse| {
                        let beat = runtime.block_on(async { timeout(limit, pulse.beat()).await });
                        beat == Ok(true)
                    };
                    let states = self.time_passed(beats);
                    let was_late = std::mem::replace(&mut is_late, states.is_empty());
                    if is_late && !was_late {
                        warn!("the owner takes no messages: telling the watchdog nothing");
                    }
                    notify(&states);
                }
            }
        }
    }
}

impl<P> Reporter<P> {
    /// After which time [`time_passed`](Self::time_passed) is to be called.
    fn interval(&self) -> Duration {
        match self.phase {
            Phase::Opening => START_EXTEND_EVERY,
            // Half of it goes by between two signs of life if the owner takes all of its time to answer.
            Phase::Serving(_) | Phase::Stopping => {
                self.watchdog.map_or(Duration::MAX, |watchdog| watchdog / 4)
            }
        }
    }

    fn opening(&mut self) -> Vec<NotifyState<'_>> {
        if let Some(look) = self.progress.look() {
            self.status = format!("{OPENING}: {look}");
        }
        vec![NotifyState::Status(&self.status), extend(START_EXTEND_BY)]
    }

    /// Returns what to tell because time has passed. `beats` finds out whether the owner takes messages.
    fn time_passed(&mut self, beats: impl FnOnce(&P) -> bool) -> Vec<NotifyState<'_>> {
        match &self.phase {
            Phase::Opening => self.opening(),
            Phase::Serving(pulse) if !beats(pulse) => Vec::new(),
            Phase::Serving(_) | Phase::Stopping => vec![NotifyState::Watchdog],
        }
    }
}

impl Reporter<Pulse> {
    /// Returns what to tell because something has happened.
    fn note(&mut self, news: News) -> Vec<NotifyState<'_>> {
        match news {
            News::Serving(status, pulse) => {
                self.phase = Phase::Serving(pulse);
                self.status = status;
                vec![NotifyState::Ready, NotifyState::Status(&self.status)]
            }
            News::Status(status) => {
                self.status = status;
                vec![NotifyState::Status(&self.status)]
            }
            News::Reloading => {
                let mut states = vec![NotifyState::Reloading];
                // systemd tells by the time which reload this is.
                states.extend(NotifyState::monotonic_usec_now());
                states
            }
            News::Reloaded(error) => {
                let serving = self.status.split(NOT_RELOADED).next().unwrap_or_default();
                self.status = match error {
                    None => serving.into(),
                    Some(error) => format!("{serving}{NOT_RELOADED}{error}"),
                };
                vec![NotifyState::Ready, NotifyState::Status(&self.status)]
            }
            News::Stopping(_) => {
                self.phase = Phase::Stopping;
                let status = NotifyState::Status("draining: open calls finish");
                vec![NotifyState::Stopping, status, extend(self.stop_within)]
            }
        }
    }
}

/// How long the end of the server waits until the supervisor has been told of it.
const STOPPING_TOLD_WITHIN: Duration = Duration::from_secs(1);

const OPENING: &str = "opening the store";

const NOT_RELOADED: &str = "; not reloaded: ";

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

fn notify(states: &[NotifyState<'_>]) {
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the supervisor how this server is");
    }
}

#[cfg(test)]
mod tests {
    use soloist_server::progress::Unit;

    use super::*;

    fn reporter(phase: Phase<()>) -> Reporter<()> {
        Reporter {
            watchdog: Some(Duration::from_secs(8)),
            phase,
            status: "opening".into(),
            progress: Progress::default(),
            stop_within: Duration::from_secs(1),
        }
    }

    fn told(states: Vec<NotifyState<'_>>) -> String {
        let states: Vec<_> = states.iter().map(ToString::to_string).collect();
        states.join(" ")
    }

    #[test]
    fn a_long_start_is_given_more_time() {
        let mut opening = reporter(Phase::Opening);
        assert!(opening.interval() < START_EXTEND_BY);
        let states = opening.time_passed(|()| unreachable!("there is no owner yet"));
        assert_eq!(told(states), "STATUS=opening EXTEND_TIMEOUT_USEC=60000000");
        let records = Unit::Things("records");
        opening.progress.begin("replaying", records, Some(4));
        opening.progress.set(3);
        let states = told(opening.time_passed(|()| unreachable!("there is no owner yet")));
        let begins = "STATUS=opening the store: replaying: 3 of 4 records (75%)";
        assert!(states.starts_with(begins), "{states}");
    }

    #[test]
    fn the_watchdog_is_fed_only_while_the_owner_takes_messages() {
        let mut serving = reporter(Phase::Serving(()));
        assert_eq!(serving.interval(), Duration::from_secs(2));
        assert_eq!(told(serving.time_passed(|()| true)), "WATCHDOG=1");
        assert_eq!(told(serving.time_passed(|()| false)), "");
    }

    #[test]
    fn the_watchdog_does_not_cut_a_shutdown_short() {
        let mut stopping = reporter(Phase::Stopping);
        assert_eq!(told(stopping.time_passed(|()| false)), "WATCHDOG=1");
    }
}
