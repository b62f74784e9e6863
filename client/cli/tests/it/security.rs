//! TLS, tokens and rights.

use std::fs;

use rcgen::generate_simple_self_signed;
use soloist_server::access::Token;
use soloist_server::config::Config;

use crate::support::{Done, Shell, soloist};

#[test]
fn certificates_tokens_and_rights() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("server.pem"), made.cert.pem()).unwrap();
    fs::write(path("server.key"), made.signing_key.serialize_pem()).unwrap();
    let token = Token::random();
    fs::write(path("token"), token.secret()).unwrap();
    let access = format!(
        "[identities.anna]\ntokens = ['{}']\nroles = ['some']\n[roles.some]\nwrite = ['some/*']\n",
        token.hash()
    );
    fs::write(path("access.toml"), access).unwrap();
    let mut config = Config::default();
    config.tls.cert = Some(path("server.pem"));
    config.tls.key = Some(path("server.key"));
    config.access.file = Some(path("access.toml"));
    let shell = Shell::with(&config);
    let port = shell.address().rsplit(':').next().unwrap().to_owned();
    let run = |server: &str, words: &[&str], variables: &[(&str, &str)]| -> Done {
        let mut command = soloist(&format!("{server}:{port}"), words);
        for (name, file) in variables {
            command.env(name, path(file));
        }
        command.output().unwrap().into()
    };
    let ca = ("SOLOIST_CLIENT_TLS_CA", "server.pem");
    let credentials = ("SOLOIST_CLIENT_TOKEN_FILE", "token");

    let put = ["put", "some/key", "x"];
    let done = run("https://localhost", &put, &[ca, credentials]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "created at revision 1\n"),
        "{done:?}"
    );
    for (server, words, variables, code, part) in [
        (
            "https://localhost",
            &put,
            &[ca][..],
            4,
            "show who you are: --token-file",
        ),
        (
            "https://localhost",
            &["put", "k", "x"],
            &[ca, credentials],
            4,
            "NOT_PERMITTED",
        ),
        ("https://localhost", &put, &[credentials], 5, "certificate"),
        (
            "https://127.0.0.1",
            &put,
            &[ca, credentials],
            5,
            "certificate",
        ),
        ("http://localhost", &put, &[credentials], 5, "TLS"),
        (
            "http://localhost",
            &put,
            &[ca],
            2,
            "--tls-ca is set, which is for TLS",
        ),
    ] {
        let done = run(server, words, variables);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.err.contains(part), "{part} in {done:?}");
        assert!(!done.err.contains(token.secret()), "{done:?}");
    }
    // Everybody may ask for this.
    assert_eq!(run("https://localhost", &["health"], &[ca]).code, 0);
}
