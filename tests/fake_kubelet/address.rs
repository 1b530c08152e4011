//! Addresses of pods: added to the loopback device of the network namespace, never used twice by one test program.

use std::{
    net::Ipv4Addr,
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// 10.64.0.0/10 belongs to nobody in the test cluster.
const FIRST: u32 = u32::from_be_bytes([10, 64, 0, 0]);
/// Addresses of one test program.
const BLOCK: u32 = 2048;

/// An address that exists as long as this value.
#[derive(Debug)]
pub struct Address(pub Ipv4Addr);

impl Address {
    /// The next one that is free.
    pub fn next() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        for _ in 0..BLOCK {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let ip = Ipv4Addr::from(FIRST + process::id() % 1024 * BLOCK + number);
            if ip_address("add", ip) {
                return Self(ip);
            }
        }
        panic!("no address can be added: run inside the test cluster's network, by tests/cluster/in-netns");
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _the_namespace_may_have_gone = ip_address("del", self.0);
    }
}

fn ip_address(verb: &str, ip: Ipv4Addr) -> bool {
    let mut command = Command::new("ip");
    command.args(["address", verb, &format!("{ip}/32"), "dev", "lo"]);
    command.stderr(Stdio::null()).status().expect("iproute2 is there").success()
}
