//! The messages between a leader and an agent: lines of JSON over TCP.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::model::Report;

/// The name of this protocol. It changes with any change that older agents do not understand.
pub(crate) const PROTOCOL: &str = "soloist-load-agent/1";

/// The longest line, in bytes. The report of a day, with an interval each second, has some 50 MB.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// How long connecting to an agent may take, and until the leader sends its first message.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message from the leader to an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToAgent {
    /// Connect to the server of the command. The agent answers [`FromAgent::Ready`].
    Prepare { protocol: String, command: String },
    /// Start the run. The agent answers [`FromAgent::Report`].
    Start,
    /// End the run now. The agent answers [`FromAgent::Report`] with what it has measured.
    Stop,
}

/// A message from an agent to the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromAgent {
    Ready,
    Report(Box<Report>),
    /// Instead of any other answer. It says why.
    Failed(String),
}

/// A TCP connection for messages, one at a time in each direction.
pub(crate) struct JsonLines {
    reader: BufReader<TcpStream>,
    /// The address of the other side. Every error names it.
    pub(crate) peer: String,
}

impl JsonLines {
    pub(crate) fn new(stream: TcpStream, peer: String) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            peer,
        })
    }

    /// Returns a second handle of the connection, which only sends: the first can wait for messages meanwhile.
    pub(crate) fn sender(&self) -> Result<Self, String> {
        let stream = self.reader.get_ref().try_clone();
        Ok(Self {
            reader: BufReader::new(stream.map_err(|error| self.error(&error))?),
            peer: self.peer.clone(),
        })
    }

    /// Sends a message. Blocks until the system has taken all of it.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).expect("a message is JSON");
        line.push(b'\n');
        let written = self.reader.get_mut().write_all(&line);
        written.map_err(|error| self.error(&error))
    }

    /// Waits for the next message, at most for the [timeout](Self::set_timeout). Returns `None` if the other side has closed
    /// the connection.
    pub(crate) fn recv<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<T>, String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut line);
        let count = read.map_err(|error| self.error(&error))?;
        if count == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(self.error(&"the line is not complete"));
        }
        let message = serde_json::from_slice(&line);
        message.map(Some).map_err(|error| self.error(&error))
    }

    /// Sets how long [`recv`](Self::recv) waits. `None` for no limit.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), String> {
        let set = self.reader.get_ref().set_read_timeout(timeout);
        set.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &dyn Display) -> String {
        format!("{}: {error}", self.peer)
    }
}
