//! The server's clock after a start that took long.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{OpenSessionRequest, WriteRequest, write_request::Lifetime};
use soloist_server::config::Config;
use soloist_server::{Server, Store};
use tempfile::TempDir;

use crate::support::{channel, int, read, write};

const TTL: Duration = Duration::from_secs(60);

/// As long as a large store may take to be read; long enough to be seen beside the clock of this test.
const START: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_ttl_is_whole_after_a_slow_start() {
    let dir = TempDir::new().unwrap();
    for data_dir in [None, Some(dir.path().to_owned())] {
        let mut config = Config::default();
        config.transport.threads = 1;
        config.storage.data_dir = data_dir;
        let store = Store::open(&config).unwrap();
        std::thread::sleep(START);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::serve(listener, &config, store).unwrap();
        let channel = channel(server.local_addr().tcp().unwrap()).await;

        let earliest = SystemTime::now() + TTL;
        let request = WriteRequest {
            lifetime: Some(Lifetime::Ttl(TTL.try_into().unwrap())),
            ..write("k", int(1))
        };
        let mut state = StateClient::new(channel.clone());
        state.write(request).await.unwrap();
        let entry = state.read(read("k")).await.unwrap().into_inner();
        let session = SessionsClient::new(channel)
            .open_session(OpenSessionRequest {
                ttl: Some(TTL.try_into().unwrap()),
                ..OpenSessionRequest::default()
            })
            .await
            .unwrap()
            .into_inner();
        for expire_time in [entry.entry.unwrap().expire_time, session.expire_time] {
            let expire_time = SystemTime::try_from(expire_time.unwrap()).unwrap();
            assert!(
                expire_time >= earliest,
                "{expire_time:?} is before {earliest:?}"
            );
        }
        server.drain();
    }
}
