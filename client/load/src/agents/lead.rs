//! The leader of several agents.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::agents::protocol::{CONNECT_TIMEOUT, FromAgent, JsonLines, PROTOCOL, ToAgent};
use crate::plan::choices::Agents;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::merge::merge;
use crate::report::model::Report;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::summary::complete_merged;

/// How long agents may take to connect to the server and to write its keys.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// Has agents run together, and reports what all of them have seen.
pub(crate) fn run(
    runner: &Runner,
    settings: Settings,
    labels: &Labels,
    agents: &Agents,
) -> Result<Report, RunError> {
    settings
        .check(&runner.target().limits)
        .map_err(RunError::Arguments)?;
    let command = settings.command(Some(&runner.target().address));
    // They are told what is to become of Ctrl-C by the terminal, as we are: this waits for their reports.
    let reports = lead(agents, &command).map_err(RunError::Failed)?;
    let merged = merge(&reports, &settings.percentiles);
    let mut report = merged.map_err(|error| RunError::Failed(error.to_string()))?;
    complete_merged(&mut report, &settings, runner.target(), labels);
    Ok(report)
}

/// Agents that were started here. Dropped, they are ended.
struct LocalAgents(Vec<Child>);

impl Drop for LocalAgents {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Has the agents do a run. `command` names the server; each gets its part of it.
fn lead(agents: &Agents, command: &str) -> Result<Vec<Report>, String> {
    let mut started = LocalAgents(Vec::new());
    let addresses = match agents {
        Agents::At(addresses) => addresses.clone(),
        Agents::Local(count) => (0..*count)
            .map(|_| start_local(&mut started))
            .collect::<Result<_, _>>()?,
    };
    let count = addresses.len();
    let mut agents_lines = Vec::with_capacity(count);
    for (index, address) in addresses.into_iter().enumerate() {
        let mut lines = connect(address)?;
        lines.send(&ToAgent::Prepare {
            protocol: PROTOCOL.to_owned(),
            command: format!("{command} --part={index}/{count}"),
        })?;
        agents_lines.push(lines);
    }
    for lines in &mut agents_lines {
        lines.set_timeout(Some(READY_TIMEOUT))?;
        match lines.recv()? {
            Some(FromAgent::Ready) => {}
            Some(FromAgent::Failed(why)) => return Err(format!("{}: {why}", lines.peer)),
            _ => return Err(format!("{}: the agent is gone", lines.peer)),
        }
    }
    for lines in &mut agents_lines {
        lines.set_timeout(None)?;
        lines.send(&ToAgent::Start)?;
    }
    let reports = agents_lines.iter_mut().map(|lines| match lines.recv()? {
        Some(FromAgent::Report(report)) => Ok(*report),
        Some(FromAgent::Failed(why)) => Err(format!("{}: {why}", lines.peer)),
        _ => Err(format!("{}: the agent is gone", lines.peer)),
    });
    reports.collect()
}

fn connect(address: String) -> Result<JsonLines, String> {
    let said = |error: io::Error| format!("cannot reach the agent at {address}: {error}");
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for resolved in address.to_socket_addrs().map_err(said)? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT) {
            Ok(stream) => return JsonLines::new(stream, address.clone()).map_err(said),
            Err(error) => last = error,
        }
    }
    Err(said(last))
}

/// Returns its address.
fn start_local(started: &mut LocalAgents) -> Result<String, String> {
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
