//! Handshakes that stop half-way, or that the server refuses, and what the log says of them.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use soloist_server::config::TlsVersion;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, ProtocolVersion};

use super::canary::Log;
use super::certificates::Authority;
use super::{Client, Setup};
use crate::process::{Process, command};
use crate::support::TestServer;

/// Every place where a handshake may stop: after so many flights of the client, and then so many bytes of the next one, of a
/// hundred. After two flights the handshake is complete, and the preface of HTTP/2 is missing.
const STOPS: [(usize, usize); 8] = [
    (0, 0),
    (0, 1),
    (0, 50),
    (1, 0),
    (1, 1),
    (1, 50),
    (1, 99),
    (2, 0),
];

/// Makes a handshake up to a place where it stops.
async fn handshake_until(
    server: &TestServer,
    config: &Arc<ClientConfig>,
    (flights, part): (usize, usize),
) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    for _ in 0..flights {
        stream.write_all(&flight(&mut client)).await.unwrap();
        // A client of TLS 1.3 has something to write before it has read all of the server's flight.
        let has_next = |client: &ClientConnection| {
            client.wants_write() && client.protocol_version() == Some(ProtocolVersion::TLSv1_2)
        };
        while client.is_handshaking() && !has_next(&client) {
            let mut bytes = [0; 4096];
            let len = stream.read(&mut bytes).await.unwrap();
            assert!(len > 0, "the server ends the handshake");
            let mut bytes = &bytes[..len];
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }
    let next = flight(&mut client);
    assert_eq!(next.is_empty(), flights == 2, "a client has two flights");
    let len = (next.len() * part).div_ceil(100);
    stream.write_all(&next[..len]).await.unwrap();
    stream
}

/// What a client has to send now.
fn flight(client: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight).unwrap();
    }
    flight
}

/// Waits until the server has closed the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // An error is an end, too.
    let _ = stream.read_to_end(&mut rest).await;
}

/// A server that asks for certificates and speaks both versions, and a client of each version with a certificate.
fn both_versions(preface_timeout: Duration) -> (Setup, TestServer, Client, [Arc<ClientConfig>; 2]) {
    let setup = Setup::new();
    let server = setup.mutual(|config| {
        config.tls.min_version = TlsVersion::Tls12;
        config.transport.preface_timeout = preface_timeout;
    });
    let identity = setup.authority.issue("client");
    let configs = [&TLS13, &TLS12].map(|version| {
        let mut client = setup.client();
        client.versions = vec![version];
        Arc::new(client.config(Some(&identity)))
    });
    let client = setup.client();
    (setup, server, client, configs)
}

#[tokio::test]
async fn handshakes_that_stall_at_any_flight_end_and_hold_up_nobody() {
    let (setup, server, client, configs) = both_versions(Duration::from_millis(500));
    let identity = setup.authority.issue("another client");
    let mut stalled = Vec::new();
    // More than may take a step at once.
    for _ in 0..5 {
        for config in &configs {
            for stop in STOPS {
                stalled.push(handshake_until(&server, config, stop).await);
            }
        }
    }
    client.call(&server, Some(&identity)).await.unwrap();
    for stream in stalled {
        // The client never ends its side: only the server's limit does.
        closed(stream).await;
    }
    client.call(&server, Some(&identity)).await.unwrap();
}

#[tokio::test]
async fn handshakes_that_are_cut_off_at_any_flight_end_at_once() {
    // Longer than any test: only the end of the client's side can end the connections.
    let (setup, server, client, configs) = both_versions(Duration::from_secs(600));
    for config in &configs {
        for stop in STOPS {
            let mut stream = handshake_until(&server, config, stop).await;
            stream.shutdown().await.unwrap();
            closed(stream).await;
        }
    }
    let identity = setup.authority.issue("another client");
    client.call(&server, Some(&identity)).await.unwrap();
}

