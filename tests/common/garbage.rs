//! Servers that are no Redis, or a hostile one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with a connection.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Says nothing.
    Silent,
    /// Closes at once.
    Close,
    /// Answers as a web server does.
    Http,
    /// Answers with noise.
    Noise,
    /// Answers well, but a byte a second.
    Drip,
    /// Announces and sends ten megabytes of INFO.
    TenMegabytes,
    /// Announces ten gigabytes.
    HugeLength,
    /// Arrays within arrays, without an end.
    Nested,
    /// An array of nine quintillion elements.
    HugeArray,
    /// Good replies that nobody asked for, without an end.
    Flood,
    /// A line without an end.
    EndlessLine,
    /// Whatever it is sent, as an error.
    Echo,
    /// An INFO reply without what every Redis has.
    HollowInfo,
    /// A RESP3 map.
    Map,
}

/// A server on a free port of 127.0.0.1, gone when dropped.
pub struct GarbageServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl GarbageServer {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, manner));
            }
        });
        Self { address, connections, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for GarbageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    if matches!(manner, Manner::Close) {
        return;
    }
    let mut request = vec![0; 4096];
    let Ok(length) = stream.read(&mut request).await else { return };
    request.truncate(length);
    let answered = answer(&mut stream, manner, &request).await;
    if answered.is_ok() {
        // Stays open until the other side has had enough.
        while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
    }
}

async fn answer(stream: &mut TcpStream, manner: Manner, request: &[u8]) -> std::io::Result<()> {
    match manner {
        Manner::Silent | Manner::Close => {}
        Manner::Http => {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>").await?;
            stream.shutdown().await?;
        }
        Manner::Noise => {
            // A multiplicative generator: noise that is the same in every run.
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let noise: Vec<u8> = (0..65_536)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            stream.write_all(&noise).await?;
        }
        Manner::Drip => {
            for byte in b"+OK\r\n".iter().cycle() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::TenMegabytes => {
            stream.write_all(b"+OK\r\n$10485760\r\n").await?;
            stream.write_all(&vec![b'x'; 10_485_760]).await?;
            stream.write_all(b"\r\n").await?;
        }
        Manner::HugeLength => stream.write_all(b"+OK\r\n$9999999999\r\n").await?,
        Manner::HugeArray => stream.write_all(b"*9223372036854775807\r\n").await?,
        Manner::Nested => loop {
            stream.write_all(&b"*1\r\n".repeat(1024)).await?;
        },
        Manner::Flood => loop {
            stream.write_all(&b"+OK\r\n".repeat(1024)).await?;
        },
        Manner::EndlessLine => loop {
            stream.write_all(&[b'+'; 1024]).await?;
        },
        Manner::Echo => {
            let echo: String = String::from_utf8_lossy(request).replace("\r\n", " ");
            stream.write_all(format!("-ERR unknown command, args: {echo}\r\n-{echo}\r\n{echo}").as_bytes()).await?;
        }
        Manner::HollowInfo => {
            let info = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\n";
            stream.write_all(format!("+OK\r\n${}\r\n{info}\r\n", info.len()).as_bytes()).await?;
        }
        Manner::Map => stream.write_all(b"%1\r\n+server\r\n+redis\r\n").await?,
    }
    Ok(())
}
