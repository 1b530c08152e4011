//! A place outside of the cluster: its API server is reached from there, and no pod.
//!
//! The embedded cluster has a network of its own. A `kubectl proxy` in it listens on a socket in the file system, and what
//! comes to a port of this machine is carried there: so the API server, the kubelet and the pod at the other end are real.

use std::{
    fs, io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use super::{
    client::{self, Said},
    eventually, require,
};

/// The way to the API server, while this lives.
#[derive(Debug)]
pub(crate) struct Outside {
    folder: TempDir,
    proxy: Child,
}

impl Outside {
    /// Opens it.
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api");
        let mut proxy = client::script("tests/cluster/kubectl");
        proxy.arg("proxy").arg("--unix-socket").arg(&socket).stdout(Stdio::null());
        let outside = Self { proxy: proxy.spawn().unwrap(), folder };
        eventually("the way to the API server", 30, || require(socket.exists(), || format!("no {}", socket.display())));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the process: nobody else is given the port.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let _refused = carry(connection, &socket);
            }
        });
        fs::write(outside.kubeconfig(), kubeconfig(address)).unwrap();
        outside
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Our program, there.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        client::run(command)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The script becomes kubectl: this is its process.
        let _gone = self.proxy.kill();
        let _gone = self.proxy.wait();
    }
}

fn kubeconfig(server: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"http://{server}\"}}}}]\n\
         users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    )
}

/// Both ways, each until its sender has ended.
fn carry(from: TcpStream, to: &Path) -> io::Result<()> {
    let to = UnixStream::connect(to)?;
    let (mut from_reads, mut to_writes) = (from.try_clone()?, to.try_clone()?);
    let (mut from_writes, mut to_reads) = (from, to);
    thread::spawn(move || {
        let _ended = io::copy(&mut from_reads, &mut to_writes);
        to_writes.shutdown(Shutdown::Write)
    });
    thread::spawn(move || {
        let _ended = io::copy(&mut to_reads, &mut from_writes);
        from_writes.shutdown(Shutdown::Write)
    });
    Ok(())
}
