//! A standby and an owner that speak TLS with each other. The caller's token travels with a call that is sent on; the caller's
//! certificate does not, and that of the standby must not stand for it.

use std::sync::Arc;

use soloist::v1::state_client::StateClient;
use soloist_server::access::Token;
use soloist_server::config::{ClientAuth, Config};
use tonic::{Code, Request, Status};

use super::{Identity, Setup, channel, connect};
use crate::support::{TestServer, assert_refused, int, write};

impl Setup {
    /// A standby that shows the same certificate as the owner.
    fn standby(&self, owner: &TestServer, change: impl FnOnce(&mut Config)) -> TestServer {
        let owner = format!("localhost:{}", owner.addr().port());
        TestServer::standby(Some(&owner), |config| {
            config.tls.cert = Some(self.files.path("cert.pem"));
            config.tls.key = Some(self.files.path("key.pem"));
            config.tls.client_ca = Some(self.files.path("ca.pem"));
            change(config);
        })
    }

    async fn write(
        &self,
        server: &TestServer,
        identity: Option<&Identity>,
        token: Option<&Token>,
    ) -> Result<(), Status> {
        let config = Arc::new(self.client().config(identity));
        let stream = connect(server, config).await.unwrap();
        let mut call = Request::new(write("k", int(1)));
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.secret());
            let metadata = call.metadata_mut();
            metadata.insert("authorization", bearer.parse().unwrap());
        }
        let mut state = StateClient::new(channel(stream).await.unwrap());
        state.write(call).await.map(drop)
    }
}

#[tokio::test]
async fn a_standby_shows_the_owner_its_own_certificate() {
    let setup = Setup::new();
    let owner = setup.mutual(|_| ());
    let standby = setup.standby(&owner, |_| ());
    let client = setup.authority.issue("client");
    setup.write(&standby, Some(&client), None).await.unwrap();
}

#[tokio::test]
async fn an_owner_that_the_standby_does_not_trust_is_sent_nothing() {
    let setup = Setup::new();
    let owner = setup.mutual(|_| ());
    let other = Setup::new();
    let standby = other.standby(&owner, |_| ());
    let client = other.authority.issue("client");
    let refused = other.write(&standby, Some(&client), None).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_certificate_of_a_node_is_not_that_of_the_caller() {
    let setup = Setup::new();
    let token = Token::random();
    let hash = token.hash();
    let access = format!(
        "[identities.node]\ncertificates = ['dns:localhost']\nroles = ['all']\n\
         [identities.client]\ncertificates = ['dns:client']\ntokens = ['{hash}']\nroles = ['all']\n\
         [roles.all]\nwrite = ['*']\n"
    );
    let access = setup.files.write("access.toml", &access);
    let with_access = |config: &mut Config| {
        config.access.file = Some(access.clone());
        config.tls.client_auth = ClientAuth::Optional;
    };
    let owner = setup.mutual(with_access);
    let standby = setup.standby(&owner, with_access);
    let client = setup.authority.issue("client");

    // At the owner a certificate is enough.
    setup.write(&owner, Some(&client), None).await.unwrap();
    let refused = setup.write(&standby, Some(&client), None).await;
    let refused = refused.unwrap_err();
    let address = format!("localhost:{}", owner.addr().port());
    let metadata = [("owner", &*address), ("owner_node", "a"), ("epoch", "1")];
    assert_refused(&refused, Code::Unavailable, "NOT_OWNER", &metadata);

    // Nobody must become the node.
    let refused = setup.write(&standby, None, None).await.unwrap_err();
    let (code, reason) = (Code::Unauthenticated, "CREDENTIALS_MISSING");
    assert_refused(&refused, code, reason, &[]);

    for identity in [None, Some(&client)] {
        setup.write(&standby, identity, Some(&token)).await.unwrap();
    }
}
