//! What is said between a leader and an agent: lines of JSON over TCP.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::model::Report;

/// The name of this protocol. A change that older agents do not understand changes it.
pub(crate) const PROTOCOL: &str = "soloist-load-agent/1";

/// The longest line: the report of a day, an interval each second, is some 50 MB.
pub(crate) const LINE_BYTES_MAX: u64 = 256 << 20;

/// How long an agent may take to be reached.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the leader to an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToAgent {
    /// Connect, and say when that is done.
    Prepare { protocol: String, command: String },
    /// Start now.
    Start,
}

/// From an agent to the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromAgent {
    Ready,
    Report(Box<Report>),
    Failed(String),
}

/// A line in each direction at a time.
pub(crate) struct JsonLines {
    reader: BufReader<TcpStream>,
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

    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).expect("a message is JSON");
        line.push(b'\n');
        let written = self.reader.get_mut().write_all(&line);
        written.map_err(|error| format!("{}: {error}", self.peer))
    }

    /// `None` at the end.
    pub(crate) fn recv<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<T>, String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", self.peer);
        let count = limited
            .read_until(b'\n', &mut line)
            .map_err(|error| said(&error))?;
        if count == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(said(&"the line has no end"));
        }
        let message = serde_json::from_slice(&line);
        message.map(Some).map_err(|error| said(&error))
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), String> {
        let set = self.reader.get_ref().set_read_timeout(timeout);
        set.map_err(|error| format!("{}: {error}", self.peer))
    }
}
