//! The leader: makes several agents share a run.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::agents::protocol::{CONNECT_TIMEOUT, FromAgent, JsonLines, PROTOCOL, ToAgent};
use crate::plan::choices::Agents;
use crate::plan::labels::Labels;
use crate::plan::settings::{Settings, TOKEN_METADATA};
use crate::report::merge::merge;
use crate::report::model::{AgentReport, Report};
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::signals;
use crate::run::summary::complete_merged;

/// How long agents may take to connect to the server and to write its keys.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// How often the leader looks whether a signal has come.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The longest line in which an agent that was started here says its address, in bytes.
const ADDRESS_LINE_BYTES_MAX: u64 = 1_024;

/// Makes agents do one run together, against the server of `runner`. Returns one report for all of them.
///
/// # Errors
/// If the settings exceed a limit of the server, an agent cannot be reached or is not ready for the start, or none has a
/// report in the end. An agent that goes away during the run is no error: the report has those of the others, and says so.
pub(crate) fn run(
    runner: &Runner,
    settings: Settings,
    labels: &Labels,
    agents: &Agents,
) -> Result<Report, RunError> {
    runner.target().check(&settings)?;
    let command = settings.command(Some(&runner.target().address));
    let parts = lead(agents, &command, bearer(&settings))?;
    let reports: Vec<Report> = parts
        .iter()
        .filter_map(|part| part.report.as_ref().ok().cloned())
        .collect();
    let merged = merge(&reports, &settings.percentiles);
    let mut report = merged.map_err(|error| RunError::Failed(error.to_string()))?;
    report.agents = parts.iter().map(Part::to_report).collect();
    complete_merged(&mut report, &settings, runner.target(), labels);
    report
        .settings
        .insert("agents".to_owned(), agents.to_string().into());
    report.command += &format!(" --agents={agents}");
    warn_of_lost_agents(&mut report);
    Ok(report)
}

/// What an agent has answered, or why it has not.
struct Part {
    address: String,
    report: Result<Report, String>,
}

impl Part {
    fn to_report(&self) -> AgentReport {
        let report = self.report.as_ref();
        AgentReport {
            address: self.address.clone(),
            completed: report.map_or(0, |of| of.completed),
            failed: report.map_or(0, Report::failed_ops),
            elapsed_seconds: report.map_or(0.0, |of| of.elapsed_seconds),
            lost: report.err().cloned(),
        }
    }
}

fn warn_of_lost_agents(report: &mut Report) {
    let lost = report.agents.iter().filter_map(|agent| {
        let why = agent.lost.as_ref()?;
        Some(format!(
            "an agent has no report, and its operations are in no count: {why}"
        ))
    });
    let lost: Vec<_> = lost.collect();
    report.warnings.extend(lost);
}

/// Returns the token of `--token`, which no command has.
fn bearer(settings: &Settings) -> Option<&str> {
    let mut headers = settings.metadata.iter();
    let (_, value) = headers.find(|(name, _)| name == TOKEN_METADATA)?;
    value.strip_prefix("Bearer ")
}

/// Makes each agent do its share of the command. Returns what they have answered; at least one has a report. `token` is for
/// agents that are started here; others have their own.
fn lead(agents: &Agents, command: &str, token: Option<&str>) -> Result<Vec<Part>, RunError> {
    let failed = RunError::Failed;
    let mut started = LocalAgents(Vec::new());
    let addresses = match agents {
        Agents::At(addresses) => addresses.clone(),
        Agents::Local(count) => (0..*count)
            .map(|_| started.start(token))
            .collect::<Result<_, _>>()
            .map_err(failed)?,
    };
    let mut led = Led::prepare(addresses, command).map_err(failed)?;
    led.until_ready()?;
    led.start().map_err(failed)?;
    let parts = led.reports();
    match parts.iter().find_map(|part| part.report.as_ref().err()) {
        Some(error) if parts.iter().all(|part| part.report.is_err()) => Err(failed(error.clone())),
        _ => Ok(parts),
    }
}

/// An answer of an agent: its number, and the answer.
type Answer = (usize, Result<Option<FromAgent>, String>);

