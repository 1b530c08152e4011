//! The exact command for the person, by what was found: with namespace, names and container, and what it does to pods.

use super::{
    super::{
        Input,
        sets::{self, SetSeen, Writes},
    },
    memory::{self, To},
    next::patch as patch_policy,
    pods,
    ruling::{self, Ruling},
    sentinels,
};
use crate::{
    assess::{obstacle::Obstacle, roles},
    domain::{
        blocked::{BlockReason as Reason, Blocked},
        finding::{FindingCode as Code, advice},
        names::PodName,
        not_given::NotGiven,
        pod::StatefulSet,
        sample::{Engine, Role},
        snapshot::Target,
        start,
        tls::TlsRule,
    },
};

/// Findings whose command does what their remedy says.
const SAID: &[Code] = &[
    Code::RssNearLimit,
    Code::HeadroomInsufficient,
    Code::PrimaryEmpty,
    Code::UtilizationCritical,
    Code::UtilizationWarning,
    Code::MaxmemoryUnset,
    Code::TemplateTooSmall,
    Code::OomKilled,
    Code::OomKillLoop,
    Code::TwoPrimaries,
    Code::NoTargets,
];

/// What explains that code or reason, with and without the plugin.
pub(super) fn explain(code: &str) -> String {
    let page = if Code::named(code).is_some() { "findings" } else { "blocked-reasons" };
    format!("docs/{page}.md (or, with the plugin of docs/cli.md: kubectl redis-memory explain {code})")
}

/// What the reader does about what rules.
pub(super) fn against(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let remedy = ruling.found().first().map(|finding| finding.remedy.as_str()).unwrap_or_default();
    // What is raised on a replica first is never evicted by it while its primary keeps it.
    let leads = |pod: &PodName| input.sets.iter().any(|set| set.primaries.contains(pod));
    let mut pods = ruling.pods();
    if ruling.code() == Some(Code::EvictionStopsWrites) {
        // A replica says nothing of writes, and is to have what its primary has.
        let of_set = |pod: &PodName| input.sets.iter().find(|set| set.pods.contains(pod)).map(|set| set.pods.clone());
        pods = pods.into_iter().flat_map(|pod| of_set(&pod).unwrap_or_else(|| vec![pod])).collect();
    }
    // What the operator does is not for people; what a quota gives is for all.
    let promised = |pod: &PodName| ruling::is_in_hand(ruling.found().iter().copied(), pod);
    if ruling.code() != Some(Code::HeadroomInsufficient) && !pods.iter().all(promised) {
        pods.retain(|pod| !promised(pod));
    }
    pods.sort_by_key(|pod| leads(pod));
    let target = pods.first().and_then(|pod| input.snapshot.target(pod));
    let exact = match (ruling.code(), target) {
        (Some(Code::RssNearLimit), Some(target)) => memory::raise(input, target, &pods, To::AQuarter),
        (
            Some(Code::UtilizationCritical | Code::UtilizationWarning | Code::EvictionStopsWrites),
            Some(target),
        ) => memory::more_room(input, target, &pods),
        (Some(Code::OomKilled | Code::OomKillLoop), Some(target)) => memory::after_a_kill(input, target, &pods),
        (Some(Code::MaxmemoryUnset), Some(target)) => memory::bound(input, target, &pods),
        (Some(Code::HeadroomInsufficient), Some(target)) => match memory::lacking(input, target) {
            Some((_, Some(full @ (Obstacle::Deferred(_) | Obstacle::Infeasible(_))))) => {
                return memory::smaller(input, target, &full);
            }
            lacking => {
                // What keeps the operator from it is the operator's part.
                memory::raise_to(input, target, &pods, lacking)
            }
        },
        (Some(Code::TemplateTooSmall | Code::LimitMissing), Some(target)) => {
            memory::by_maxmemory(input, target, &pods)
        }
        (Some(Code::EvictionPolicyUnsafe), Some(target)) => input.policy.eviction_allowed.first().map(|allowed| {
            let set = redis_cli(input, target, &format!("CONFIG SET maxmemory-policy {allowed}"));
            format!("{set} (restarts nothing, and holds until the next start: write it into the template too)")
        }),
        (Some(Code::NoPrimary), _) if remedy.starts_with("wait for the pods") => Some(pods::missing(input)),
        (Some(Code::NoPrimary), _) => promote(input, remedy),
        (Some(Code::TwoPrimaries), _) if remedy.starts_with(roles::STOP_THE_WRITERS) => one_of_two(input),
        (Some(Code::PrimaryEmpty), _) => keep_what_is_left(input),
        (Some(Code::TwoPrimaries), _) => {
            let members = input.sets.iter().find(|set| set.primaries.len() > 1 || remedy.contains(&set.name));
            let target =
                members.or_else(|| input.sets.first()).and_then(|set| input.snapshot.target(set.pods.first()?));
            target.map(|target| format!("{} (on each member)", redis_cli(input, target, "INFO replication")))
        }
        (Some(Code::Unreachable | Code::ContainerUnknown), Some(target)) => Some(look_at(input, target)),
        (Some(Code::AuthenticationFailed), _) => input.policy.redis.password.as_ref().map(|secret| {
            format!(
                "kubectl get secret {} -n {} -o jsonpath='{{.data.{}}}' | base64 -d (shows the password: try it with redis-cli, and \
                 mend the Secret or the servers' user, whichever is wrong; the operator then logs in by itself within a \
                 minute)",
                secret.name, input.policy.namespace, secret.key.replace('.', "\\.")
            )
        }),
        (Some(Code::NoTargets), _) => Some(pods::select(input)),
        (None, _) if ruling.reason == ruling::PODS_MISSING => Some(pods::missing(input)),
        (None, _) if ruling.reason == ruling::WRITES_STOPPED => writes_stopped(input),
        (Some(Code::RoleLabelMissing), Some(target)) => relabel(input, target),
        _ => None,
    };
    said(input, ruling, exact, remedy)
}

