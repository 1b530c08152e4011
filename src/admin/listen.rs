//! Listening on an address of either family, or of both.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens there. `[::]` is every address of both families, whatever the system's default is for sockets of IPv6; on a
/// machine without IPv6 it is every IPv4 address. Must be called inside of the runtime.
pub(super) fn on(address: SocketAddr) -> io::Result<TcpListener> {
    let anywhere = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bound(address) {
        // A port that is taken is taken in the other family too; what else fails is a kernel without IPv6.
        Err(error) if anywhere && error.kind() != io::ErrorKind::AddrInUse => {
            bound((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        other => other,
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::net::TcpStream;

    use super::*;

    /// `None` where this machine has no loopback address of IPv6.
    fn loopback_v6() -> Option<IpAddr> {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        std::net::TcpListener::bind((address, 0)).ok().map(|_| address)
    }

    #[rstest]
    #[case::every_family("[::]:0", true, true)]
    #[case::ipv4_alone("0.0.0.0:0", true, false)]
    #[case::one_address("127.0.0.1:0", true, false)]
    #[tokio::test]
    async fn who_can_connect(#[case] address: &str, #[case] v4: bool, #[case] v6: bool) {
        let listener = on(address.parse().expect("an address")).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let reached = |ip: IpAddr| async move { TcpStream::connect((ip, port)).await.is_ok() };
        assert_eq!(reached(Ipv4Addr::LOCALHOST.into()).await, v4);
        if let Some(ip) = loopback_v6() {
            assert_eq!(reached(ip).await, v6);
        }
    }
}
