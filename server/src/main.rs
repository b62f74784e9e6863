//! `soloist-server`: configure, bind, serve, drain, exit.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use soloist_server::commands::{self, Command};
use soloist_server::config::Config;
use soloist_server::{Drain, Server, Store};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Small allocations of many sizes on few threads, which is what it is made for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A gRPC state server whose whole state is owned by one task.
///
/// Prints "listening on ADDRESS" on standard output when it is ready; logs go to standard error. SIGINT and SIGTERM
/// shut it down in order, a second one at once. Exits with 0 after that, with 1 if it cannot start or loses its
/// state, with 2 if the arguments are wrong.
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
    /// Address and port to listen on. Port 0: any free one.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "SOLOIST_LISTEN",
        default_value = "127.0.0.1:50051"
    )]
    listen: SocketAddr,
    /// How logs are written.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SOLOIST_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives such as soloist_server=debug.
    #[arg(
        long,
        value_name = "FILTER",
        env = "SOLOIST_LOG",
        default_value = "info"
    )]
    log: EnvFilter,
    #[command(flatten)]
    config: Config,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = args.config.validate() {
        clap::Error::raw(
            clap::error::ErrorKind::ValueValidation,
            format!("{error}\n"),
        )
        .exit();
    }
    log_to_stderr(args.log, args.log_format);
    let done = match &args.command {
        Some(command) => commands::run(command, &mut io::stdout().lock()),
        None => serve(args.listen, &args.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever the logs leave out, this is told.
            let _ = writeln!(io::stderr(), "soloist-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: SocketAddr, config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(config)?;
    let listener = match TcpListener::bind(listen) {
        Ok(listener) => listener,
        Err(error) => {
            store.close();
            return Err(format!("cannot listen on {listen}: {error}").into());
        }
    };
    let server = Server::serve(listener, config, store)?;
    drain_on_signal(server.drain_handle())?;
    let address = server.local_addr();
    match &config.storage.data_dir {
        None => info!(%address, "serving, in memory only: the state ends with this process"),
        Some(path) => {
            let durability = config.storage.durability;
            info!(%address, data_dir = %path.display(), %durability, "serving: {}", durability.loss_window());
        }
    }
    // Whoever started this may not read what it prints.
    let _ = writeln!(io::stdout(), "listening on {address}");
    server.wait()?;
    Ok(())
}

/// Waits for signals on a thread of its own, so that they are heard whatever the others do.
fn drain_on_signal(drain: Drain) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                for first in [true, false] {
                    let code = tokio::select! {
                        _ = interrupt.recv() => 130,
                        _ = terminate.recv() => 143,
                    };
                    if first {
                        drain.begin();
                    } else {
                        warn!("second signal: stopping at once");
                        std::process::exit(code);
                    }
                }
            });
        })?;
    Ok(())
}

fn log_to_stderr(filter: EnvFilter, format: LogFormat) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
