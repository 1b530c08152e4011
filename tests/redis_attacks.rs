//! Servers that speak Redis and lie, against everything from the probe to the decision. Each attack ends in a refusal:
//! nothing is begun, nobody who is not a selected pod is dialled, and no word of the liar gets where people read.
//! Without the lie the same bench begins a remediation, so that the refusals are about the lies.
#![cfg(test)]

mod common;

use std::{fmt::Write as _, time::Duration};

use common::{
    DEADLINE,
    fake::{FakeRedis, Script},
};
use redis_memory_operator::{
    assess,
    clock::Clock,
    domain::{
        blocked::BlockReason,
        finding::{Finding, FindingCode},
        fixtures,
        names::RunId,
        pod::Pod,
        snapshot::{Observation, ProbeFailure, Snapshot},
    },
    plan::{
        Context, PlanSettings,
        decide::{self, Decision},
        next::Next,
    },
    redis_io::{Connection, Credentials, probe},
};

const PASSWORD: &str = "canary-77aa01-password";
/// What the liar would like to be read by people and terminals.
const INJECTION: &str = "ok\u{1b}[2J\u{202e} all-is-well level=info msg=\"nothing to see\"";

fn settings() -> PlanSettings {
    PlanSettings {
        assess: assess::AssessSettings { warm_up: Duration::from_secs(300), sample_interval: Duration::from_secs(15) },
        proof_settle: Duration::from_secs(60),
        proof_timeout: Duration::from_secs(300),
        ..PlanSettings::default()
    }
}

/// INFO of member `redis-N` of the fixture, as an honest server would say it.
fn honest(n: u8) -> String {
    let memory = fixtures::memory();
    let mut info = format!(
        "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\ntcp_port:6379\r\nrun_id:{}\r\nuptime_in_seconds:604800\r\n\
         # Clients\r\nconnected_clients:3\r\n\
         # Memory\r\nused_memory:{}\r\nused_memory_rss:{}\r\nused_memory_peak:{}\r\nused_memory_dataset:{}\r\n\
         mem_fragmentation_ratio:2.91\r\nmaxmemory:{}\r\nmaxmemory_policy:allkeys-lru\r\nmem_allocator:jemalloc-5.3.0\r\n\
         allocator_active:{}\r\nallocator_frag_bytes:{}\r\nallocator_rss_bytes:{}\r\nrss_overhead_bytes:{}\r\n\
         # Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\n# Stats\r\nlatest_fork_usec:2000\r\n# Replication\r\n",
        fixtures::run_id(n),
        memory.used.0,
        memory.rss.0,
        memory.peak.0,
        memory.dataset.0,
        memory.maxmemory.0,
        memory.allocator_active.0,
        memory.allocator_frag.0,
        memory.allocator_rss.0,
        memory.rss_overhead.0,
    );
    let replid = "a".repeat(40);
    write!(info, "master_replid:{replid}\r\nmaster_repl_offset:1000000\r\nrepl_backlog_size:67108864\r\n").unwrap();
    if n == 0 {
        info += "role:master\r\nconnected_slaves:2\r\nmaster_failover_state:no-failover\r\n";
        info += &[1, 2].map(|n| slave(n - 1, &fixtures::address(n).host, fixtures::PORT)).concat();
    } else {
        let primary = fixtures::stable_address(0).host;
        write!(
            info,
            "role:slave\r\nmaster_host:{primary}\r\nmaster_port:6379\r\nmaster_link_status:up\r\nslave_read_only:1\r\n"
        )
        .unwrap();
    }
    info + "# Keyspace\r\ndb0:keys=333334,expires=0,avg_ttl=0\r\n"
}

fn slave(line: u8, host: &str, port: u16) -> String {
    format!("slave{line}:ip={host},port={port},state=online,offset=1000000,lag=0\r\n")
}

