//! What one look costs: to group and judge every target of one policy, to decide, and to word the findings, for 20, 200
//! and 2,000 targets in sets of three, of which every one is due for a restart or none is. No server and no cluster is
//! needed.
//!
//! `cargo bench --bench looks [-- TARGETS...]` prints a Markdown table of CPU time: the median of many looks.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unchecked_time_subtraction,
    clippy::indexing_slicing,
    reason = "a measuring program, not the product"
)]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use redis_memory_operator::{
    assess::judged::Judged,
    domain::{
        addresses::PodAddresses,
        bytes::Bytes,
        fixtures::{self, NOW},
        names::{ControllerUid, NodeAddress, PodName, PodUid},
        pod::{Owner, Service, StatefulSet},
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, Snapshot, Target},
    },
    plan::{Context, PlanSettings, decide, promise},
};

/// Looks of each size.
const LOOKS: usize = 51;

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let sizes: Vec<usize> = arguments.map(|size| size.parse().expect("numbers of targets")).collect();
    let sizes = if sizes.is_empty() { vec![20, 200, 2000] } else { sizes };
    println!("| targets | due | judged | decided | findings worded | in all |");
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        for due in [false, true] {
            let [judged, decided, worded] = measure(&sets(size.div_ceil(3), due), due);
            let micros = |time: Duration| format!("{} µs", time.as_micros());
            println!(
                "| {size} | {} | {} | {} | {} | {} |",
                if due { "all" } else { "none" },
                micros(judged),
                micros(decided),
                micros(worded),
                micros(judged + decided + worded)
            );
        }
    }
}

/// Time that this thread has been on a CPU: of what else the machine does nothing is in it.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds first"))
}

fn measure(snapshot: &Snapshot, due: bool) -> [Duration; 3] {
    let (policy, settings) = (fixtures::policy(), PlanSettings::default());
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..LOOKS {
        let begun = on_cpu();
        let ctx = Context::of(&policy, snapshot, &[], NOW, &settings);
        let judged = on_cpu();
        let decision = decide::decide(&ctx, None, false, true);
        let decided = on_cpu();
        let findings = promise::findings(&ctx, None, &decision);
        let known = Judged::of(&ctx.look);
        let worded = on_cpu();
        let expected = if due { snapshot.targets.len() } else { 0 };
        assert_eq!(decision.due.len() * 3, expected, "so many are due");
        black_box((findings, known));
        for (times, time) in times.iter_mut().zip([judged - begun, decided - judged, worded - decided]) {
            times.push(time);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[LOOKS / 2]
    })
}

/// That many sets of three.
fn sets(number: usize, due: bool) -> Snapshot {
    let mut one = fixtures::three_pods();
    if !due {
        one.targets.iter_mut().for_each(defragment);
    }
    let mut all = Snapshot { targets: Vec::new(), stateful_sets: Vec::new(), services: Vec::new(), ..one.clone() };
    for set in 0..number {
        all.targets.extend(one.targets.iter().map(|target| renamed(target, set)));
        all.stateful_sets.extend(one.stateful_sets.iter().map(|it| StatefulSet {
            uid: uid(set),
            name: name(set),
            ..it.clone()
        }));
        all.services.extend(one.services.iter().map(|service| Service {
            name: format!("{}-{set}", service.name),
            takes: service.takes.iter().map(|pod| PodName::new(moved(pod.as_str(), set))).collect(),
            ready_pods: service.ready_pods.iter().map(|pod| PodUid::new(format!("{pod}-{set}"))).collect(),
            ..service.clone()
        }));
    }
    all.targets.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
    all
}

fn defragment(target: &mut Target) {
    for reading in &mut target.history {
        (reading.rss, reading.ratio) = (Bytes(reading.used.0 + 1), Ratio(100));
    }
    let Observation::Seen(sample) = &mut target.redis else { return };
    (sample.memory.rss, sample.memory.ratio) = (Bytes(sample.memory.used.0 + 1), Ratio(100));
}

fn name(set: usize) -> String {
    format!("redis{set}")
}

fn uid(set: usize) -> ControllerUid {
    ControllerUid::new(format!("set-{set}"))
}

/// `redis-0` as `redis7-0`: pods of one set share everything but their number.
fn moved(text: &str, set: usize) -> String {
    text.replacen("redis", &name(set), 1)
}

fn address(ip: IpAddr, set: usize) -> IpAddr {
    let IpAddr::V4(ip) = ip else { return ip };
    let [_, _, _, last] = ip.octets();
    let set = u16::try_from(set).expect("fewer sets than a network has").to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, set[0], set[1], last))
}

fn host(named: &NodeAddress, set: usize) -> NodeAddress {
    let host = named.host.parse().map_or_else(|_| moved(&named.host, set), |ip| address(ip, set).to_string());
    NodeAddress { host, port: named.port }
}

fn renamed(target: &Target, set: usize) -> Target {
    let mut target = target.clone();
    let pod = &mut target.pod;
    pod.name = PodName::new(moved(pod.name.as_str(), set));
    pod.uid = PodUid::new(format!("{}-{set}", pod.uid));
    pod.dns_name = pod.dns_name.as_ref().map(|name| moved(name, set));
    pod.owner = pod.owner.as_ref().map(|owner| Owner { name: name(set), uid: uid(set), ..owner.clone() });
    pod.addresses = pod.addresses.iter().map(|ip| address(ip, set)).collect::<PodAddresses>();
    let Observation::Seen(sample) = &mut target.redis else { return target };
    sample.pod_uid = target.pod.uid.clone();
    for line in &mut sample.replication.replicas {
        line.address = host(&line.address, set);
    }
    if let Role::Replica(link) = &mut sample.replication.role {
        link.primary = host(&link.primary, set);
    }
    target
}