/// The command first, and what it does not say.
fn said(input: &Input<'_>, ruling: &Ruling<'_>, exact: Option<String>, remedy: &str) -> String {
    match (exact, remedy) {
        (Some(exact), "") => exact,
        // These commands are what the remedy says.
        (Some(exact), _) if SAID.iter().any(|code| ruling.code() == Some(*code)) => exact,
        (Some(exact), _) if ruling.code() == Some(Code::EvictionStopsWrites) => {
            format!("{exact}; {}{}", largest_keys(input, ruling), afterwards(ruling))
        }
        // Once is enough.
        (Some(exact), remedy) => format!("{exact}; {}", remedy.replacen(&format!(": {exact}"), "", 1)),
        (None, "") => "nothing now".to_owned(),
        (None, remedy) => format!("{}; {} says more", advice(remedy, afterwards(ruling)), explain(&ruling.reason)),
    }
}

/// What is left to a person when the remedy of what rules is done.
fn afterwards<'a>(ruling: &Ruling<'a>) -> &'a str {
    ruling.found().first().map(|finding| finding.remedy_afterwards.as_str()).unwrap_or_default()
}

/// How a person finds out which keys take the memory: nothing here knows. A replica is asked, where there is one.
fn largest_keys(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let pods = ruling.pods();
    let Some(set) = input.sets.iter().find(|set| set.pods.iter().any(|pod| pods.contains(pod))) else {
        return String::new();
    };
    let answers = |pod: &PodName| input.snapshot.target(pod).filter(|target| target.sample().is_some());
    let mut replicas = set.pods.iter().filter(|pod| !set.primaries.contains(pod));
    let (target, slowly) = match replicas.find_map(answers) {
        Some(replica) => (replica, "--memkeys"),
        // A pause after every hundred keys, for clients wait meanwhile.
        None => match set.primaries.iter().find_map(answers) {
            Some(primary) => (primary, "--memkeys -i 0.1"),
            None => return String::new(),
        },
    };
    format!(
        "which keys take the memory is not known here: {} names the largest (twice, some time apart: what grows); then ",
        redis_cli(input, target, slowly)
    )
}