/// Agents that are connected. A thread for each waits for its answers, so that one that is silent holds up no other, and a
/// signal is seen at once.
struct Led {
    senders: Vec<JsonLines>,
    answers: mpsc::Receiver<Answer>,
}

impl Led {
    /// Connects to the agents, and makes them connect to the server.
    fn prepare(addresses: Vec<String>, command: &str) -> Result<Self, String> {
        let count = addresses.len();
        // Each agent gives two answers.
        let (answer, answers) = mpsc::sync_channel(2 * count);
        let mut senders = Vec::with_capacity(count);
        for (index, address) in addresses.into_iter().enumerate() {
            let mut agent = connect(address)?;
            agent.send(&ToAgent::Prepare {
                protocol: PROTOCOL.to_owned(),
                command: format!("{command} --part={index}/{count}"),
            })?;
            senders.push(agent.sender()?);
            let answer = answer.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let received = agent.recv();
                    let is_last = !matches!(received, Ok(Some(FromAgent::Ready)));
                    if answer.send((index, received)).is_err() || is_last {
                        return;
                    }
                }
            });
        }
        Ok(Self { senders, answers })
    }

    fn until_ready(&self) -> Result<(), RunError> {
        let until = Instant::now() + READY_TIMEOUT;
        let mut waiting = self.senders.len();
        while waiting > 0 {
            signals::check()?;
            match self.answers.recv_timeout(POLL_INTERVAL) {
                Ok((_, Ok(Some(FromAgent::Ready)))) => waiting -= 1,
                Ok((index, other)) => return Err(RunError::Failed(self.why_not(index, other))),
                Err(_) if Instant::now() >= until => {
                    let seconds = READY_TIMEOUT.as_secs();
                    return Err(RunError::Failed(format!(
                        "{waiting} of {} agents were not ready within {seconds} s",
                        self.senders.len()
                    )));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        self.senders
            .iter_mut()
            .try_for_each(|agent| agent.send(&ToAgent::Start))
    }

    /// Waits for the reports. A signal makes the agents end the run, and report what they have.
    fn reports(mut self) -> Vec<Part> {
        let mut reports: Vec<Option<Result<Report, String>>> = Vec::new();
        reports.resize_with(self.senders.len(), || None);
        let mut is_stopped = false;
        while reports.iter().any(Option::is_none) {
            if signals::caught().is_some() && !is_stopped {
                is_stopped = true;
                for agent in &mut self.senders {
                    // An agent that is gone has stopped.
                    let _ = agent.send(&ToAgent::Stop);
                }
            }
            if let Ok((index, answer)) = self.answers.recv_timeout(POLL_INTERVAL) {
                reports[index] = Some(match answer {
                    Ok(Some(FromAgent::Report(report))) => Ok(*report),
                    other => Err(self.why_not(index, other)),
                });
            }
        }
        let parts = self.senders.into_iter().zip(reports);
        parts
            .map(|(agent, report)| Part {
                address: agent.peer,
                report: report.expect("every agent has answered"),
            })
            .collect()
    }

    /// Says why an answer does not go on with the run.
    fn why_not(&self, index: usize, answer: Result<Option<FromAgent>, String>) -> String {
        match answer {
            Ok(message) => failure(&self.senders[index].peer, message),
            Err(error) => error,
        }
    }
}

/// Returns the error for a message that does not go on with the run.
fn failure(agent: &str, message: Option<FromAgent>) -> String {
    let why = match message {
        Some(FromAgent::Failed(why)) => why,
        Some(FromAgent::Ready | FromAgent::Report(_)) => {
            "the agent sent an unexpected message".to_owned()
        }
        None => "the agent has gone away".to_owned(),
    };
    format!("{agent}: {why}")
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
    fn start(&mut self, token: Option<&str>) -> Result<String, String> {
        let context = |error: io::Error| format!("cannot start an agent: {error}");
        let program = std::env::current_exe().map_err(context)?;
        let mut child = Command::new(program)
            .args(["agent", "--listen", "127.0.0.1:0", "--once"])
            .envs(token.map(|token| ("SOLOIST_TOKEN", token)))
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
