//! `soloist-server`: configure, bind, serve, drain, exit.

mod bar;
mod listen;
mod logging;
mod supervisor;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::bar::Shown;
use crate::listen::{Listen, Place, warn_of_exposure};
use crate::logging::{Log, LogFormat};
use crate::supervisor::Supervisor;
use clap::Parser;
use mimalloc::MiMalloc;
use soloist_server::commands::{self, Command, Damaged, Unfinished};
use soloist_server::config::Config;
use soloist_server::progress::Progress;
use soloist_server::{Drain, OpenError, Reload, Server, Store};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// mimalloc is made for what the server does: small allocations of many sizes on a few threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A gRPC state server whose whole state is owned by one task.
///
/// Prints "listening on ADDRESS" to standard output when it is ready, then "listening for HTTP on ADDRESS" if it does, and logs to standard error. SIGINT or SIGTERM
/// shuts it down in order; a second signal stops it at once. SIGHUP makes it read its certificates and its access file
/// again.
/// Flags in BYTES take units, too: 64KiB, 512MiB, 1GiB, 64kB. Exit codes: 0 after a shutdown in order, 1 if the server
/// cannot start or loses its state, 2 if an argument is invalid, 3 if data is missing or damaged, so that a restart is in
/// vain until somebody has looked at it, 130 or 143 after a second signal.
#[derive(Parser)]
#[command(
    name = "soloist-server",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address, or name of this host, and port to listen on; or unix:PATH. Port 0: any free port. A socket that systemd passes
    /// is used instead.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "SOLOIST_LISTEN",
        default_value = "127.0.0.1:50051"
    )]
    listen: Listen,
    /// Address and port, or unix:PATH, on which operators and their tools are answered by HTTP: /livez and /readyz for probes,
    /// /metrics for Prometheus. With TLS by the same certificates as --listen, but without asking for those of clients. Off by
    /// default.
    #[arg(long, value_name = "HOST:PORT", env = "SOLOIST_HTTP_LISTEN")]
    http_listen: Option<Listen>,
    /// Format of the logs.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SOLOIST_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// What to log: off, error, warn, info, debug or trace. Or several of TARGET=LEVEL with commas between, such as
    /// info,soloist_server=debug; whatever they do not name is logged from "warn" on.
    #[arg(
        long,
        value_name = "FILTER",
        env = "SOLOIST_LOG",
        default_value = "info",
        value_parser = logging::filter
    )]
    log: EnvFilter,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let checked = args.config.validate().map_err(|error| error.to_string());
    let checked = checked.and_then(|()| match args.command {
        None => find_places(args.listen, args.http_listen, &args.config).map(Some),
        Some(_) => Ok(None),
    });
    let places = match checked {
        Ok(places) => places,
        Err(error) => clap::Error::raw(
            clap::error::ErrorKind::ValueValidation,
            format!("{error}\n"),
        )
        .exit(),
    };
    let log = match Log::start(args.log, args.log_format) {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "soloist-server: cannot start the thread that writes the log: {error}"
            );
            return ExitCode::FAILURE;
        }
    };
    let result = match (&args.command, places) {
        (None, Some(places)) => serve(places, &args.config, &log),
        (Some(command), _) => run(command, &log),
        (None, None) => unreachable!("a server has a place to listen"),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Printed even if logging is off.
            log.line(&format!("soloist-server: {error}"));
            exit_code(&*error)
        }
    };
    log.flush();
    code
}

/// The exit code for an error: whoever restarts servers must tell from it whether a restart can help.
fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let is_about_data = error
        .downcast_ref::<OpenError>()
        .is_some_and(OpenError::is_about_data);
    if is_about_data || error.is::<Damaged>() {
        ExitCode::from(3)
    } else if error.is::<Unfinished>() {
        ExitCode::from(4)
    } else {
        ExitCode::FAILURE
    }
}

/// Where to listen for clients, and for operators.
struct Places {
    grpc: Place,
    http: Option<Place>,
}

/// Runs a subcommand, and shows how far it is.
fn run(command: &Command, log: &Log) -> Result<(), Box<dyn Error>> {
    let progress = Progress::default();
    let _shown = match command.is_quiet() {
        true => None,
        false => Some(Shown::start(progress.clone(), log.clone())?),
    };
    commands::run(command, &progress, &mut io::stdout().lock())
}

/// Opens the store, and shows how far that is.
fn open(config: &Config, progress: &Progress, log: &Log) -> Result<Store, Box<dyn Error>> {
    let _shown = Shown::start(progress.clone(), log.clone())?;
    Ok(Store::open_watched(config, progress)?)
}

/// Finds where to listen, and checks that the server may do so.
fn find_places(listen: Listen, http: Option<Listen>, config: &Config) -> Result<Places, String> {
    let grpc = Place::new(supervisor::take_socket()?, listen);
    grpc.check(&config.tls)?;
    if let Some(http) = &http {
        http.check_http(&config.tls)?;
    }
    let http = http.map(Place::Named);
    Ok(Places { grpc, http })
}

fn serve(places: Places, config: &Config, log: &Log) -> Result<(), Box<dyn Error>> {
    let progress = Progress::default();
    let supervisor = Supervisor::start(progress.clone(), config)?;
    let http = places.http.map(Place::bind).transpose()?;
    let (http, _http_path) = http.unzip();
    // Probes are answered from here on, while the store is opened.
    let prepared = Server::prepare(config, http)?;
    prepared.show_log_lines_dropped(log.dropped());
    let store = open(config, &progress, log)?;
    let (listener, _path) = match places.grpc.bind() {
        Ok(bound) => bound,
        Err(error) => {
            store.close();
            return Err(error.into());
        }
    };
    let server = prepared.serve(listener, store)?;
    handle_signals(
        server.drain_handle(),
        server.reload_handle(),
        supervisor.clone(),
        log.clone(),
    )?;
    let address = server.local_addr();
    warn_of_exposure(address, config);
    match &config.storage.data_dir {
        None => {
            info!(%address, "serving, in memory only: the state is lost when this process ends")
        }
        Some(path) => {
            let durability = config.storage.durability;
            info!(%address, data_dir = %path.display(), %durability, "serving: {}", durability.loss_window());
        }
    }
    supervisor.serving(format!("serving on {address}"), server.pulse());
    let http = server.http_addr();
    let http = http.map(|http| format!("\nlistening for HTTP on {http}"));
    logging::announce(format!(
        "listening on {address}{}",
        http.unwrap_or_default()
    ))?;
    server.wait()?;
    Ok(())
}

/// Waits for signals on a thread of its own, so that they are handled even if all other threads are busy.
fn handle_signals(
    drain: Drain,
    reload: Reload,
    supervisor: Supervisor,
    log: Log,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let mut is_draining = false;
                loop {
                    let code = tokio::select! {
                        _ = interrupt.recv() => 130,
                        _ = terminate.recv() => 143,
                        _ = hangup.recv() => {
                            supervisor.reloading();
                            let outcome = reload.now();
                            if outcome.is_none() {
                                warn!("ignoring SIGHUP: this server has no certificates and no access file to reload; SIGTERM shuts it down");
                            }
                            supervisor.reloaded(outcome.and_then(Result::err));
                            continue;
                        }
                    };
                    if !std::mem::replace(&mut is_draining, true) {
                        supervisor.stopping();
                        drain.begin();
                    } else {
                        warn!("second signal: stopping at once");
                        log.flush();
                        std::process::exit(code);
                    }
                }
            });
        })?;
    Ok(())
}
