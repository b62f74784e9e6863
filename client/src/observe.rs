//! Observes an election: who leads, and each change.

use std::collections::HashMap;

use tonic::Code;

use crate::connection::Connection;
use crate::{Error, Leader, Retry, Watch, WatchCall, WatchMessage};

/// Who leads an election, or holds a lock, as it changes. Made by [`Client::observe`](crate::Client::observe).
///
/// ```
/// use soloist_client::Client;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// let mut leaders = client.observe("leader");
/// assert_eq!(leaders.next().await?, None);
/// let leadership = client.elect("leader", "ben").await?;
/// let leader = leaders.next().await?.expect("ben leads");
/// assert_eq!((leader.value, leader.term), ("ben".into(), leadership.term()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Observe {
    connection: Connection,
    /// What the keys of candidates begin with.
    prefix: String,
    watch: Option<Watch>,
    /// By their keys.
    candidates: HashMap<String, Leader>,
    /// Whether all candidates are known.
    is_complete: bool,
    told: Option<Option<Leader>>,
}

impl Observe {
    pub(crate) fn new(connection: &Connection, name: String) -> Self {
        Self {
            connection: connection.clone(),
            prefix: name + "/",
            watch: None,
            candidates: HashMap::new(),
            is_complete: false,
            told: None,
        }
    }

    /// Returns who leads now, and with each further call who leads next, or the same leader with another value. `None`: nobody.
    ///
    /// Waits as long as it takes, also while the server is away. If the future is dropped, no change is lost; changes that came
    /// and went between two calls are left out.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for a name that makes no key, PERMISSION_DENIED without the right to read `NAME/*`. Never retry.
    pub async fn next(&mut self) -> Result<Option<Leader>, Error> {
        loop {
            match self.advance().await {
                Ok(()) => {}
                // What is known may be old: begin anew.
                Err(error) if error.code() == Code::OutOfRange || error.is_retryable() => {
                    self.watch = None;
                }
                Err(error) => return Err(error),
            }
            if !self.is_complete {
                continue;
            }
            let leader = self.candidates.values().min_by_key(|leader| leader.term);
            if self.told.as_ref().map(Option::as_ref) != Some(leader) {
                let leader = leader.cloned();
                self.told = Some(leader.clone());
                return Ok(leader);
            }
        }
    }

    /// Takes one message.
    async fn advance(&mut self) -> Result<(), Error> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => {
                self.is_complete = false;
                let call = WatchCall::prefix(&self.connection, &self.prefix).initial();
                let watch = call.resume(Retry::default()).await?;
                self.candidates.clear();
                self.watch.insert(watch)
            }
        };
        match watch.next().await? {
            Some(message) => self.take(message),
            None => self.watch = None,
        }
        Ok(())
    }

    fn take(&mut self, message: WatchMessage) {
        for event in message.events {
            // A name may be the beginning of another.
            if event.key[self.prefix.len()..].contains('/') {
                continue;
            }
            match event.entry {
                Some(entry) => {
                    let candidate = Leader {
                        key: event.key.clone(),
                        value: entry.value,
                        term: entry.create_revision,
                    };
                    self.candidates.insert(event.key, candidate);
                }
                None => {
                    self.candidates.remove(&event.key);
                }
            }
        }
        self.is_complete |= message.caught_up;
    }
}
