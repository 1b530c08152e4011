//! The ways between Sentinels, which can be cut: each Sentinel announces the port of a proxy of its own, and has an address of
//! its own from which it calls the others. So a partition needs no rights: what comes from a cut address is held back at the
//! proxy, as packets are that are sent again and again, and goes on when the way is open.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use crate::{
    common::{eventually, server::RedisServer},
    set::{USUAL, Watched},
};

/// Who is kept from whom: the address that calls, and the number of the Sentinel that is called.
type Cut = Vec<(IpAddr, usize)>;

/// From where the operator and the tests call.
const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A road to each of three Sentinels. Dropped: closed.
pub(crate) struct Roads {
    cut: watch::Sender<Cut>,
    /// Where each Sentinel is reached through its road.
    pub(crate) addresses: Vec<SocketAddr>,
    _keepers: JoinSet<()>,
}

/// From where that Sentinel calls the others.
fn source(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11 + u8::try_from(n).expect("few")))
}

impl Roads {
    /// A set whose Sentinels reach each other by such roads, all of them open.
    pub(crate) async fn lay(program: &Path) -> (Watched, Self) {
        let (cut, is_cut) = watch::channel(Cut::new());
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            addresses.push(listener.local_addr().expect("it is bound"));
            listeners.push(listener);
        }
        let sentinel = |primary: &RedisServer, n: usize| {
            let (from, port) = (source(n).to_string(), addresses[n].port().to_string());
            let own = [
                "--bind-source-addr",
                &from,
                "--sentinel",
                "announce-ip",
                "127.0.0.1",
                "--sentinel",
                "announce-port",
                &port,
            ];
            RedisServer::start_sentinel_at(program, primary.address().port(), 2, USUAL, &own)
        };
        // The roads lead to ports that are known only when the Sentinels run: until then calls wait in the queue.
        let (tell, destinations) = watch::channel(Vec::new());
        let mut keepers = JoinSet::new();
        for (n, listener) in listeners.into_iter().enumerate() {
            keepers.spawn(keep(listener, n, destinations.clone(), is_cut.clone()));
        }
        let set = Watched::start_with(program, |primary, n| {
            let sentinel = sentinel(primary, n);
            tell.send_modify(|known: &mut Vec<SocketAddr>| known.push(sentinel.address()));
            sentinel
        })
        .await;
        (set, Self { cut, addresses, _keepers: keepers })
    }

    /// The first Sentinel, and the operator, where that is asked for, on one side; the two others on the other.
    pub(crate) fn part(&self, operator: bool) {
        self.parter(operator)();
    }

    /// Every way is open again.
    pub(crate) fn heal(&self) {
        self.cut.send_replace(Cut::new());
    }

    /// The same, to be done when it is called.
    pub(crate) fn parter(&self, operator: bool) -> impl Fn() + Send + Sync + use<> {
        let (cut, mut rule) = (self.cut.clone(), vec![(source(0), 1), (source(0), 2), (source(1), 0), (source(2), 0)]);
        if operator {
            rule.extend([(OPERATOR, 1), (OPERATOR, 2)]);
        }
        move || drop(cut.send_replace(rule.clone()))
    }
}

/// Takes calls to that Sentinel, and has each answered.
async fn keep(listener: TcpListener, n: usize, mut to: watch::Receiver<Vec<SocketAddr>>, cut: watch::Receiver<Cut>) {
    let mut calls = JoinSet::new();
    let Ok(to) = to.wait_for(|known| known.len() > n).await.map(|known| known[n]) else { return };
    while let Ok((caller, from)) = listener.accept().await {
        let Ok(called) = TcpStream::connect(to).await else { continue };
        let ((reads, writes), (answers, asks)) = (caller.into_split(), called.into_split());
        let way = (from.ip(), n);
        calls.spawn(carry(reads, asks, way, cut.clone()));
        calls.spawn(carry(answers, writes, way, cut.clone()));
    }
}

/// One direction of a call: what cannot get through waits.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: (IpAddr, usize), mut cut: watch::Receiver<Cut>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let open = cut.wait_for(|cut| !cut.contains(&way)).await.is_ok();
        if !open || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The Sentinels of a set see each other again.
pub(crate) async fn all_see_all(set: &Watched) {
    eventually("nothing is wrong", async || crate::reading::judged(set).await.0.is_empty().then_some(())).await;
}
