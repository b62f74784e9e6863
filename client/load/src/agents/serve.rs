//! The agent: does its share of the runs of leaders.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

use crate::agents::protocol::{CONNECT_TIMEOUT, FromAgent, JsonLines, PROTOCOL, ToAgent};
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::plan::labels::Labels;
use crate::report::model::Report;
use crate::report::output;
use crate::run::barrier::Barrier;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::signals::{self, Interrupts};
use crate::run::view::NoView;

/// Serves leaders one after the other, or only the first one. Prints the address on which it listens.
///
/// # Errors
/// If it cannot listen. If it is to do one run, also if that run fails.
pub(crate) fn serve(listen: SocketAddr, runs: Runs) -> Result<(), RunError> {
    let failed = |error: io::Error| RunError::Failed(format!("cannot listen on {listen}: {error}"));
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    // From here on a signal ends a run with its report, instead of the process.
    Interrupts::new().map_err(failed)?;
    output::print(&format!("agent listening on {address}\n"))
        .map_err(|error| RunError::Failed(error.to_string()))?;
    loop {
        let (stream, peer) = signals::while_idle(|| listener.accept())?.map_err(failed)?;
        let served = JsonLines::new(stream, peer.to_string())
            .map_err(|error| error.to_string())
            .and_then(serve_one);
        signals::check()?;
        match (runs, served) {
            (Runs::One, served) => return served.map_err(RunError::Failed),
            (Runs::Many, Ok(())) => {}
            (Runs::Many, Err(error)) => {
                let _ = writeln!(io::stderr(), "error: {error}");
            }
        }
    }
}

/// How many runs an agent does before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    One,
    Many,
}

/// Does one run for the leader on the other side.
fn serve_one(mut leader: JsonLines) -> Result<(), String> {
    leader.set_timeout(Some(CONNECT_TIMEOUT))?;
    let command = match leader.recv()? {
        Some(ToAgent::Prepare { protocol, command }) if protocol == PROTOCOL => command,
        Some(ToAgent::Prepare { protocol, .. }) => {
            let why = format!("the protocol of this agent is {PROTOCOL}, not {protocol}");
            return leader.send(&FromAgent::Failed(why));
        }
        Some(ToAgent::Start | ToAgent::Stop) => {
            return leader.send(&FromAgent::Failed("nothing was prepared to start".into()));
        }
        None => return Ok(()),
    };
    leader.set_timeout(None)?;
    let (ready, is_ready) = oneshot::channel();
    let (start, go) = oneshot::channel();
    let (end, stop) = oneshot::channel();
    let barrier = Barrier { ready, go, stop };
    let mut sender = leader.sender()?;
    let working = thread::spawn(move || do_run(&command, barrier));
    if is_ready.blocking_recv().is_ok() {
        sender.send(&FromAgent::Ready)?;
        // Without a leader there is no run: dropping `start` cancels it.
        match leader.recv() {
            Ok(Some(ToAgent::Start)) => _ = start.send(()),
            _ => drop(start),
        }
        // A leader that is gone ends the run as well: nobody wants it any more. The thread ends with the connection.
        thread::spawn(move || {
            let _: Result<Option<ToAgent>, String> = leader.recv();
            let _ = end.send(SignalKind::terminate());
        });
    }
    let message = match working.join() {
        Ok(Ok(report)) => FromAgent::Report(Box::new(report)),
        Ok(Err(RunError::Arguments(error) | RunError::Failed(error))) => FromAgent::Failed(error),
        Ok(Err(RunError::Interrupted(_))) => {
            FromAgent::Failed("the agent was interrupted".to_owned())
        }
        Err(_) => FromAgent::Failed("the agent has panicked".to_owned()),
    };
    sender.send(&message)
}

fn do_run(command: &str, barrier: Barrier) -> Result<Report, RunError> {
    let args = parse_command(command).map_err(RunError::Arguments)?;
    let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
    let mut runner = Runner::open(args.address.as_deref(), &settings)?;
    let report = runner.run(settings, &Labels::default(), &mut NoView, Some(barrier))?;
    runner.close()?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_peer_that_is_no_leader_is_turned_away() {
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
            let served = serve_one(JsonLines::new(stream, peer.to_string()).unwrap());
            let answer = leader.join().unwrap();
            match part {
                "" => assert!(answer.contains("failed"), "{line}: {answer}"),
                part => assert!(served.unwrap_err().contains(part), "{line}"),
            }
        }
    }
}
