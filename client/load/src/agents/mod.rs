//! Several generators that do one run together, on this machine or on others.
//!
//! Whoever leads connects to each agent, sends it the command and its part of it, waits until all are connected to the
//! server, tells all to start, and puts together what they report. Both sides speak lines of JSON over TCP. An agent
//! puts load on whatever server it is told to, so it listens on the loopback interface unless told otherwise.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{io, thread};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::command_line::args::AGENTS_MAX;
use crate::plan::settings::{Settings, parse_command};
use crate::report::model::Report;
use crate::run::measure::{Barrier, RunError};
use crate::run::session::Session;
use crate::run::summary::Labels;
use crate::run::view::Nothing;

/// The name of this protocol. A change that older agents do not understand changes it.
const PROTOCOL: &str = "soloist-load-agent/1";

/// The longest line: the report of a day, an interval each second, is some 50 MB.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// How long an agent may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long agents may take to connect to the server and to write its keys.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// Which agents do a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agents {
    /// So many, started here for this run.
    Local(u64),
    /// These, which are there already.
    At(Vec<String>),
}

impl std::str::FromStr for Agents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(count) = text.strip_prefix("local:") {
            return count
                .parse()
                .ok()
                .filter(|count| (1..=AGENTS_MAX).contains(count))
                .map(Self::Local)
                .ok_or_else(|| format!("local:N is 1 to {AGENTS_MAX} agents"));
        }
        let addresses: Vec<String> = text.split(',').map(str::to_owned).collect();
        if addresses.len() as u64 > AGENTS_MAX {
            return Err(format!("there are at most {AGENTS_MAX} agents"));
        }
        match addresses.iter().all(|address| address.contains(':')) {
            true => Ok(Self::At(addresses)),
            false => Err("it is HOST:PORT,HOST:PORT,... or local:N".to_owned()),
        }
    }
}

/// From the leader to an agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Connect, and say when that is done.
    Prepare { protocol: String, command: String },
    /// Start now.
    Start,
}

/// From an agent to the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    Ready,
    Report(Box<Report>),
    Failed(String),
}

/// A line in each direction at a time.
struct Wire {
    reader: BufReader<TcpStream>,
    peer: String,
}

impl Wire {
    fn new(stream: TcpStream, peer: String) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            peer,
        })
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).expect("a message is JSON");
        line.push(b'\n');
        let written = self.reader.get_mut().write_all(&line);
        written.map_err(|error| format!("{}: {error}", self.peer))
    }

    /// `None` at the end.
    fn recv<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<T>, String> {
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

    fn set_patience(&self, patience: Option<Duration>) -> Result<(), String> {
        let set = self.reader.get_ref().set_read_timeout(patience);
        set.map_err(|error| format!("{}: {error}", self.peer))
    }
}

/// Serves leaders one after the other; only the first of them if `runs` says so. Tells the address on standard output.
pub(crate) fn serve(listen: SocketAddr, runs: Runs) -> Result<(), RunError> {
    let failed = |error: io::Error| RunError::Target(format!("cannot listen on {listen}: {error}"));
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    crate::report::output::print(&format!("agent listening on {address}\n"))
        .map_err(|error| RunError::Target(error.to_string()))?;
    loop {
        let (stream, leader) = listener.accept().map_err(failed)?;
        let served = Wire::new(stream, leader.to_string())
            .map_err(|error| error.to_string())
            .and_then(serve_one);
        match (runs, served) {
            (Runs::One, served) => return served.map_err(RunError::Target),
            (Runs::Many, Ok(())) => {}
            (Runs::Many, Err(error)) => {
                let _ = writeln!(io::stderr(), "error: {error}");
            }
        }
    }
}

/// How many runs an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    One,
    Many,
}

fn serve_one(mut wire: Wire) -> Result<(), String> {
    wire.set_patience(Some(CONNECT_TIMEOUT))?;
    let command = match wire.recv()? {
        Some(Order::Prepare { protocol, command }) if protocol == PROTOCOL => command,
        Some(Order::Prepare { protocol, .. }) => {
            let why = format!("this agent speaks {PROTOCOL}, not {protocol}");
            return wire.send(&News::Failed(why));
        }
        Some(Order::Start) => return wire.send(&News::Failed("there is nothing to start".into())),
        None => return Ok(()),
    };
    wire.set_patience(None)?;
    let (ready, is_ready) = oneshot::channel();
    let (start, go) = oneshot::channel();
    let barrier = Barrier { ready, go };
    let working = thread::spawn(move || work(&command, barrier));
    if is_ready.blocking_recv().is_ok() {
        wire.send(&News::Ready)?;
        // Whoever leads and goes away takes the run with them.
        match wire.recv() {
            Ok(Some(Order::Start)) => _ = start.send(()),
            _ => drop(start),
        }
    }
    let news = match working.join() {
        Ok(Ok(report)) => News::Report(Box::new(report)),
        Ok(Err(RunError::Arguments(error) | RunError::Target(error))) => News::Failed(error),
        Err(_) => News::Failed("the agent has failed".to_owned()),
    };
    wire.send(&news)
}