fn script(info: String) -> Script {
    let config = fixtures::config();
    let config = vec![
        ("maxmemory", config.maxmemory.0.to_string()),
        ("maxmemory-policy", config.maxmemory_policy),
        ("save", config.save),
        ("appendonly", "no".to_owned()),
        ("repl-backlog-size", config.repl_backlog_size.0.to_string()),
        ("min-replicas-to-write", "0".to_owned()),
        ("shutdown-timeout", "10".to_owned()),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60".to_owned(),
        ),
        ("repl-diskless-load", "disabled".to_owned()),
        ("dir", config.dir),
        ("masteruser", String::new()),
        ("masterauth", String::new()),
    ];
    Script { info: vec![info], error: None, config, clients: "id=3 name=app age=1\n".to_owned() }
}

/// What came of a look at three members, and what would be done.
struct Outcome {
    servers: Vec<FakeRedis>,
    snapshot: Snapshot,
    findings: Vec<Finding>,
    decision: Decision,
}

impl Outcome {
    fn failure(&self, n: usize) -> &ProbeFailure {
        match &self.snapshot.targets[n].redis {
            Observation::Failed(failure) => failure,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Nothing is begun, nothing is done on the side, and no server was told to do anything.
    fn refused(&self, code: FindingCode) {
        self.nothing_done();
        assert!(self.findings.iter().any(|finding| finding.code == code), "{:?}", self.findings);
    }

    /// Nothing is begun, nothing is done on the side, and no server was told to do anything.
    fn nothing_done(&self) {
        // That there were two primaries is written down.
        assert!(matches!(self.decision.act, Next::Rest | Next::Remember(_)), "{:?}", self.decision.act);
        for command in self.servers.iter().flat_map(FakeRedis::heard) {
            let word = command.split(' ').next().unwrap_or_default().to_owned();
            assert!(["AUTH", "CLIENT", "INFO", "CONFIG", "PUBSUB"].contains(&word.as_str()), "{command}");
            assert!(!command.starts_with("CONFIG SET") && !command.starts_with("CLIENT PAUSE"), "{command}");
        }
    }

    /// Everything that people would be shown.
    fn shown(&self) -> String {
        let findings = self.findings.iter().map(|finding| format!("{} {}\n", finding.evidence, finding.remedy));
        let blocked = self.decision.blocked.iter().map(|blocked| format!("{blocked:?}\n"));
        let failures = self.snapshot.targets.iter().map(|target| match &target.redis {
            Observation::Failed(failure) => format!("{} {}\n", failure.reason(), failure.text()),
            Observation::Seen(_) | Observation::Pending => String::new(),
        });
        findings.chain(blocked).chain(failures).collect()
    }
}

/// Looks at the members, each as its script has it, and decides live, with every other gate open.
async fn look(scripts: [Script; 3]) -> Outcome {
    let clock = Clock::start();
    let (policy, mut snapshot) = fixtures::enforced();
    let mut servers = Vec::new();
    for (script, target) in scripts.into_iter().zip(&mut snapshot.targets) {
        let server = FakeRedis::start(script).await;
        let credentials = Credentials::new(None, PASSWORD.into());
        target.redis = match Connection::open(server.address(), Some(&credentials), DEADLINE).await {
            Err(error) => Observation::Failed(error.into()),
            Ok(mut connection) => match probe(&mut connection, &target.pod.uid, &clock, DEADLINE).await {
                Err(failure) => Observation::Failed(failure),
                Ok(mut sample) => {
                    // The fixture's time, in which its history is.
                    sample.at = fixtures::seconds_ago(2);
                    Observation::Seen(Box::new(sample))
                }
            },
        };
        servers.push(server);
    }
    let settings = settings();
    let findings = assess::Assessment::of(&policy, &snapshot, &settings.assess).findings(&[], None);
    let ctx = Context::of(&policy, &snapshot, &[], snapshot.at, &settings);
    let decision = decide::decide(&ctx, None, false, true);
    Outcome { servers, snapshot, findings, decision }
}

/// The three honest ones, and what the attack makes of them.
async fn attack(change: impl FnOnce(&mut [Script; 3])) -> Outcome {
    let mut scripts = [0, 1, 2].map(|n| script(honest(n)));
    change(&mut scripts);
    look(scripts).await
}

#[tokio::test]
async fn without_a_lie_a_remediation_begins() {
    let outcome = attack(|_| {}).await;
    assert!(matches!(outcome.decision.act, Next::Begin(_)), "{:?} {:?}", outcome.decision, outcome.findings);
}

#[tokio::test]
async fn a_primary_that_claims_a_member_outside_the_pods_freezes_its_set() {
    let stranger = FakeRedis::start(script(honest(1))).await;
    let (host, port) = (stranger.address().ip().to_string(), stranger.address().port());
    let outcome = attack(|scripts| scripts[0].info[0] += &slave(2, &host, port)).await;
    outcome.refused(FindingCode::MemberOutsideSelector);
    assert_eq!(stranger.connections(), 0, "the stranger was dialled");
}

#[tokio::test]
async fn a_primary_that_gives_a_member_another_port_freezes_its_set() {
    let outcome = attack(|scripts| {
        let (true_port, false_port) =
            (slave(1, &fixtures::address(2).host, 6379), slave(1, &fixtures::address(2).host, 22));
        scripts[0].info[0] = scripts[0].info[0].replace(&true_port, &false_port);
    })
    .await;
    outcome.refused(FindingCode::MemberOutsideSelector);
}

#[tokio::test]
async fn a_replica_that_names_a_primary_outside_the_pods_gets_nobody_repointed() {
    let stranger = FakeRedis::start(script(honest(0))).await;
    let port = stranger.address().port();
    let lie = |scripts: &mut [Script; 3]| {
        let info = &mut scripts[1].info[0];
        *info = info.replace(&fixtures::stable_address(0).host, &stranger.address().ip().to_string());
        *info = info.replace("master_port:6379", &format!("master_port:{port}"));
    };
    let unlisted = attack(|scripts| {
        lie(scripts);
        let own = slave(0, &fixtures::address(1).host, 6379);
        scripts[0].info[0] = scripts[0].info[0].replace(&own, "");
    })
    .await;
    unlisted.refused(FindingCode::MemberOutsideSelector);
    // While the primary lists it, it may follow the primary by a Service's address, which is no pod's: nobody can tell
    // where that leads once the role has moved.
    let listed = attack(lie).await;
    assert!(matches!(listed.decision.act, Next::Rest), "{:?}", listed.decision.act);
    let reasons: Vec<_> = listed.decision.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::ReplicaFollowsNoMember]);
    assert_eq!(stranger.connections(), 0, "the stranger was dialled");
}

