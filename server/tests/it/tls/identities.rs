//! Callers that are known by their certificates.

use rcgen::SanType;
use soloist_server::access::Token;
use tonic::Code;

use super::{Identity, Setup, channel, connect};
use crate::support::{int, write};
use soloist::v1::state_client::StateClient;
use soloist_server::config::ClientAuth;
use std::sync::Arc;

#[tokio::test]
async fn a_caller_is_known_by_a_name_of_its_certificate_or_by_its_token() {
    let setup = Setup::new();
    let token = Token::random();
    let mut access = String::new();
    for (name, shows) in [
        (
            "uri",
            "certificates = ['uri:spiffe://prod/billing']".to_owned(),
        ),
        ("dns", "certificates = ['dns:Billing.pay.svc']".to_owned()),
        ("cn", "certificates = ['cn:billing']".to_owned()),
        ("token", format!("tokens = ['{}']", token.hash())),
    ] {
        access += &format!(
            "[identities.{name}]\n{shows}\nroles = ['{name}']\n[roles.{name}]\nwrite = ['{name}']\n"
        );
    }
    let access = setup.files.write("access.toml", &access);
    let server = setup.mutual(|config| {
        config.access.file = Some(access);
        config.tls.client_auth = ClientAuth::Optional;
    });
    let client = setup.client();
    let named = |uri: Option<&str>, dns: Option<&str>, cn: &str| {
        setup.authority.issue_with("host", |params| {
            let uri = uri.map(|uri| SanType::URI(uri.try_into().unwrap()));
            let dns = dns.map(|dns| SanType::DnsName(dns.try_into().unwrap()));
            params.subject_alt_names = uri.into_iter().chain(dns).collect();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, cn);
        })
    };
    let call = async |identity: Option<&Identity>, token: Option<&Token>, key: &str| {
        let config = Arc::new(client.config(identity));
        let stream = connect(&server, config).await.unwrap();
        let mut call = tonic::Request::new(write(key, int(1)));
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.secret());
            call.metadata_mut()
                .insert("authorization", bearer.parse().unwrap());
        }
        let mut state = StateClient::new(channel(stream).await.unwrap());
        state
            .write(call)
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let all = named(
        Some("spiffe://prod/billing"),
        Some("billing.pay.svc"),
        "billing",
    );
    let dns = named(Some("spiffe://other"), Some("billing.pay.SVC"), "billing");
    let cn = named(None, None, "billing");
    let unknown = named(Some("spiffe://prod/billing2"), None, "billing2");
    for (identity, key) in [(&all, "uri"), (&dns, "dns"), (&cn, "cn")] {
        assert_eq!(call(Some(identity), None, key).await, Code::Ok, "{key}");
        assert_eq!(
            call(Some(identity), None, "other").await,
            Code::PermissionDenied,
            "{key}"
        );
        // A token says more than the certificate of the connection.
        assert_eq!(call(Some(identity), Some(&token), "token").await, Code::Ok);
        assert_eq!(
            call(Some(identity), Some(&token), key).await,
            Code::PermissionDenied
        );
        assert_eq!(
            call(Some(identity), Some(&Token::random()), key).await,
            Code::Unauthenticated
        );
    }
    assert_eq!(
        call(Some(&unknown), None, "uri").await,
        Code::Unauthenticated
    );
    assert_eq!(call(None, None, "uri").await, Code::Unauthenticated);
    assert_eq!(call(None, Some(&token), "token").await, Code::Ok);
}
