//! What becomes of the pods of a set, by the API server's own watch: nothing that happens between two looks is missed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::{client, eventually, redis::Redis, require, space::Space};

/// A watch that ends with this value.
#[derive(Debug)]
pub(crate) struct PodWatch {
    client: Child,
    changes: Arc<Mutex<Vec<[String; 3]>>>,
}

/// What happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// It was replaced: its name has another UID.
    Restart(String),
    /// It lost the primary's label while it lived.
    Switchover(String),
}

impl PodWatch {
    /// Begins to watch the pods of the set.
    pub(crate) fn of(set: &Redis<'_>) -> Self {
        Self::select(set.space, &format!("app={}", set.name), set.replicas as usize)
    }

    /// Begins to watch the pods that the selector takes; so many are there.
    pub(crate) fn select(space: &Space, selector: &str, pods: usize) -> Self {
        let mut command = client::script("tests/cluster/kubectl");
        let columns = r"custom-columns=N:.metadata.name,U:.metadata.uid,R:.metadata.labels.redismemory\.io/role";
        command.args(["--namespace", &space.name, "get", "pods", "--selector", selector]);
        command.args(["--watch", "--no-headers", "--output", columns]);
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(client.stdout.take().unwrap()).lines();
        let changes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&changes);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut words = line.split_whitespace().map(str::to_owned);
                if let (Some(name), Some(uid), Some(role)) = (words.next(), words.next(), words.next()) {
                    seen.lock().unwrap().push([name, uid, role]);
                }
            }
        });
        let watch = Self { client, changes };
        eventually("the watch of the pods", 20, || {
            let known = watch.changes.lock().unwrap().len();
            require(known >= pods, || format!("{known} pods"))
        });
        watch
    }

    /// What happened so far, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        events(&self.changes.lock().unwrap())
    }

    /// Asserts the order of the main job: each replica, the switchover, the old primary; nothing twice.
    pub(crate) fn assert_main_job(&self, old_primary: &str, replicas: &[String]) {
        let events = self.events();
        let (first, rest) = events.split_at(replicas.len().min(events.len()));
        let mut restarted = first.to_vec();
        restarted.sort();
        let wanted: Vec<Event> = replicas.iter().cloned().map(Event::Restart).collect();
        assert_eq!(restarted, wanted, "the replicas come first, each once: {events:?}");
        let last = [Event::Switchover(old_primary.to_owned()), Event::Restart(old_primary.to_owned())];
        assert_eq!(rest, last, "then the switchover, then the old primary: {events:?}");
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn events(changes: &[[String; 3]]) -> Vec<Event> {
    let mut known: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut events = Vec::new();
    for [name, uid, role] in changes {
        match known.insert(name, (uid, role)) {
            Some((before, _)) if before != uid => events.push(Event::Restart(name.clone())),
            Some((_, "primary")) if role != "primary" => events.push(Event::Switchover(name.clone())),
            _ => {}
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, uid: &str, role: &str) -> [String; 3] {
        [name.to_owned(), uid.to_owned(), role.to_owned()]
    }

    #[test]
    fn a_new_uid_is_a_restart_and_a_lost_label_a_switchover() {
        let seen = events(&[
            change("a", "1", "primary"),
            change("b", "2", "replica"),
            change("b", "3", "<none>"),
            change("b", "3", "primary"),
            change("a", "1", "replica"),
            change("a", "4", "<none>"),
            change("a", "4", "replica"),
        ]);
        let wanted = [Event::Restart("b".into()), Event::Switchover("a".into()), Event::Restart("a".into())];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_primary_that_is_replaced_without_a_switchover_shows() {
        let seen = events(&[change("a", "1", "primary"), change("a", "2", "<none>")]);
        assert_eq!(seen, [Event::Restart("a".into())]);
    }
}