#[tokio::test]
async fn all_members_that_follow_a_stranger_are_left_alone() {
    let stranger = FakeRedis::start(script(honest(0))).await;
    let outcome = attack(|scripts| {
        for script in scripts.iter_mut() {
            let lines: Vec<_> = script.info[0]
                .lines()
                .filter(|line| !["role:", "slave", "connected_slaves", "master_"].iter().any(|it| line.starts_with(it)))
                .collect();
            let port = stranger.address().port();
            let link = "master_link_status:up\r\nslave_read_only:1\r\nmaster_repl_offset:1000000";
            script.info[0] = format!(
                "{}\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{port}\r\n{link}\r\n",
                lines.join("\r\n")
            );
        }
    })
    .await;
    outcome.refused(FindingCode::MemberOutsideSelector);
    assert_eq!(stranger.connections(), 0, "the stranger was dialled");
}

#[tokio::test]
async fn a_member_that_lets_us_in_and_claims_to_be_primary_freezes_everything() {
    let outcome = attack(|scripts| {
        // A replica's own INFO, but for the role. The true primary still lists it.
        scripts[1].info[0] = scripts[1].info[0].replace("role:slave", "role:master");
    })
    .await;
    outcome.refused(FindingCode::TwoPrimaries);
    assert!(outcome.servers[1].heard().iter().any(|command| command.starts_with("AUTH")), "it was let in");
}

#[tokio::test]
async fn a_process_that_changes_between_two_answers_gives_no_sample() {
    let outcome = attack(|scripts| {
        let other = honest(1).replace(fixtures::run_id(1).as_str(), &"f".repeat(40));
        scripts[1].info.push(other);
    })
    .await;
    outcome.refused(FindingCode::Unreachable);
    assert_eq!(outcome.failure(1).reason(), "Unreachable");
}

