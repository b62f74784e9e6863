//! Access files, and clients that show their tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist_server::access::Token;
use soloist_server::config::Config;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::json::Caller;
use crate::support::TestServer;

/// An access file whose identities have a token and a role each.
pub(crate) struct AccessFile {
    directory: tempfile::TempDir,
    tokens: BTreeMap<&'static str, Token>,
}

impl AccessFile {
    /// `roles` has the name of each identity, and what its role says.
    pub(crate) fn new(roles: &[(&'static str, &str)]) -> Self {
        let tokens = roles.iter().map(|(name, _)| (*name, Token::random()));
        let file = Self {
            directory: tempfile::tempdir().unwrap(),
            tokens: tokens.collect(),
        };
        file.write(roles);
        file
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("access.toml")
    }

    /// Replaces the file. Identities keep their tokens.
    pub(crate) fn write(&self, roles: &[(&'static str, &str)]) {
        let mut text = String::new();
        for (name, role) in roles {
            let hash = self.tokens[name].hash();
            writeln!(
                text,
                "[identities.{name}]\ntokens = ['{hash}']\nroles = ['{name}']\n[roles.{name}]\n{role}"
            )
            .unwrap();
        }
        let unfinished = self.directory.path().join("new");
        fs::write(&unfinished, text).unwrap();
        fs::rename(&unfinished, self.path()).unwrap();
    }

    pub(crate) fn bearer(&self, name: &str) -> String {
        format!("Bearer {}", self.tokens[name].secret())
    }

    /// A server that looks at the file when it is told to.
    pub(crate) fn server(&self, change: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::with(|config| {
            config.access.file = Some(self.path());
            config.tls.reload_interval = Duration::from_secs(3600);
            change(config);
        })
    }

    pub(super) async fn state(&self, server: &TestServer, name: &str) -> State {
        let bearer = Bearer(self.bearer(name));
        StateClient::with_interceptor(server.channel().await, bearer)
    }

    pub(super) async fn admin(&self, server: &TestServer, name: &str) -> Admin {
        let bearer = Bearer(self.bearer(name));
        AdminClient::with_interceptor(server.channel().await, bearer)
    }

    pub(crate) async fn json(&self, server: &TestServer, name: &str) -> Caller {
        Caller::of(server).await.showing(&self.bearer(name))
    }
}

/// A client that shows a token.
pub(super) type State = StateClient<InterceptedService<Channel, Bearer>>;

pub(super) type Admin = AdminClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
pub(super) struct Bearer(pub(super) String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.parse().unwrap());
        Ok(request)
    }
}
