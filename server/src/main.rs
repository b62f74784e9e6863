//! `soloist-server`: configure, bind, serve, drain, exit.

mod arguments;
mod bar;
mod listen;
mod logging;
mod settings;
mod supervisor;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::arguments::{Arguments, ConfigArgs, Instead, ServeArgs, program};
use crate::bar::Shown;
use crate::listen::{Place, warn_of_exposure};
use crate::logging::{Log, SetFilter};
use crate::settings::Settings;
use crate::supervisor::Supervisor;
use mimalloc::MiMalloc;
use soloist_server::commands::{self, Command, Damaged, Unfinished};
use soloist_server::config::Config;
use soloist_server::progress::Progress;
use soloist_server::{
    Drain, ListenAddress, Node, OpenError, OwnerLost, Reload, Roles, Server, Store,
};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// mimalloc is made for what the server does: small allocations of many sizes on a few threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let (settings, arguments) = match Settings::read(std::env::args_os()) {
        Ok(read) => read,
        Err(error) => error.exit(),
    };
    let Arguments { command, serve } = arguments;
    let (log_filter, log_format) = (serve.log.clone(), serve.log_format);
    let places = match &command {
        None => find_places(&serve).map(Some),
        Some(_) => Ok(None),
    };
    let places = match places {
        Ok(places) => places,
        Err(error) => settings.refusal(&error).exit(),
    };
    let (log, set_filter) = match Log::start(log_filter, log_format) {
        Ok(started) => started,
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "soloist-server: cannot start the thread that writes the log: {error}"
            );
            return ExitCode::FAILURE;
        }
    };
    let result = match (&command, places) {
        (None, Some(places)) => {
            let hangup = Hangup {
                settings,
                set_filter,
            };
            start(places, &serve.config, hangup, &log)
        }
        (Some(Instead::Data(command)), _) => run(command, &log),
        (Some(Instead::Config(args)), _) => print(args, &settings, &mut io::stdout().lock()),
        (Some(Instead::Man(args)), _) => program()
            .man(args, &mut io::stdout().lock())
            .map_err(Into::into),
        (Some(Instead::Completions(args)), _) => program()
            .completions(args, &mut io::stdout().lock())
            .map_err(Into::into),
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

/// Prints what holds, or that it has passed all checks.
fn print(
    args: &ConfigArgs,
    settings: &Settings,
    out: &mut dyn io::Write,
) -> Result<(), Box<dyn Error>> {
    match &args.check {
        Some(file) => writeln!(out, "{}: a server would take it", file.display())?,
        None => out.write_all(settings.print().as_bytes())?,
    }
    Ok(())
}

/// The exit code for an error: whoever restarts servers must tell from it whether a restart can help.
fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let is_about_data = error
        .downcast_ref::<OpenError>()
        .is_some_and(OpenError::is_about_data);
    let node_is_about_data = match error.downcast_ref::<OwnerLost>() {
        Some(OwnerLost::Node(lost)) => lost.is_about_data(),
        _ => false,
    };
    if is_about_data || node_is_about_data || error.is::<Damaged>() {
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
fn find_places(args: &ServeArgs) -> Result<Places, String> {
    let tls = &args.config.tls;
    let grpc = Place::new(supervisor::take_socket()?, args.listen.clone());
    grpc.check(tls)?;
    if let Some(http) = &args.http_listen {
        http.check_http(tls)?;
    }
    let http = args.http_listen.clone().map(Place::Named);
    Ok(Places { grpc, http })
}

fn start(places: Places, config: &Config, hangup: Hangup, log: &Log) -> Result<(), Box<dyn Error>> {
    let progress = Progress::default();
    let supervisor = Supervisor::start(progress.clone(), config)?;
    let http = places.http.map(Place::bind).transpose()?;
    let (http, _http_path) = http.unzip();
    // Probes are answered from here on, while the store is opened.
    let prepared = Server::prepare(config, http)?;
    prepared.show_log_lines_dropped(log.dropped());
    prepared.show_opening(progress.clone());
    let (server, _path, _shown) = match config.cluster.is_on() {
        true => {
            // For as long as it runs: a standby that has fallen far behind reads the store again.
            let shown = Shown::start(progress.clone(), log.clone())?;
            // Clients are answered from here on, by whoever owns the store.
            let (listener, path) = places.grpc.bind()?;
            let node = Node::begin(config, &progress)?;
            (prepared.stand_by(listener, node)?, path, Some(shown))
        }
        false => {
            let store = open(config, &progress, log)?;
            let (listener, path) = match places.grpc.bind() {
                Ok(bound) => bound,
                Err(error) => {
                    store.close();
                    return Err(error.into());
                }
            };
            (prepared.serve(listener, store)?, path, None)
        }
    };
    handle_signals(
        server.drain_handle(),
        server.reload_handle(),
        hangup,
        supervisor.clone(),
        log.clone(),
    )?;
    warn_of_exposure(server.local_addr(), config);
    say_what_is_served(&server, config);
    supervisor.serving(
        format!("serving on {}", server.local_addr()),
        server.pulse(),
    );
    if let Some(roles) = server.roles().filter(|_| supervisor.is_there()) {
        tell_roles(roles, server.local_addr(), supervisor)?;
    }
    let http = server.http_addr();
    let http = http.map(|http| format!("\nlistening for HTTP on {http}"));
    logging::announce(format!(
        "listening on {}{}",
        server.local_addr(),
        http.unwrap_or_default()
    ))?;
    server.wait()?;
    Ok(())
}

/// Logs what is served, and how safe it is.
fn say_what_is_served(server: &Server, config: &Config) {
    let address = server.local_addr();
    match (&config.storage.data_dir, &config.cluster.cluster) {
        (_, Some(cluster)) => {
            let node = config.cluster.node.as_ref();
            let node = node.map(ToString::to_string);
            info!(%address, %cluster, node, "listening as a node of a cluster");
        }
        (None, None) => {
            info!(%address, "serving, in memory only: the state is lost when this process ends")
        }
        (Some(path), None) => {
            let durability = config.storage.durability;
            info!(%address, data_dir = %path.display(), %durability, "serving: {}", durability.loss_window());
        }
    }
}

/// Tells the supervisor what the node is, whenever that changes.
fn tell_roles(mut roles: Roles, address: &ListenAddress, supervisor: Supervisor) -> io::Result<()> {
    let address = address.to_string();
    let runtime = runtime::Builder::new_current_thread().build()?;
    std::thread::Builder::new()
        .name("roles".into())
        .spawn(move || {
            while let Some(role) = runtime.block_on(roles.next()) {
                supervisor.status(format!("{role}; listening on {address}"));
            }
        })?;
    Ok(())
}

/// What SIGHUP reloads besides certificates and the access file.
struct Hangup {
    settings: Settings,
    set_filter: SetFilter,
}

impl Hangup {
    /// # Errors
    /// Why a file cannot be used. The log has it.
    fn reload(&mut self, reload: &Reload) -> Result<(), String> {
        let settings = self.settings.reload(&self.set_filter);
        let files = reload.now();
        if files.is_none() && settings.is_none() {
            warn!(
                "ignoring SIGHUP: this server has no certificates, no access file and no --config to reload; SIGTERM shuts it down"
            );
        }
        settings.unwrap_or(Ok(()))?;
        files.unwrap_or(Ok(false)).map(drop)
    }
}

/// Waits for signals on a thread of its own, so that they are handled even if all other threads are busy.
fn handle_signals(
    drain: Drain,
    reload: Reload,
    mut on_hangup: Hangup,
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
                            supervisor.reloaded(on_hangup.reload(&reload).err());
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