fn work(command: &str, barrier: Barrier) -> Result<Report, RunError> {
    let args = parse_command(command).map_err(RunError::Arguments)?;
    let settings = Settings::new(&args).map_err(RunError::Arguments)?;
    let mut session = Session::open(args.address.as_deref(), &settings)?;
    let report = session.run(settings, &Labels::default(), &mut Nothing, Some(barrier))?;
    session.close()?;
    Ok(report)
}

/// Agents that were started here. Dropped, they are ended.
struct Started(Vec<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Has the agents do a run. `command` names the server; each gets its part of it.
pub(crate) fn lead(agents: &Agents, command: &str) -> Result<Vec<Report>, String> {
    let mut started = Started(Vec::new());
    let addresses = match agents {
        Agents::At(addresses) => addresses.clone(),
        Agents::Local(count) => (0..*count)
            .map(|_| start_local(&mut started))
            .collect::<Result<_, _>>()?,
    };
    let count = addresses.len();
    let mut wires = Vec::with_capacity(count);
    for (index, address) in addresses.into_iter().enumerate() {
        let mut wire = connect(address)?;
        wire.send(&Order::Prepare {
            protocol: PROTOCOL.to_owned(),
            command: format!("{command} --part={index}/{count}"),
        })?;
        wires.push(wire);
    }
    for wire in &mut wires {
        wire.set_patience(Some(READY_TIMEOUT))?;
        match wire.recv()? {
            Some(News::Ready) => {}
            Some(News::Failed(why)) => return Err(format!("{}: {why}", wire.peer)),
            _ => return Err(format!("{}: the agent is gone", wire.peer)),
        }
    }
    for wire in &mut wires {
        wire.set_patience(None)?;
        wire.send(&Order::Start)?;
    }
    let reports = wires.iter_mut().map(|wire| match wire.recv()? {
        Some(News::Report(report)) => Ok(*report),
        Some(News::Failed(why)) => Err(format!("{}: {why}", wire.peer)),
        _ => Err(format!("{}: the agent is gone", wire.peer)),
    });
    reports.collect()
}

fn connect(address: String) -> Result<Wire, String> {
    let said = |error: io::Error| format!("cannot reach the agent at {address}: {error}");
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for resolved in address.to_socket_addrs().map_err(said)? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT) {
            Ok(stream) => return Wire::new(stream, address.clone()).map_err(said),
            Err(error) => last = error,
        }
    }
    Err(said(last))
}

/// Returns its address.
fn start_local(started: &mut Started) -> Result<String, String> {
    let said = |error: io::Error| format!("cannot start an agent: {error}");
    let program = std::env::current_exe().map_err(said)?;
    let mut child = Command::new(program)
        .args(["agent", "--listen", "127.0.0.1:0", "--once"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(said)?;
    let stdout = child.stdout.take().expect("it is piped");
    started.0.push(child);
    let mut line = String::new();
    let mut limited = BufReader::new(stdout).take(1_024);
    limited.read_line(&mut line).map_err(said)?;
    let address = line.trim().rsplit(' ').next().unwrap_or_default();
    match address.is_empty() {
        true => Err("cannot start an agent: it has said nothing".to_owned()),
        false => Ok(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named() {
        let at = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|&of| of.to_owned());
            Ok(Agents::At(addresses.collect()))
        };
        for (text, expected) in [
            ("local:3", Ok(Agents::Local(3))),
            ("a:1,b:2", at(&["a:1", "b:2"])),
            ("local:0", Err("1 to 256")),
            ("local:x", Err("1 to 256")),
            ("a", Err("HOST:PORT")),
            ("", Err("HOST:PORT")),
        ] {
            match (text.parse::<Agents>(), expected) {
                (Ok(actual), Ok(expected)) => assert_eq!(actual, expected),
                (Err(actual), Err(part)) => assert!(actual.contains(part), "{text}: {actual}"),
                (actual, _) => panic!("{text}: {actual:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_leader_is_turned_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (line, part) in [
            ("GET / HTTP/1.1\r\n", "expected"),
            ("\"start\"\n", ""),
            (
                "{\"prepare\":{\"protocol\":\"x/9\",\"command\":\"\"}}\n",
                "",
            ),
        ] {
            let leader = thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(line.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                answer
            });
            let (stream, peer) = listener.accept().unwrap();
            let served = serve_one(Wire::new(stream, peer.to_string()).unwrap());
            let answer = leader.join().unwrap();
            match part {
                "" => assert!(answer.contains("failed"), "{line}: {answer}"),
                part => assert!(served.unwrap_err().contains(part), "{line}"),
            }
        }
    }
}
