//! `soloist-server backup` of a server with TLS, and with an access file.

use soloist_server::access::Token;

use super::Setup;
use crate::durable::output;
use crate::support::TestServer;

#[tokio::test]
async fn a_backup_is_made_over_tls_with_a_certificate_and_a_token() {
    let setup = Setup::new();
    let token = Token::random();
    let access = format!(
        "[identities.keeper]\ntokens = ['{}']\nroles = ['keeper']\n[roles.keeper]\nadmin = true\n",
        token.hash()
    );
    let access = setup.files.write("access.toml", &access);
    let server = setup.mutual(|config| config.access.file = Some(access));
    let client = setup.authority.issue("keeper");
    setup.files.write("client.pem", &client.chain_pem);
    setup.files.write("client.key", &client.key_pem);
    setup.files.write("token", token.secret());

    let from = format!("https://localhost:{}", server.addr().port());
    let path = |name| setup.files.path(name).to_str().unwrap().to_owned();
    let to = path("backup");
    let mut args = vec!["backup", "--from", &from, "--to", &to];
    let flags = [
        ("--tls-ca", path("ca.pem"), "CA"),
        (
            "--tls-cert",
            path("client.pem"),
            "requires a certificate of the client",
        ),
        ("--token-file", path("token"), "Unauthenticated"),
    ];
    let key = path("client.key");
    for (flag, file, without) in &flags {
        let (code, _, error) = output(&args).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(without), "{without}: {error}");
        args.extend([*flag, file.as_str()]);
        if *flag == "--tls-cert" {
            args.extend(["--tls-key", key.as_str()]);
        }
    }
    let (code, printed, error) = output(&args).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(printed.contains("0 keys as of revision"), "{printed}");
}

/// The client library makes these messages, and the command says its own flags in them.
#[tokio::test]
async fn a_backup_says_what_is_wrong_with_its_flags() {
    let setup = Setup::new();
    let server = setup.server(|_| ());
    let plain = TestServer::start();
    let port = server.addr().port();
    let path = |name: &str| setup.files.path(name).to_str().unwrap().to_owned();
    let (to, missing, ca) = (path("backup"), path("missing"), path("ca.pem"));
    let https = format!("https://localhost:{port}");
    let http = format!("localhost:{port}");
    let to_plain = format!("https://localhost:{}", plain.addr().port());
    for (from, flags, says) in [
        (
            &https,
            &["--tls-ca", &missing][..],
            &[&format!("--tls-ca {missing}: No such file")[..]][..],
        ),
        (
            &https,
            &["--tls-ca", &ca, "--tls-cert", &ca, "--tls-key", &missing],
            &[&format!(
                "--tls-cert and --tls-key: {missing}: No such file"
            )],
        ),
        (
            &https,
            &["--tls-ca", &ca, "--token-file", &missing],
            &[&format!("--token-file {missing}: No such file")],
        ),
        (
            &https,
            &[],
            &["set the CA file", "--from https://localhost"],
        ),
        (
            &http,
            &[],
            &[
                "the server speaks TLS: use https://localhost",
                "--from localhost",
            ],
        ),
        (
            &to_plain,
            &["--tls-ca", &ca],
            &["does not speak TLS: use http://localhost"],
        ),
        (
            &http,
            &["--tls-ca", &ca],
            &["--tls-ca is set, which is for TLS"],
        ),
    ] {
        let args = [&["backup", "--from", from, "--to", &to], flags].concat();
        let (code, _, error) = output(&args).await;
        assert_eq!(code, Some(1), "{from} {flags:?}: {error}");
        for part in says {
            assert!(
                error.contains(part),
                "{from} {flags:?}: {error:?} lacks {part:?}"
            );
        }
    }
}