/// Where a set takes no writes: what its replicas or its primary say.
fn writes_stopped(input: &Input<'_>) -> Option<String> {
    let set = input.sets.iter().find(|set| matches!(set.writes, Writes::Stopped(_) | Writes::Pause(_)));
    // Where replicas are missing they are to be looked at, else the primary.
    let alone = set.filter(|set| matches!(&set.writes, Writes::Stopped(why) if why.contains("replicas")));
    let replica = alone.and_then(|set| set.pods.iter().find(|pod| !set.primaries.contains(pod)));
    let pod = replica.or_else(|| set.and_then(|set| set.primaries.first()));
    let looked = pod.and_then(|pod| input.snapshot.target(pod)).map(|target| look_at(input, target));
    let primary = alone.and_then(|set| input.snapshot.target(set.primaries.first()?));
    let without = primary.map_or_else(String::new, |primary| {
        format!(
            " (lines with MASTER, auth or timeout say why it does not follow). If writes have to go on without a replica: \
             {}; what is written then is lost should it die",
            redis_cli(input, primary, "CONFIG SET min-replicas-to-write 0")
        )
    });
    looked.map(|looked| looked + &without)
}

/// The exact command that lifts that refusal, where there is one.
pub(super) fn lifting(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let named = || {
        let mut targets = input.snapshot.targets.iter();
        targets.find(|target| blocked.text.split([' ', ':', ',', '\'']).any(|word| word == target.pod.name.as_str()))
    };
    match blocked.reason {
        Reason::Suspended => Some(patch_policy(input, r#"{"spec":{"suspend":false}}"#, "lets the operator go on")),
        Reason::DowntimeNotAllowed => Some(format!(
            "in a quiet hour, for the primary then stops, and there are no writes and no reads from it while it restarts and loads: {}",
            patch_policy(
                input,
                r#"{"spec":{"restart":{"allowDowntime":true}}}"#,
                "the operator then begins within a minute; set it back to false afterwards"
            )
        )),
        Reason::TooFewReplicas if blocked.text.contains("missing pods") => Some(pods::missing(input)),
        Reason::TooFewReplicas => Some(format!(
            "better add a replica{}; else, the primary being the only copy while its replica restarts: {}",
            pods::one_more(input).map_or_else(String::new, |more| format!(": {more}")),
            patch_policy(
                input,
                r#"{"spec":{"restart":{"minimumSyncedReplicas":0}}}"#,
                "the operator then begins by itself"
            )
        )),
        Reason::ChainedReplicas => input.sets.iter().find_map(|set| unchain(input, set)),
        Reason::FullSyncHeadroom => Some(memory::raise_feeder(input, named())),
        Reason::OomCauseRemains => named().and_then(|target| {
            memory::raise_to(input, target, std::slice::from_ref(&target.pod.name), memory::lacking(input, target))
        }),
        Reason::ReplicaNotSynced => named().map(|target| {
            let look = look_at(input, target);
            format!(
                "nothing now; in working hours, if it is still so: {look}; lines with MASTER, auth or timeout say why"
            )
        }),
        Reason::SentinelsNotReady => {
            sentinels::ask(input, blocked).map(|ask| format!("nothing now; in working hours, if it is still so: {ask}"))
        }
        Reason::SentinelsUnfit => sentinels::forget(input, &blocked.text),
        Reason::MemberUnknown | Reason::MemberNotReady if ruling::not_running(input).next().is_some() => {
            Some(pods::missing(input))
        }
        Reason::MemberUnknown => named().map(|target| look_at(input, target)),
        Reason::TemplateTooSmall => memory::by_maxmemory(input, named()?, &[]),
        Reason::ResizeRefused => memory::lets(input, &NotGiven::read(&blocked.text), &[])
            .or_else(|| named().map(|target| look_at(input, target))),
        Reason::PersistenceFailing => named().map(|target| look_at(input, target)),
        Reason::DisruptionBudget if blocked.text.contains("never") => one_at_a_time(input, blocked),
        Reason::EvictionWouldRollOut => let_roll_out(input, blocked),
        Reason::PermissionMissing if blocked.text.contains("acting.") => {
            let value = blocked.text.split([' ', ',', ';']).find(|word| word.starts_with("acting."))?;
            Some(format!(
                "restarts only the operator: helm upgrade RELEASE CHART -n ITS_NAMESPACE --reset-then-reuse-values --set {value} (helm \
                 list -A names the release; CHART as it was installed)"
            ))
        }
        _ => None,
    }
}

/// Lets a budget that never allows an eviction allow one pod at a time.
fn one_at_a_time(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let mut budgets = input.snapshot.budgets.iter().flatten();
    let budget = budgets.find(|budget| blocked.text.contains(&budget.name))?;
    Some(format!(
        "kubectl edit pdb {} -n {} (maxUnavailable: 1 instead of what it has lets one pod restart at a time)",
        budget.name, input.policy.namespace
    ))
}

/// Ends a change of a template that no pod, or not every pod, has got yet.
fn let_roll_out(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let (sets, namespace) = (&input.snapshot.stateful_sets, &input.policy.namespace);
    let says = |set: &&StatefulSet| blocked.text.split([' ', ':']).any(|word| word == set.name);
    let set = sets.iter().find(says).or_else(|| sets.first())?;
    Some(if set.on_delete {
        format!(
            "kubectl rollout undo statefulset/{} -n {namespace} (takes the pending change back; or let it in, by kubectl delete pod \
             for one pod after the other, a primary last: its strategy is OnDelete)",
            set.name
        )
    } else {
        format!(
            "kubectl rollout status statefulset/{} -n {namespace} (let the pending change roll out, or take it back: kubectl rollout undo)",
            set.name
        )
    })
}

/// Keeps one of several primaries of which nobody else decides, and a copy of what the other has: first whom clients write to,
/// for nobody is listed once they are stopped. Of two by name; the one with more keys comes first.
fn one_of_two(input: &Input<'_>) -> Option<String> {
    let set = input.sets.iter().find(|set| set.primaries.len() > 1)?;
    let keys = |target: &Target| target.sample().map(|sample| sample.keys);
    let mut primaries: Vec<&Target> = set.primaries.iter().filter_map(|pod| input.snapshot.target(pod)).collect();
    primaries.sort_by_key(|target| (std::cmp::Reverse(keys(target)), &target.pod.name));
    let [kept, other, ..] = primaries.as_slice() else { return None };
    let each = sets::list(&primaries.iter().map(|target| target.pod.name.clone()).collect::<Vec<_>>());
    let directory = other.sample()?.config.as_ref().map_or("DIR", |config| config.dir.as_str());
    let container = &other.pod.container.as_ref().ok()?.name;
    let (namespace, kept_pod, other_pod) = (&input.policy.namespace, &kept.pod.name, &other.pod.name);
    let log = format!("kubectl logs {other_pod} -n {namespace} -c {container} | grep 'MASTER MODE'");
    Some(format!(
        "(1) {} on each of {each}: the one to which clients write stays (cmd= of their lines), or if both, {kept_pod}, which has no \
         fewer keys. (2) Stop the writers, or on each: {} (ten minutes). (3) Save the one that goes, here {other_pod}: {}; when its \
         INFO persistence has rdb_bgsave_in_progress:0 and rdb_last_bgsave_status:ok: kubectl cp -c {container} \
         {namespace}/{other_pod}:{directory}/dump.rdb {other_pod}.rdb. (4) To keep {kept_pod}: {}; to keep {other_pod}: {} (this restarts \
         nothing; the one that goes loses what only it has; tell each of its replicas the same, INFO replication lists them). (5) \
         CLIENT UNPAUSE on each. Who made a primary: {log}",
        redis_cli(input, kept, "CLIENT LIST TYPE normal"),
        redis_cli(input, kept, "CLIENT PAUSE 600000 WRITE"),
        redis_cli(input, other, "BGSAVE"),
        follow(input, other, kept)?,
        follow(input, kept, other)?,
    ))
}

/// How the primaries of a Redis Cluster, which have no replica that is selected, get one each before they are restarted.
pub(super) fn replicas_first(input: &Input<'_>) -> Option<String> {
    input.blocked.iter().find(|blocked| blocked.reason == Reason::ClusterMode)?;
    let primaries = || input.sets.iter().filter_map(|set| input.snapshot.target(set.primaries.first()?));
    let first = primaries().next()?;
    let set = input.snapshot.stateful_set(&first.pod.owner.as_ref()?.uid)?;
    let twice = set.replicas.saturating_add(u32::try_from(primaries().count()).ok()?);
    let (address, port) = (first.pod.addresses.first()?, first.pod.container.as_ref().ok()?.port);
    Some(format!(
        ". First (1) {} (a replica that is not selected is a line with slave). (2) Where there is none: kubectl scale statefulset/{} -n \
         {} --replicas={twice}, and for each new pod: {} (NEW_IP: its address). (3) Then each primary \
         in turn: when its replica shows master_link_status:up, on that replica: {}; when that is primary: kubectl delete pod \
         {} -n {} (or the next; it restarts that pod only; without a volume it comes back as no member: (2) for it, from a pod \
         that is one)",
        redis_cli(input, first, "CLUSTER NODES"),
        set.name,
        input.policy.namespace,
        redis_cli(input, first, &format!("--cluster add-node NEW_IP:{port} {address}:{port} --cluster-slave")),
        redis_cli_in("REPLICA", input, first, "CLUSTER FAILOVER"),
        first.pod.name,
        input.policy.namespace,
    ))
}

/// Keeps what replicas still hold of a primary that came back empty, and how it goes on with that, or without.
fn keep_what_is_left(input: &Input<'_>) -> Option<String> {
    let keys = |target: &Target| target.sample().map(|sample| sample.keys);
    let set = input.sets.iter().find(|set| {
        let primary = set.primaries.first().and_then(|pod| input.snapshot.target(pod));
        primary.and_then(keys) == Some(0)
    })?;
    let primary = input.snapshot.target(set.primaries.first()?)?;
    let members = set.pods.iter().filter_map(|pod| input.snapshot.target(pod));
    let holder =
        members.filter(|it| keys(it) > Some(0)).max_by_key(|it| (keys(it), std::cmp::Reverse(&it.pod.name)))?;
    let (from, to, held) = (&primary.pod.name, &holder.pod.name, keys(holder)?);
    Some(format!(
        "(1) {} ({to} keeps its {held} keys, which its next full sync would wipe; restarts nothing). (2) Decide: with those, {}, and let \
         clients write to {to}; or empty, as {from} is, {} (wipes {to})",
        redis_cli(input, holder, "REPLICAOF NO ONE"),
        follow(input, primary, holder)?,
        follow(input, holder, primary)?,
    ))
}

/// Lets that server follow that one.
fn follow(input: &Input<'_>, who: &Target, whom: &Target) -> Option<String> {
    let (port, address) = (whom.replication_port()?, whom.pod.addresses.first()?);
    Some(redis_cli(input, who, &format!("REPLICAOF {address} {port}")))
}

/// Promotes the member that has everything, where all are of one history and nobody else decides.
fn promote(input: &Input<'_>, remedy: &str) -> Option<String> {
    if !remedy.starts_with("this operator never promotes") {
        return None;
    }
    let set = input.sets.iter().find(|set| set.primaries.is_empty() && set.silent.is_empty())?;
    let members: Vec<&Target> = set.pods.iter().filter_map(|pod| input.snapshot.target(pod)).collect();
    let mut samples = members.iter().filter_map(|target| target.sample());
    let history = &samples.next()?.replication.replid;
    if samples.any(|sample| sample.replication.replid != *history) {
        return None;
    }
    let offset = |target: &Target| target.sample().map(|sample| sample.replication.offset);
    let best = members.iter().max_by_key(|target| (offset(target), std::cmp::Reverse(&target.pod.name)))?;
    Some(format!(
        "{} (its offset is the highest; writes go on from then, restarts nothing)",
        redis_cli(input, best, "REPLICAOF NO ONE")
    ))
}

/// Lets the replicas of that set that follow another replica follow the primary. `None`: there is none, or it is not known by what
/// address the primary is followed.
pub(super) fn unchain(input: &Input<'_>, set: &SetSeen) -> Option<String> {
    let ([(replica, _), rest @ ..], [primary]) = (set.chained.as_slice(), set.primaries.as_slice()) else {
        return None;
    };
    let of_chain = |pod: &PodName| set.chained.iter().any(|(replica, _)| replica == pod);
    let link = |pod: &PodName| match &input.snapshot.target(pod)?.sample()?.replication.role {
        Role::Replica(link) => Some(link.primary.clone()),
        Role::Primary | Role::Unknown => None,
    };
    // As the others follow it.
    let followed = set.pods.iter().filter(|pod| !of_chain(pod)).find_map(link)?;
    let others: Vec<PodName> = rest.iter().map(|(replica, _)| replica.clone()).collect();
    let also = if others.is_empty() { String::new() } else { format!("; the same for {}", sets::list(&others)) };
    let mut middles: Vec<PodName> = set.chained.iter().map(|(_, above)| above.clone()).collect();
    middles.sort_unstable();
    middles.dedup();
    Some(format!(
        "{} (restarts nothing, at worst a full sync{also}; write it into what they start with too: until every replica follows the \
         primary, {} and {primary} are not restarted)",
        redis_cli(input, input.snapshot.target(replica)?, &format!("REPLICAOF {} {}", followed.host, followed.port)),
        sets::list(&middles)
    ))
}

/// A command for that server.
pub(super) fn redis_cli(input: &Input<'_>, target: &Target, command: &str) -> String {
    redis_cli_in(target.pod.name.as_str(), input, target, command)
}

/// The same in that pod, which is like the target's.
fn redis_cli_in(pod: &str, input: &Input<'_>, target: &Target, command: &str) -> String {
    let redis = &input.policy.redis;
    let container = target.pod.container.as_ref().map_or("redis", |container| container.name.as_str());
    let port = target.pod.container.as_ref().map_or(6379, |container| container.port);
    let valkey = target.sample().is_some_and(|sample| sample.server.engine == Engine::Valkey);
    let program = if valkey { "valkey-cli" } else { "redis-cli" };
    let login = if redis.password.is_some() { " --askpass" } else { "" };
    let tls = redis.tls.as_ref().map_or_else(String::new, |rule| over_tls(input, Some(target), rule));
    format!(
        "kubectl exec -it {pod} -n {} -c {container} -- {program} -p {port}{tls}{login} {command}",
        input.policy.namespace
    )
}

/// Stand for files whose place in the container is not known.
const CA_FILE: &str = "CA_FILE";
const CERT_FILE: &str = "CERT_FILE";
const KEY_FILE: &str = "KEY_FILE";

/// Without the authority no certificate is accepted, and without one of its own nobody is let in by a server that asks for one:
/// by the files that the server itself is started with, where its arguments name them.
pub(super) fn over_tls(input: &Input<'_>, target: Option<&Target>, rule: &TlsRule) -> String {
    let started = |setting: &str| {
        let pod = &target?.pod;
        let set = input.snapshot.stateful_set(&pod.owner.as_ref()?.uid)?;
        let file = set.start_value(&pod.container.as_ref().ok()?.name, setting)?;
        // It becomes a word of a shell.
        file.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)).then_some(file)
    };
    let ca = started(start::TLS_CA).unwrap_or(CA_FILE);
    let own = rule.client_cert.as_ref().map_or_else(String::new, |_| {
        let (cert, key) = (started(start::TLS_CERT), started(start::TLS_KEY));
        format!(" --cert {} --key {}", cert.unwrap_or(CERT_FILE), key.unwrap_or(KEY_FILE))
    });
    format!(" --tls --cacert {ca}{own}")
}

