//! How an address is reached. In a cluster that is a connection to it. Outside of one a person's command line gives another
//! way, through the API server: an address stays what it is called by, and only the connection is made elsewhere.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use futures::future::BoxFuture;
use tokio::net::TcpStream;

/// Makes a connection to an address.
pub type Way = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// One fact of the process, as the machine that it runs on is one. The operator itself never sets it.
static WAY: OnceLock<Way> = OnceLock::new();

/// From now on addresses are reached this way. The first one that is given holds.
pub fn through(way: Way) {
    let _the_first_one_holds = WAY.set(way);
}

/// A connection to that address.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    match WAY.get() {
        None => TcpStream::connect(address).await,
        Some(way) => way(address).await,
    }
}
