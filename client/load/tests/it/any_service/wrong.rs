//! Calls that cannot be made: what is said, and the exit code.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::servers::{SERVERS, descriptor_set, python};
use super::{refusal, report};

#[test]
fn what_is_wrong_is_said_clearly() {
    let server = python("reflection");
    let plain = python("");
    let set = tempfile::NamedTempFile::new().unwrap();
    fs::write(set.path(), descriptor_set()).unwrap();
    let set = set.path().display().to_string();
    let feed = "zoo.v1.Keeper/Feed";
    let cases: [(&str, &str, &[&str], &[&str]); 12] = [
        (
            &plain.address,
            feed,
            &[],
            &[
                "has no server reflection",
                "--proto FILE",
                "--protoset FILE",
            ],
        ),
        (
            &server.address,
            "zoo.v1.Keeper/Fed",
            &[],
            &["zoo.v1.Keeper has no method Fed", "Chat, Collect, Feed"],
        ),
        (
            &server.address,
            "zoo.v1.Keper/Feed",
            &[],
            &["no service zoo.v1.Keper", "zoo.v1.Keeper"],
        ),
        (
            &plain.address,
            "zoo.v1.Keper/Feed",
            &["--protoset", &set],
            &["no service zoo.v1.Keper; there is zoo.v1.Keeper"],
        ),
        (&server.address, "Feed", &[], &["package.Service/Method"]),
        (
            &server.address,
            feed,
            &["-d", r#"{"parent":{"age":"x"}}"#],
            &["field parent.age"],
        ),
        (
            &server.address,
            feed,
            &["-d", r#"{"nome":"x"}"#],
            &["nome", "the fields are name, age"],
        ),
        (
            &server.address,
            feed,
            &["-d", r#"{"name":"{{who}}"}"#],
            &["{{who}}", "{{counter}}"],
        ),
        (
            &server.address,
            feed,
            &["--expect", "nome=x"],
            &["zoo.v1.Seen has no field nome; it has text"],
        ),
        (
            &server.address,
            feed,
            &["--proto", "/no/such.proto"],
            &["--proto /no/such.proto"],
        ),
        (&server.address, feed, &["--insecure"], &["--plaintext"]),
        (
            &server.address,
            feed,
            &["--keys", "5"],
            &["--keys with a method"],
        ),
    ];
    for (address, method, more, parts) in cases {
        let (code, error) = refusal(address, method, more);
        assert_eq!(code, Some(2), "{method} {more:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{method} {more:?}: {error}");
        }
    }
    assert_eq!(
        report(&plain.address, feed, &["--protoset", &set, "-n", "3"])["completed"],
        3
    );
    let proto = Path::new(SERVERS).join("zoo.proto").display().to_string();
    assert_eq!(
        report(&plain.address, feed, &["--proto", &proto, "-n", "3"])["completed"],
        3
    );
    assert_eq!(
        report(
            &plain.address,
            feed,
            &["--proto", "zoo.proto", "-I", SERVERS, "-n", "3"]
        )["completed"],
        3
    );

    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (code, error) = refusal(&gone, feed, &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot reach"), "{error}");
}
