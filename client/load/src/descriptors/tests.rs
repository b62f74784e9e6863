use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use prost_reflect::MethodDescriptor;
use soloist_server::Server;
use tokio::runtime::Runtime;

use super::*;
use crate::connect::destination::Destination;
use crate::plan::security::Security;

fn plan(method: &str, proto: &[PathBuf]) -> CallPlan {
    CallPlan {
        method: method.to_owned(),
        data: Vec::new(),
        proto: proto.to_vec(),
        import_path: Vec::new(),
        protoset: None,
        expect_code: Vec::new(),
        expect: Vec::new(),
        stream_messages: None,
    }
}

fn found(plan: &CallPlan, address: &str) -> Result<MethodDescriptor, String> {
    let destination = Destination::new(address, &Security::default()).unwrap();
    let origin = Origin {
        destination: &destination,
        metadata: &[("x-a".to_owned(), "b".to_owned())],
        timeout: Duration::from_secs(5),
    };
    let found = Runtime::new().unwrap().block_on(method(plan, origin));
    found.map_err(|error| match error {
        NoDescriptor::Arguments(error) | NoDescriptor::Unreachable(error) => error,
    })
}

#[test]
fn a_method_is_found_by_both_of_its_spellings() {
    for text in ["a.b.C/D", "/a.b.C/D", "a.b.C.D"] {
        let name = MethodName::parse(text).unwrap();
        assert_eq!(name, MethodName::parse("a.b.C/D").unwrap(), "{text}");
    }
    for text in ["", "a", "/", "a/", "a/b/c"] {
        let error = MethodName::parse(text).unwrap_err();
        assert!(error.contains("package.Service/Method"), "{text}: {error}");
    }
}

#[test]
fn a_server_describes_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, &Default::default()).unwrap();
    let address = server.local_addr().to_string();
    for (method, input) in [
        ("soloist.v1.State/Write", "soloist.v1.WriteRequest"),
        (
            "grpc.health.v1.Health.Check",
            "grpc.health.v1.HealthCheckRequest",
        ),
    ] {
        let method = found(&plan(method, &[]), &address).unwrap();
        assert_eq!(method.input().full_name(), input);
    }
    for (method, parts) in [
        ("soloist.v1.State/Wryte", ["has no method Wryte", "Write"]),
        (
            "soloist.v1.Stat/Write",
            ["no service soloist.v1.Stat", "soloist.v1.State"],
        ),
    ] {
        let error = found(&plan(method, &[]), &address).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn files_describe_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let (main, part) = (
        folder.path().join("main.proto"),
        folder.path().join("sub/part.proto"),
    );
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(
        &part,
        "syntax = 'proto3'; package p; message M { google.protobuf.Empty e = 1; } ",
    )
    .unwrap();
    let error = found(&plan("p.S/Do", std::slice::from_ref(&part)), "").unwrap_err();
    assert!(
        error.contains("part.proto") && error.contains("google.protobuf.Empty"),
        "{error}"
    );

    fs::write(
        &part,
        "syntax = 'proto3'; package p; message M { M m = 1; }",
    )
    .unwrap();
    let text = "syntax = 'proto3'; package p; import 'sub/part.proto'; import 'google/protobuf/empty.proto'; \
                service S { rpc Do(M) returns (stream google.protobuf.Empty); }";
    fs::write(&main, text).unwrap();
    let of_main = plan("p.S/Do", std::slice::from_ref(&main));
    let method = found(&of_main, "").unwrap();
    assert!(method.is_server_streaming() && !method.is_client_streaming());

    let set = folder.path().join("set.bin");
    fs::write(&set, method.parent_pool().encode_to_vec()).unwrap();
    let of_set = CallPlan {
        protoset: Some(set.clone()),
        ..plan("p.S.Do", &[])
    };
    assert_eq!(found(&of_set, "").unwrap().input().full_name(), "p.M");
    fs::write(&set, b"nonsense").unwrap();
    let error = found(&of_set, "").unwrap_err();
    assert!(
        error.starts_with("--protoset ") && error.contains("set.bin"),
        "{error}"
    );

    fs::remove_file(&part).unwrap();
    let error = found(&of_main, "").unwrap_err();
    assert!(
        error.contains("sub/part.proto") && error.contains("(-I)"),
        "{error}"
    );
    let error = found(&plan("p.S/Do", &[folder.path().join("none.proto")]), "").unwrap_err();
    assert!(error.contains("none.proto"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_no_missing_reflection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = found(&plan("a.B/C", &[]), &address).unwrap_err();
    assert!(
        error.starts_with(&format!("cannot reach {address}: ")),
        "{error}"
    );
}
