//! Pods that somebody deletes: a set survives that after its cure as it did before.

use redis_memory_operator::clock::Clock;
use serde_json::{Value, json};

use super::{
    deployments::Primary,
    long::is_long,
    set::Set,
    support::{eventually, require, writer::Writer},
};

/// Of two deletions that are alike one may stop writes for so many milliseconds longer than twice the other: a Sentinel
/// looks every few seconds, and a pod starts when its kubelet has time.
const ALIKE: f64 = 15_000.0;

/// What became of one deletion.
#[derive(Debug)]
struct Loss {
    pod: String,
    /// Whether it was primary.
    primary: bool,
    /// Until everything was as its owner wants it again.
    seconds: u64,
    /// For how long no write was acknowledged.
    milliseconds: f64,
}

/// Deletions one after the other, under a writer.
#[derive(Debug)]
pub(crate) struct Losses {
    each: Vec<Loss>,
    /// Acknowledged writes that are gone after all of them.
    lost: u64,
}

/// The primary and one that is not, each once, before this operator has done anything.
pub(crate) fn baseline(set: &Set<'_>) -> Losses {
    let writer = set.writer();
    let primary = set.as_wished().unwrap();
    let replica = set.names().into_iter().find(|pod| *pod != primary);
    let losses = of(set, &writer, &[Some(primary), replica].into_iter().flatten().collect::<Vec<_>>());
    set.space.must(&["delete", "pod", "writer", "--wait"]);
    losses
}

/// Each pod once; every day only the first.
pub(crate) fn of_each_pod(set: &Set<'_>, writer: &Writer<'_>) -> Losses {
    let pods = if is_long() { set.size() } else { 1 };
    let _before = writer.mark();
    of(set, writer, &set.names()[..pods])
}

/// Deleted by somebody, each of these pods comes back as it did before, and the set is as its owner wants it again.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn of(set: &Set<'_>, writer: &Writer<'_>, pods: &[String]) -> Losses {
    let mut each = Vec::new();
    for pod in pods {
        let primary = set.as_wished().unwrap() == *pod;
        let before = set.uids();
        let _before = writer.mark();
        let clock = Clock::start();
        set.space.must(&["delete", "pod", pod, "--wait=false"]);
        let now = eventually(&format!("{pod} is back, and everything as its owner wants it"), 180, || {
            require(set.uids().get(pod) != before.get(pod), || format!("{pod} is the old one"))?;
            set.as_wished()
        });
        let seconds = clock.uptime().as_secs();
        let milliseconds = writer.mark()["gap_ms_max"].as_f64().unwrap();
        println!(
            "{}: {pod} is back after {seconds} s; writes stopped for {milliseconds} ms; {now} is primary",
            set.of.name
        );
        each.push(Loss { pod: pod.clone(), primary, seconds, milliseconds });
    }
    let (code, verdict) = writer.ask("stop").unwrap();
    println!("{}: after the deletions: {verdict}", set.of.name);
    // Where a role moves when its pod is deleted, what that loses is the owner's own; as it is where nothing is on a volume.
    if matches!(set.of.primary, Primary::Fixed(_)) {
        assert_eq!((code, &verdict["lost"]), (0, &json!(0)), "{verdict}");
    }
    let lost = verdict["lost"].as_u64().unwrap_or_else(|| panic!("no count of what is lost: {verdict}"));
    Losses { each, lost }
}

impl Losses {
    /// The longest time for which a deletion of that kind of member stopped writes.
    fn longest(&self, primary: bool) -> Option<f64> {
        let of_kind = self.each.iter().filter(|loss| loss.primary == primary);
        of_kind.map(|loss| loss.milliseconds).reduce(f64::max)
    }

    /// Asserts that the deletion of each kind of member stopped writes for no longer than before, but for what two that are alike
    /// may differ.
    pub(crate) fn assert_like(&self, before: &Self) {
        for primary in [true, false] {
            if let (Some(now), Some(before)) = (self.longest(primary), before.longest(primary)) {
                assert!(now <= before.mul_add(2.0, ALIKE), "primary {primary}: {now} ms, before the cure {before} ms");
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let seconds: serde_json::Map<String, Value> =
            self.each.iter().map(|loss| (loss.pod.clone(), json!(loss.seconds))).collect();
        let longest = |primary| self.longest(primary);
        json!({"seconds": seconds, "primary_milliseconds": longest(true), "replica_milliseconds": longest(false), "lost": self.lost})
    }
}
