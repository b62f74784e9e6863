//! Many processes contend for one lock, while the server is killed and holders are paused past their ttl. The file that the lock
//! protects refuses older tokens, and everybody gets a turn.
//!
//! `SOLOIST_TEST_PROCESSES` and `SOLOIST_TEST_KILLS` make it longer.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::{Process, soloist};

/// The command that holds the lock: writes to the file twice, with the check that docs/cli.md shows before each. `$1` is the file,
/// `$2` the number of the process. What it tries is noted in another file, whether it is refused or not.
const HOLDER: &str = r#"
write() {
    exec 9>>"$1.guard"
    flock 9
    echo "$SOLOIST_LOCK_TOKEN $2" >>"$1.tried"
    [ "$SOLOIST_LOCK_TOKEN" -ge "$(cat "$1.token" 2>/dev/null || echo 0)" ] || exit 3
    echo "$SOLOIST_LOCK_TOKEN" >"$1.token"
    echo "$SOLOIST_LOCK_TOKEN $2" >>"$1"
    exec 9>&-
}
write "$1" "$2"
echo "$$"
[ "$3" = pause ] && kill -STOP $$
write "$1" "$2"
"#;

fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name);
    value.map_or(default, |value| value.parse().unwrap())
}

/// What holds the lock.
#[derive(Clone, Copy, Debug)]
enum Holder {
    CommandLine,
    Python,
    TypeScript,
}

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A program that `./test --tools` installs.
fn tool(name: &str) -> Command {
    let path = format!("{ROOT}/.tools/bin/{name}");
    let is_there = Path::new(&path).exists();
    assert!(is_there, "this test needs {path}: run ./test --tools once");
    let mut command = Command::new(path);
    command.current_dir(ROOT);
    command
}

impl Holder {
    fn command(self, address: &str, file: &str, number: &str, pause: &str) -> Command {
        let script = |name: &str, script: &str| {
            let mut command = tool(name);
            let stubs = Path::new(file).with_file_name("stubs");
            command
                .arg(format!("client/cli/tests/it/contention/{script}"))
                .args([address, file, number, HOLDER])
                .env("PYTHONPATH", format!("python/src:{}", stubs.display()));
            command
        };
        match self {
            Self::CommandLine => {
                let words = ["lock", "l", "--ttl", "2s", "--timeout", "60s", "--"];
                let command = ["sh", "-c", HOLDER, "sh", file, number, pause];
                soloist(address, &[&words[..], &command].concat())
            }
            Self::Python => script("python3", "holder.py"),
            Self::TypeScript => script("node", "holder.mjs"),
        }
    }
}

/// How one process comes to its turn.
fn take_turn(
    holder: Holder,
    address: &str,
    file: &Path,
    number: usize,
    paused: Option<&mpsc::SyncSender<Pause>>,
) {
    let mut is_paused = paused.is_some();
    loop {
        let pause = if is_paused { "pause" } else { "" };
        let (file, number) = (file.to_str().unwrap(), number.to_string());
        let mut child = holder.command(address, file, &number, pause);
        child
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        if let Some(paused) = paused.filter(|_| is_paused) {
            let soloist = Pid::from_raw(child.id().cast_signed());
            let mut line = String::new();
            let stdout = child.stdout.take().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
            // Without a line it was lost before it wrote.
            if let Ok(holder) = line.trim().parse() {
                is_paused = false;
                let _ = kill(soloist, Signal::SIGSTOP);
                let holder = Pid::from_raw(holder);
                paused.send(Pause { soloist, holder }).unwrap();
            }
        }
        let code = child.wait().unwrap().code();
        if code == Some(0) {
            return;
        }
        // Lost; or refused by the file, because it was paused.
        assert!(matches!(code, Some(75 | 3)), "{number}: {code:?}");
    }
}

/// A holder that is paused, with what holds its lock.
struct Pause {
    soloist: Pid,
    holder: Pid,
}