/// A ClientHello of this version with what every old client says. Source: RFC 5246, section 7.4.1.2.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session; ECDHE_ECDSA with AES_128_GCM_SHA256, and with AES_128_CBC_SHA; no compression.
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
    let extensions: &[&[u8]] = &[
        // supported_groups: secp256r1.
        &[0, 10, 0, 4, 0, 2, 0, 23],
        // ec_point_formats: uncompressed.
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256.
        &[0, 13, 0, 4, 0, 2, 4, 3],
        // ALPN: h2.
        &[0, 16, 0, 5, 0, 3, 2, b'h', b'2'],
        // extended_master_secret.
        &[0, 23, 0, 0],
    ];
    let extensions = extensions.concat();
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut hello = vec![1, 0, 0, body.len() as u8];
    hello.extend(body);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8];
    record.extend(hello);
    record
}

#[tokio::test]
async fn a_client_that_speaks_tls_1_1_is_refused_for_its_version() {
    const HANDSHAKE: u8 = 22;
    const ALERT: u8 = 21;
    // Source: RFC 8446, section 6.2.
    const PROTOCOL_VERSION: u8 = 70;
    let setup = Setup::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let server = setup.server(|config| config.tls.min_version = version);
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(&old_hello(2)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // A fatal alert, and no ServerHello.
        assert!(
            matches!(*answer, [ALERT, _, _, 0, 2, 2, PROTOCOL_VERSION]),
            "{version:?}: {answer:?}"
        );
    }
    // The same from a client of version 1.2 is taken.
    let server = setup.server(|config| config.tls.min_version = TlsVersion::Tls12);
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&old_hello(3)).await.unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [HANDSHAKE, 3, 3]);
}

#[tokio::test]
async fn the_audit_log_tells_of_clients_that_tls_refuses() {
    let setup = Setup::new();
    let path = |name| setup.files.path(name).to_str().unwrap().to_owned();
    setup.files.write("crl.pem", &setup.authority.revokes(&[]));
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--log",
        "off,audit=info",
        "--tls-cert",
        &path("cert.pem"),
        "--tls-key",
        &path("key.pem"),
        "--tls-client-ca",
        &path("ca.pem"),
        "--tls-client-crl",
        &path("crl.pem"),
        "--reload-interval",
        "1h",
    ];
    let mut process = Process::spawn(command(&args)).await;
    let mut log = Log::of(&mut process);
    let leaves = setup.authority.issue("leaves");
    let open = async |identity| {
        let stream = TcpStream::connect(process.addr).await.unwrap();
        let peer = format!("peer=\"{}\"", stream.local_addr().unwrap());
        let config = Arc::new(setup.client().config(identity));
        let connector = tokio_rustls::TlsConnector::from(config);
        let name = "localhost".try_into().unwrap();
        (connector.connect(name, stream).await, peer)
    };
    let (open_connection, open_peer) = open(Some(&leaves)).await;
    let channel = super::channel(open_connection.unwrap()).await.unwrap();
    let mut state = soloist::v1::state_client::StateClient::new(channel);
    state.read(crate::support::read("k")).await.unwrap();

    let stranger = Authority::new("another").issue("stranger");
    for (identity, why) in [
        (None, "peer sent no certificates"),
        (Some(&stranger), "UnknownIssuer"),
    ] {
        let (_stream, peer) = open(identity).await;
        let line = log.until(&peer).await;
        assert!(
            line.contains("handshake refused") && line.contains(why),
            "{why}: {line}"
        );
    }
    // Nobody refuses anybody here.
    drop(TcpStream::connect(process.addr).await.unwrap());

    let list = setup.authority.revokes(&[&leaves]);
    setup.files.write("crl.pem", &list);
    process.signal(Signal::SIGHUP);
    let line = log.until(&open_peer).await;
    assert!(line.contains("not accepted any more"), "{line}");
    let lines = log.all.lines().filter(|line| line.contains("peer="));
    assert_eq!(lines.count(), 3, "{}", log.all);
}