/// That command, and what its words stand for that are no names of files.
pub(super) fn with_files(input: &Input<'_>, command: String) -> String {
    let redis = &input.policy.redis;
    let rules = redis.tls.iter().chain(redis.sentinel.iter().filter_map(|sentinel| sentinel.tls.as_ref()));
    let Some(rule) = rules.into_iter().next() else { return command };
    let has = |word: &str| command.split(' ').any(|one| one == word);
    let mut said = Vec::new();
    if has(CA_FILE) {
        said.push(format!(
            "{CA_FILE} is where the container has the authority of Secret {} ({})",
            rule.ca.name, rule.ca.key
        ));
    }
    if has(CERT_FILE) || has(KEY_FILE) {
        let secret = rule.client_cert.as_deref().unwrap_or_default();
        said.push(format!(
            "{CERT_FILE} and {KEY_FILE} where it has a certificate from there with its key: its own, or that of Secret {secret}"
        ));
    }
    if said.is_empty() { command } else { format!("{command}; {}", said.join(", ")) }
}

/// Gives a pod the role label of what its server is.
fn relabel(input: &Input<'_>, target: &Target) -> Option<String> {
    let label = &input.policy.redis.role_label;
    let value = label.value_of(&target.sample()?.replication.role)?;
    let (pod, namespace) = (&target.pod.name, &input.policy.namespace);
    Some(format!("kubectl label pod {pod} -n {namespace} --overwrite {}={value}", label.key))
}

/// What the pod and its server say.
fn look_at(input: &Input<'_>, target: &Target) -> String {
    let (pod, namespace) = (&target.pod.name, &input.policy.namespace);
    let container =
        target.pod.container.as_ref().map_or_else(|_| String::new(), |container| format!(" -c {}", container.name));
    format!(
        "kubectl describe pod {pod} -n {namespace} (its events), then kubectl logs {pod} -n {namespace}{container} --tail=50 (its log)"
    )
}