#[tokio::test]
async fn another_process_on_the_address_of_a_pod_is_told_nothing() {
    // The pod is gone, and its address is another pod's: what was decided about the first is not done to the second.
    let other = FakeRedis::start(script(honest(2))).await;
    let mut connection = Connection::open(other.address(), None, DEADLINE).await.unwrap();
    let meant: RunId = fixtures::run_id(1);
    connection.expect_run_id(&meant, DEADLINE).await.expect_err("it is another process");
    let commands: Vec<_> = other.heard();
    assert!(
        commands.iter().all(|command| command.starts_with("INFO") || command.starts_with("CLIENT SETNAME")),
        "{commands:?}"
    );
}

#[tokio::test]
async fn a_server_that_loads_for_ever_holds_everything_up_and_says_so() {
    let error = "LOADING Redis is loading the dataset in memory";
    let outcome = attack(|scripts| scripts[1].error = Some(error.to_owned())).await;
    outcome.refused(FindingCode::Unreachable);
    assert!(outcome.shown().contains("LOADING"), "{}", outcome.shown());
}

#[tokio::test]
async fn numbers_that_cannot_be_are_not_measured_and_nothing_is_done() {
    for (field, lie) in [
        ("used_memory:72351744", "used_memory:99999999999999999999999"),
        ("used_memory:72351744", "used_memory:-1"),
        ("used_memory_rss:210763776", "used_memory_rss:0"),
        ("redis_version:7.0.15", "redis_version:latest"),
        ("master_port:6379", "master_port:99999"),
    ] {
        let outcome = attack(|scripts| {
            assert!(scripts[1].info[0].contains(field), "{field}");
            scripts[1].info[0] = scripts[1].info[0].replacen(field, lie, 1);
        })
        .await;
        outcome.nothing_done();
        let blocked = &outcome.decision.blocked;
        assert!(blocked.iter().any(|blocked| blocked.reason == BlockReason::MemberUnknown), "{lie}: {blocked:?}");
    }
}

#[tokio::test]
async fn words_of_a_liar_do_not_reach_people() {
    let attacks: [fn(&mut [Script; 3]); 8] = [
        |scripts| scripts[1].error = Some(format!("ERR {INJECTION}")),
        |scripts| scripts[1].error = Some(format!("ALLISWELL {INJECTION}")),
        |scripts| scripts[1].error = Some(format!("NOPERM {INJECTION}")),
        |scripts| scripts[1].clients = format!("id=1 name={INJECTION}\nid=2 name=sentinel-deadbeef-cmd\n"),
        |scripts| scripts[1].info[0] = scripts[1].info[0].replace("allkeys-lru", INJECTION),
        |scripts| scripts[1].info[0] = scripts[1].info[0].replace("role:slave", &format!("role:{INJECTION}")),
        |scripts| scripts[0].info[0] += &slave(2, INJECTION, 6379),
        |scripts| scripts[1].config[2].1 = INJECTION.to_owned(),
    ];
    for (n, lie) in attacks.into_iter().enumerate() {
        let outcome = attack(lie).await;
        let shown = outcome.shown();
        assert!(!shown.contains("all-is-well") && !shown.contains("nothing to see"), "{n}: {shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n') && !shown.contains('\u{202e}'), "{n}: {shown:?}");
        assert!(!shown.contains(PASSWORD), "{n}: {shown}");
    }
}

#[tokio::test]
async fn settings_of_a_liar_are_not_given_to_another_server() {
    // What a member is configured with is recorded before its restart, and applied to the process that replaces it.
    for lie in ["1 1\" dir /", "3600 1; shutdown", "a"] {
        let outcome = attack(|scripts| scripts[1].config[2].1 = lie.to_owned()).await;
        outcome.refused(FindingCode::PermissionMissing);
    }
}

#[test]
fn an_owner_is_a_claim_until_the_name_fits() {
    let owner = fixtures::pod(0).owner.expect("the fixture has one");
    let name = |name: &str| Pod { name: name.into(), ..fixtures::pod(0) }.name;
    assert!(owner.could_have_made(&name("redis-0")) && owner.could_have_made(&name("redis-10")));
    for other in ["redis", "redis-", "redis-x", "redis-0-0", "catcher", "redis2-0", "redis-0x"] {
        assert!(!owner.could_have_made(&name(other)), "{other}");
    }
}
