//! How the writer finds the primary: by one address that leads to it, or by asking Sentinels, and with which password.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    thread,
    time::Duration,
};

use crate::resp::{Connection, Reply};

/// What a person writes.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Host and port of the primary, or of Sentinels.
    pub(crate) address: String,
    /// The name by which the Sentinels know the primary; `None`: the address is the primary's.
    pub(crate) sentinel_master: Option<String>,
    /// Of the servers, and of the Sentinels.
    pub(crate) password: Option<String>,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For a reply.
    pub(crate) reply: Duration,
}

/// A way whose address is known.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    at: SocketAddr,
    sentinel_master: Option<String>,
    password: Option<String>,
    timeouts: Timeouts,
}

impl Way {
    /// Resolves the address, once: that of a Service does not change, and a gap shall not contain a look-up of it.
    pub(crate) fn find(&self, timeouts: Timeouts) -> Found {
        let Self { address, sentinel_master, password } = self.clone();
        let at = loop {
            match address.to_socket_addrs().map(|mut found| found.next()) {
                Ok(Some(found)) => break found,
                Ok(None) => eprintln!("ack-writer: {address} has no address yet"),
                Err(error) => eprintln!("ack-writer: {address} does not resolve yet: {error}"),
            }
            thread::sleep(Duration::from_millis(200));
        };
        Found { at, sentinel_master, password, timeouts }
    }
}

impl Found {
    /// A new connection to the primary. Sentinels are asked anew for each, as their clients do.
    pub(crate) fn connect(&self) -> io::Result<Connection<TcpStream>> {
        let Some(name) = &self.sentinel_master else { return self.open(self.at) };
        let mut sentinel = self.open(self.at)?;
        let answer = sentinel.call(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()])?;
        let primary = named(&answer)?;
        let mut found = primary.to_socket_addrs()?;
        self.open(found.next().ok_or_else(|| io::Error::other(format!("{primary} has no address")))?)
    }

    fn open(&self, at: SocketAddr) -> io::Result<Connection<TcpStream>> {
        let stream = TcpStream::connect_timeout(&at, self.timeouts.connect)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeouts.reply))?;
        stream.set_write_timeout(Some(self.timeouts.reply))?;
        let mut connection = Connection::new(stream);
        if let Some(password) = &self.password {
            match connection.call(&[b"AUTH", password.as_bytes()])? {
                Reply::Simple(word) if word == "OK" => {}
                other => return Err(io::Error::other(format!("AUTH was answered by {other:?}"))),
            }
        }
        Ok(connection)
    }
}

/// Host and port, as a Sentinel gives them.
fn named(answer: &Reply) -> io::Result<String> {
    let text = |reply: &Reply| match reply {
        Reply::Bulk(Some(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    match answer {
        Reply::Array(pair) if pair.len() == 2 => pair.first().and_then(text).zip(pair.last().and_then(text)),
        _ => None,
    }
    .map(|(host, port)| format!("{host}:{port}"))
    .ok_or_else(|| io::Error::other(format!("the Sentinel named no primary: {answer:?}")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(Some(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_sentinel_names_host_and_port_or_nobody() {
        assert_eq!(named(&Reply::Array(vec![bulk("cache-0"), bulk("6379")])).unwrap(), "cache-0:6379");
        assert!(named(&Reply::Array(vec![])).is_err());
        assert!(named(&Reply::Bulk(None)).is_err());
    }

    /// Answers that to every command of one client, and gives the words of the commands back.
    fn answering(answers: Vec<String>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let served = thread::spawn(move || {
            let mut client = Connection::new(listener.accept().unwrap().0);
            let mut heard = Vec::new();
            for answer in answers {
                let Ok(commands) = client.pipeline(b"", 1) else { break };
                heard.push(format!("{commands:?}"));
                if client.pipeline(answer.as_bytes(), 0).is_err() {
                    break;
                }
            }
            heard
        });
        (at, served)
    }

    #[test]
    fn the_primary_that_the_sentinel_names_is_connected_to_with_the_password() {
        let (primary, served) = answering(vec!["+OK\r\n".into(), "+PONG\r\n".into()]);
        let (host, port) = (primary.ip().to_string(), primary.port().to_string());
        let names = format!("*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len());
        let (sentinel, asked) = answering(vec!["+OK\r\n".into(), names]);
        let way = Way {
            address: sentinel.to_string(),
            sentinel_master: Some("mymaster".into()),
            password: Some("secret".into()),
        };
        let second = Duration::from_secs(1);
        let found = way.find(Timeouts { connect: second, reply: second });
        assert_eq!(found.connect().unwrap().call(&[b"PING"]).unwrap(), Reply::Simple("PONG".into()));
        assert_eq!(served.join().unwrap().len(), 2, "AUTH and PING");
        assert_eq!(asked.join().unwrap().len(), 2, "AUTH and the question");
    }

    #[test]
    fn a_wrong_password_is_no_connection() {
        let (at, _served) = answering(vec!["-WRONGPASS no\r\n".into()]);
        let way = Way { address: at.to_string(), sentinel_master: None, password: Some("wrong".into()) };
        let second = Duration::from_secs(1);
        assert!(way.find(Timeouts { connect: second, reply: second }).connect().is_err());
    }
}
