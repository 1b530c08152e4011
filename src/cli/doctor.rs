//! `doctor`: which Redis sets a namespace has, how each works, and the policy that fits. Nothing is changed.

mod access;
mod clients;
mod found;
mod policy;
mod report;
mod selector;
mod users;

use std::{collections::BTreeMap, io, net::IpAddr, process::ExitCode, sync::Arc};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::ResourceExt;

use self::{
    access::Access,
    clients::Way,
    found::{Maker, Namespace, RedisSet},
    report::{Looked, Told},
};
use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    judgement::Judgement,
    layout::{line, paragraph},
    live::{self, ReachArgs},
    output,
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    assess::Assessment,
    clock::Clock,
    domain::{
        blocked::Blocked,
        pod::Owner,
        recognition::Shape,
        sample::{Role, Version},
        snapshot::{Observation, ProbeFailure, Snapshot, Target},
    },
    kube_io::{
        error::{Cause, KubeError},
        read::Reader,
    },
    observe::pods::owner,
    plan::{Context, PlanSettings, begin},
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "From outside of the cluster, where the addresses of pods lead nowhere, add --port-forward: else only what \
                  Kubernetes objects show is said.

Exit code: 0 looked, 3 could not look."
)]
pub(super) struct Args {
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Read the passwords of the sets from their Secrets, with your own rights, and log in to Redis with them.
    #[arg(long)]
    read_secrets: bool,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Shown::Text)]
    output: Shown,
}

