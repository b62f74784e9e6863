//! TLS: a client that shows a certificate and a token. All of them are read again, so they can be replaced while it runs.
//!
//! ```console
//! $ deploy/test-certificates certs
//! $ soloist-server --tls-cert certs/server.pem --tls-key certs/server.key --tls-client-ca certs/ca.pem \
//!     --access-file certs/access.toml
//! $ cargo run --example tls https://localhost:50051 certs
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;

use soloist_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let url = args.next();
    let certs = PathBuf::from(args.next().unwrap_or_else(|| "certs".to_owned()));
    let client = Client::builder(url.unwrap_or_else(|| "https://localhost:50051".to_owned()))
        .ca_file(certs.join("ca.pem"))
        .identity_files(certs.join("client.pem"), certs.join("client.key"))
        .token_file(certs.join("token"))
        .connect()
        .await?;
    let written = client.write("greeting", "hello").await?;
    println!("written at revision {}", written.revision);
    Ok(())
}