impl Pause {
    /// First its command goes on, which still believes in its lock, and then the holder of the lock.
    fn end(&self) {
        // It has said that it will stop, and a signal that comes earlier is lost.
        self.until_holder_is(&[") T ", ") Z "]);
        let _ = killpg(self.holder, Signal::SIGCONT);
        // Until it has tried to write. It is refused, and ends; so it is awaited by whoever is paused.
        self.until_holder_is(&[") Z "]);
        let _ = kill(self.soloist, Signal::SIGCONT);
    }

    /// Waits until the command is in one of these states of /proc/PID/stat, or gone.
    fn until_holder_is(&self, states: &[&str]) {
        let stat = format!("/proc/{}/stat", self.holder);
        let is_other = |stat: String| !states.iter().any(|state| stat.contains(state));
        while std::fs::read_to_string(&stat).is_ok_and(is_other) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Counts a turn when it is over, also by a panic: otherwise the others would wait for ever.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn writes(file: &Path) -> Vec<(i64, usize)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let (token, number) = line.split_once(' ').unwrap();
        (token.parse().unwrap(), number.parse().unwrap())
    });
    lines.collect()
}

/// Lets holders contend for the lock while the server is killed. Returns what the file has taken.
fn contend(
    holders: &[Holder],
    kills: usize,
    pauses: usize,
    server: &mut Process,
    file: &Path,
) -> Vec<(i64, usize)> {
    let processes = holders.len();
    let address = server.address();
    let (paused, is_paused) = mpsc::sync_channel(processes);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (number, &holder) in holders.iter().enumerate() {
            let (address, done) = (&address, &done);
            let is_chosen = pauses > 0 && number % processes.div_ceil(pauses) == 0;
            let paused = is_chosen.then(|| paused.clone());
            scope.spawn(move || {
                let _turn = Turn(done);
                take_turn(holder, address, file, number, paused.as_ref());
            });
        }
        drop(paused);
        scope.spawn(|| {
            for pause in is_paused {
                // Somebody else has had the lock since, if anybody else is left: its session has ended.
                let count = writes(file).len();
                while writes(file).len() == count
                    && done.load(Ordering::SeqCst) + pauses < processes
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                pause.end();
            }
        });
        for kill in 1..=kills {
            while done.load(Ordering::SeqCst) < kill * processes / (kills + 1) {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            server.start_again();
        }
    });
    let written = writes(file);
    assert!(written.is_sorted_by_key(|(token, _)| *token), "{written:?}");
    for number in 0..processes {
        assert!(
            written.iter().any(|(_, by)| *by == number),
            "{number} in {written:?}"
        );
    }
    written
}

#[test]
fn everybody_gets_a_turn_and_no_older_holder_writes() {
    let processes = number("SOLOIST_TEST_PROCESSES", 12);
    let kills = number("SOLOIST_TEST_KILLS", 3);
    let mut server = Process::start();
    server.until_serving();
    let file = server.directory().join("protected");
    let holders = vec![Holder::CommandLine; processes];
    let written = contend(&holders, kills, (processes / 10).max(2), &mut server, &file);
    // The check was needed: paused holders have tried.
    let tried = writes(&file.with_extension("tried"));
    let late = tried.len() - written.len();
    println!(
        "{processes} processes, {kills} kills: {} writes, {late} late ones tried",
        written.len()
    );
    assert!(late > 0, "{tried:?}");
}

#[test]
fn clients_in_several_languages_share_a_lock() {
    use Holder::{CommandLine, Python, TypeScript};
    let mut server = Process::start();
    server.until_serving();
    let file = server.directory().join("protected");
    // What the package would bring by its dependencies.
    let stubs = server.directory().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let made = tool("python3")
        .args(["-m", "grpc_tools.protoc", "-Iproto"])
        .arg(format!("--python_out={}", stubs.display()))
        .args(["google/rpc/status.proto", "google/rpc/error_details.proto"])
        .status();
    assert!(made.unwrap().success());
    let holders = [CommandLine, Python, TypeScript].repeat(number("SOLOIST_TEST_PROCESSES", 9) / 3);
    contend(
        &holders,
        number("SOLOIST_TEST_KILLS", 2),
        0,
        &mut server,
        &file,
    );
}
