//! Addresses on loopback that no other process takes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The host of all addresses. All of 127.0.0.0/8 is loopback. Each process of tests has a host of its own there, made of its id,
/// whose ports the system gives to nobody else.
pub(crate) fn host() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high ^ middle) & 63, middle, low)
}

/// Returns a port that was not given out before.
pub(crate) fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns an address that nobody listens on. A member of etcd has to be told its address before it starts, and keeps it over
/// restarts: so the address must stay free while nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let host = host();
    loop {
        let port = next_port();
        let address = SocketAddr::from((host, port));
        // Another process may listen on this port of every host.
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
