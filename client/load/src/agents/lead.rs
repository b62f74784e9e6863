//! The leader: makes several agents share a run.

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

/// The longest line in which an agent that was started here says its address, in bytes.
const ADDRESS_LINE_BYTES_MAX: u64 = 1_024;

/// Makes agents do one run together, against the server of `runner`. Returns one report for all of them.
///
/// # Errors
/// If the settings exceed a limit of the server, or an agent cannot be reached, fails or goes away.
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
    // On Ctrl-C the terminal signals this process and the agents that it has started. The agents end their run and report,
    // so this process goes on and waits for the reports.
    let reports = lead(agents, &command).map_err(RunError::Failed)?;
    let merged = merge(&reports, &settings.percentiles);
    let mut report = merged.map_err(|error| RunError::Failed(error.to_string()))?;
    complete_merged(&mut report, &settings, runner.target(), labels);
    Ok(report)
}

/// Makes each agent do its share of the command. Returns their reports.
fn lead(agents: &Agents, command: &str) -> Result<Vec<Report>, String> {
    let mut started = LocalAgents(Vec::new());
    let addresses = match agents {
        Agents::At(addresses) => addresses.clone(),
        Agents::Local(count) => (0..*count)
            .map(|_| started.start())
            .collect::<Result<_, _>>()?,
    };
    let count = addresses.len();
    let mut agents = Vec::with_capacity(count);
    for (index, address) in addresses.into_iter().enumerate() {
        let mut agent = connect(address)?;
        agent.send(&ToAgent::Prepare {
            protocol: PROTOCOL.to_owned(),
            command: format!("{command} --part={index}/{count}"),
        })?;
        agents.push(agent);
    }
    for agent in &mut agents {
        agent.set_timeout(Some(READY_TIMEOUT))?;
        match agent.recv()? {
            Some(FromAgent::Ready) => {}
            other => return Err(failure(agent, other)),
        }
    }
    for agent in &mut agents {
        agent.set_timeout(None)?;
        agent.send(&ToAgent::Start)?;
    }
    let reports = agents.iter_mut().map(|agent| match agent.recv()? {
        Some(FromAgent::Report(report)) => Ok(*report),
        other => Err(failure(agent, other)),
    });
    reports.collect()
}

/// Returns the error for a message that does not go on with the run.
fn failure(agent: &JsonLines, message: Option<FromAgent>) -> String {
    let why = match message {
        Some(FromAgent::Failed(why)) => why,
        Some(FromAgent::Ready | FromAgent::Report(_)) => {
            "the agent sent an unexpected message".to_owned()
        }
        None => "the agent has gone away".to_owned(),
    };
    format!("{}: {why}", agent.peer)
}

fn connect(address: String) -> Result<JsonLines, String> {
    let context = |error: io::Error| format!("cannot reach the agent at {address}: {error}");
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in address.to_socket_addrs().map_err(context)? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT) {
            Ok(stream) => return JsonLines::new(stream, address.clone()).map_err(context),
            Err(error) => last = error,
        }
    }
    Err(context(last))
}

/// Agents that this process has started. Dropping this ends them.
struct LocalAgents(Vec<Child>);

impl LocalAgents {
    /// Starts an agent for one run. Returns its address.
    fn start(&mut self) -> Result<String, String> {
        let context = |error: io::Error| format!("cannot start an agent: {error}");
        let program = std::env::current_exe().map_err(context)?;
        let mut child = Command::new(program)
            .args(["agent", "--listen", "127.0.0.1:0", "--once"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(context)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        self.0.push(child);
        let mut line = String::new();
        let mut limited = BufReader::new(stdout).take(ADDRESS_LINE_BYTES_MAX);
        limited.read_line(&mut line).map_err(context)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        match address.is_empty() {
            true => Err("cannot start an agent: it has not said its address".to_owned()),
            false => Ok(address.to_owned()),
        }
    }
}

impl Drop for LocalAgents {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An agent that has done its run has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
