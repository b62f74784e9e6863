//! The binary with a data directory.

mod backups;
mod directory;
mod inspect;
mod recovery;
mod verify;

use std::path::Path;
use std::time::Duration;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::process::{Process, command};
use crate::support::channel;

/// A server with a data directory of its own.
pub(crate) struct Durable {
    pub(crate) dir: TempDir,
    pub(crate) process: Process,
    args: Vec<String>,
}

impl Durable {
    pub(crate) async fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let process = Self::process(dir.path(), &args).await;
        Self { dir, process, args }
    }

    pub(crate) async fn process(dir: &Path, args: &[String]) -> Process {
        let mut all = vec!["--data-dir", dir.to_str().unwrap()];
        all.extend(args.iter().map(String::as_str));
        Process::start(&all).await
    }

    /// Kills the server, and starts it again.
    pub(crate) async fn killed(mut self) -> Self {
        self.process.child.kill().await.unwrap();
        let process = Self::process(self.dir.path(), &self.args).await;
        Self { process, ..self }
    }

    /// Shuts the server down in order, and starts it again.
    pub(crate) async fn restarted(mut self) -> Self {
        self.process.end().await;
        self.process = Self::process(self.dir.path(), &self.args).await;
        self
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.process.addr).await
    }

    pub(crate) async fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel().await)
    }

    pub(crate) async fn info(&self) -> Info {
        let mut admin = AdminClient::new(self.channel().await);
        admin
            .get_info(GetInfoRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

/// Runs the binary until it ends. Returns its exit code, its output and its log.
pub(crate) async fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).output();
    let output = tokio::time::timeout(Duration::from_secs(20), output).await;
    let output = output.expect("the command ends by itself").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}