/// How the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    /// For people.
    Text,
    /// Only the policies, for kubectl apply.
    Yaml,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum DoctorError {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error("the answer cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Looks and prints.
pub(super) fn main(args: &Args) -> ExitCode {
    match doctor(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("cannot look: {error}"), COULD_NOT_LOOK),
    }
}

fn doctor(args: &Args) -> Result<(), DoctorError> {
    let text = cluster::ask(look(args))?;
    output::print(args.output == Shown::Text, &text).map_err(DoctorError::Write)
}

async fn look(args: &Args) -> Result<String, CannotAsk> {
    let cluster = args.cluster.connect().await?;
    let reader = Reader::new(cluster.client.clone(), Clock::start());
    args.reach.prepare(&cluster, &[cluster.namespace.as_str()]).await?;
    output::progress(&format!("looking at the pods of namespace {} …", cluster.namespace));
    let mut namespace = read(&reader, &cluster.namespace).await?;
    let (policies, defined) = match cluster.policies(false).list().await {
        Ok((policies, _)) => (policies, true),
        // Without the definition there is no policy; doctor is what people run before they install it.
        Err(KubeError::ListPolicies(Cause::Refused { code: 404, .. })) => (Vec::new(), false),
        Err(error) => return Err(error.into()),
    };
    let mut sets = found::sets(&namespace);
    let mut fits = fits(&cluster, &namespace, &sets, args.read_secrets).await?;
    // What a server follows may stand in a file that Kubernetes does not show.
    namespace.told = fits.iter().flat_map(|fit| fit.looked.follows.clone()).collect();
    // And who the Sentinels are that watch it, nothing else shows where they are no part of its release.
    namespace.watched_from = fits.iter().flat_map(|fit| fit.looked.watched_from.clone()).collect();
    let together = found::sets(&namespace);
    let sentinels = |sets: &[RedisSet]| sets.iter().map(|set| set.sentinels.clone()).collect::<Vec<_>>();
    if together.len() < sets.len() || sentinels(&together) != sentinels(&sets) {
        fits = self::fits(&cluster, &namespace, &together, args.read_secrets).await?;
        sets = together;
    }
    let mut out = String::new();
    let mut taken: Vec<String> = policies.iter().map(ResourceExt::name_any).collect();
    let mut first = None;
    if args.output == Shown::Text {
        head(&mut out, &namespace.name, &sets);
    }
    for (set, fit) in sets.iter().zip(fits) {
        let watched_by = watched_by(&policies, set);
        let name = found::unused(&set.name, &taken);
        let document = fit.document(&name, &namespace.name, set);
        if watched_by.is_none() {
            if document.is_some() {
                first.get_or_insert_with(|| name.clone());
            }
            taken.push(name);
        }
        match args.output {
            Shown::Text => {
                let told = Told { namespace: &namespace.name, set, fit };
                told.text(&mut out, watched_by.as_deref(), document.as_deref());
            }
            Shown::Yaml => {
                if document.is_none() {
                    output::complain(&format!("{}: no selector takes exactly its pods; see the text", set.name));
                }
                let document = document.filter(|_| watched_by.is_none());
                out.extend(document.map(|document| format!("---\n{document}")));
            }
        }
    }
    if let (Shown::Text, Some(first)) = (args.output, first) {
        let flags = args.flags();
        report::next(&mut out, &report::Next { namespace: &namespace.name, flags: &flags, first: &first, defined });
    }
    Ok(out)
}

impl Args {
    /// What the same look is asked for with, besides the namespace.
    fn flags(&self) -> String {
        let given = [(self.reach.forwards(), " --port-forward"), (self.read_secrets, " --read-secrets")];
        given.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect()
    }
}

/// How a set is reached and looked after, and what its servers said.
#[derive(Debug)]
struct Fit {
    ways: Vec<Way>,
    shape: Shape,
    access: Access,
    /// `None`: no selector takes exactly its pods.
    selector: Option<LabelSelector>,
    looked: Looked,
}

impl Fit {
    fn document(&self, name: &str, namespace: &str, set: &RedisSet) -> Option<String> {
        let resource = policy::resource(name, namespace, self.selector.as_ref()?, &self.access.redis);
        Some(policy::document(&resource, set, self.shape, &self.access.missing))
    }
}

/// Of each set. Each of its servers is asked once.
async fn fits(
    cluster: &Cluster,
    namespace: &Namespace,
    sets: &[RedisSet],
    read_secrets: bool,
) -> Result<Vec<Fit>, CannotAsk> {
    let mut fits = Vec::new();
    for set in sets {
        let ways = clients::ways(namespace, set);
        let shape = clients::shape(set, &ways);
        let access = access::of(set, &ways, shape, set.sentinels_apart(namespace).as_ref());
        let selector = selector::exact(set);
        let resource =
            selector.as_ref().map(|selector| policy::resource(&set.name, &namespace.name, selector, &access.redis));
        let looked = match resource {
            Some(resource) => Box::pin(ask(cluster, set, resource, read_secrets)).await?,
            None => Looked::default(),
        };
        fits.push(Fit { ways, shape, access, selector, looked });
    }
    Ok(fits)
}

fn head(out: &mut String, namespace: &str, sets: &[RedisSet]) {
    let pods: usize = sets.iter().map(|set| set.members.len()).sum();
    if sets.is_empty() {
        paragraph(
            out,
            "",
            "",
            &format!(
                "namespace {namespace}: no pod runs a Redis server, by its image, ports, names and arguments (another namespace: -n)"
            ),
        );
    } else {
        line(out, &format!("namespace {namespace}: Redis sets: {}, pods: {pods}", sets.len()));
    }
}

/// The policy that selects every pod of the set.
fn watched_by(policies: &[RedisMemoryPolicy], set: &RedisSet) -> Option<String> {
    let all = |policy: &&RedisMemoryPolicy| {
        set.members.iter().all(|member| selector::takes(&policy.spec.selector, member.pod.labels()))
    };
    policies.iter().find(all).map(ResourceExt::name_any)
}

/// Pods, Services, and what makes the pods. A controller that cannot be read is known by its name only.
async fn read(reader: &Reader, name: &str) -> Result<Namespace, KubeError> {
    let pods: Vec<_> = reader.pods(name, "").await?.into_iter().map(Arc::new).collect();
    let services = reader.services(name).await?;
    let mut owners: BTreeMap<String, Owner> = BTreeMap::new();
    for owner in pods.iter().filter_map(|pod| owner(&pod.metadata)) {
        owners.insert(owner.uid.as_str().to_owned(), owner);
    }
    let mut makers = Vec::new();
    for owner in owners.values() {
        let made = match owner.kind.as_str() {
            "StatefulSet" => reader.stateful_set(name, &owner.name).await?.map(|set| Maker::of_stateful_set(&set)),
            "ReplicaSet" => reader.replica_set(name, &owner.name).await?.map(|set| Maker::of_replica_set(&set)),
            _ => None,
        };
        makers.extend(made);
    }
    Ok(Namespace { name: name.to_owned(), pods, services, makers, ..Namespace::default() })
}

/// Asks the set's servers once, and judges as the operator would with every consent.
async fn ask(
    cluster: &Cluster,
    set: &RedisSet,
    mut resource: RedisMemoryPolicy,
    read_secrets: bool,
) -> Result<Looked, CannotAsk> {
    resource.spec.restart.allow_downtime = true;
    let access = &mut resource.spec.redis;
    let withheld = !read_secrets && access.password_secret.is_some();
    // Without what verifies it no server is spoken to over TLS.
    let unasked = !read_secrets && access.tls.is_some();
    if !read_secrets {
        (access.password_secret, access.tls) = (None, None);
    }
    let policy = live::validated(&resource)?;
    let pods = if unasked { set.pods().iter().map(|pod| Arc::new(without_address(pod))).collect() } else { set.pods() };
    let mut file = live::look_at(&cluster.client, Clock::start(), &resource, pods, &[]).await?;
    let answered = file.snapshot.targets.iter().filter(|target| target.sample().is_some()).count();
    if answered == 0 {
        // From here nobody is reached; that Sentinels are silent too is no refusal, and would stand for all others.
        file.snapshot.sentinels.clear();
    }
    let settings: PlanSettings = file.settings();
    let judgement = Judgement::of(&policy, &file.snapshot, &[], None, &settings);
    let ctx = Context::on(Arc::clone(&judgement.look), &[], file.snapshot.at, &settings);
    let mut blocked: Vec<Blocked> = Vec::new();
    for refusal in ctx.look.shards.iter().flat_map(|shard| begin::in_the_way_of_all(&ctx, shard)) {
        if !blocked.contains(&refusal) {
            blocked.push(refusal);
        }
    }
    let redis = if unasked {
        "was not asked: what verifies its servers is in Secrets, which were not read (--read-secrets reads them)"
            .to_owned()
    } else {
        said_by_redis(&file.snapshot, &ctx.look, withheld)
    };
    let findings = if answered == 0 { Vec::new() } else { judgement.findings };
    let snapshot = &file.snapshot;
    let (oldest, wants_login) = (users::oldest(versions(snapshot)), wants_login(snapshot));
    let (follows, watched_from) = (follows(snapshot), watched_from(snapshot));
    Ok(Looked { answered, redis, findings, blocked, follows, watched_from, oldest, wants_login })
}

fn versions(snapshot: &Snapshot) -> impl Iterator<Item = Version> {
    snapshot.targets.iter().filter_map(|target| Some(target.sample()?.server.version))
}

/// Whether a server let nobody in without a password.
fn wants_login(snapshot: &Snapshot) -> bool {
    let failed = |target: &Target| matches!(target.redis, Observation::Failed(ProbeFailure::AuthenticationFailed(_)));
    snapshot.targets.iter().any(failed)
}

/// The hosts from which Sentinels are connected, by pod.
fn watched_from(snapshot: &Snapshot) -> Vec<(String, Vec<IpAddr>)> {
    let seen = snapshot.targets.iter().filter_map(|target| {
        let hosts = &target.sample()?.sentinel_hosts;
        Some((target.pod.name.to_string(), hosts.clone()))
    });
    seen.collect()
}

/// The hosts that the servers say that they follow, by pod.
fn follows(snapshot: &Snapshot) -> Vec<(String, String)> {
    let links = snapshot.targets.iter().filter_map(|target| match &target.sample()?.replication.role {
        Role::Replica(link) => Some((target.pod.name.to_string(), link.primary.host.clone())),
        Role::Primary | Role::Unknown => None,
    });
    links.collect()
}

/// A pod that is not asked anything.
fn without_address(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    if let Some(status) = &mut pod.status {
        (status.pod_ip, status.pod_ips) = (None, None);
    }
    pod
}

/// What the servers said of themselves, or why they said nothing.
fn said_by_redis(snapshot: &Snapshot, look: &Assessment<'_>, withheld: bool) -> String {
    let targets = &snapshot.targets;
    let samples: Vec<_> = targets.iter().filter_map(|target| Some((target, target.sample()?))).collect();
    let Some((_, first)) = samples.first() else {
        let why = targets.first().map(|target| format!("{}: {}", target.pod.name, target.why_silent()));
        let hint = if withheld { "; its Secrets were not read (--read-secrets reads them)" } else { "" };
        return format!("did not answer from here ({}){hint}", why.unwrap_or_default());
    };
    let primaries = samples.iter().filter(|(_, sample)| sample.replication.role == Role::Primary);
    let primaries: Vec<&str> = primaries.map(|(target, _)| target.pod.name.as_str()).collect();
    format!(
        "{} of {} answered: {:?} {}, primary {}, {} data set(s)",
        samples.len(),
        targets.len(),
        first.server.engine,
        first.server.version,
        if primaries.is_empty() { "none".to_owned() } else { primaries.join(", ") },
        look.shards.len()
    )
}
