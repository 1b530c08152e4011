//! What `doctor` says of a set: for people. Pure.

use std::net::IpAddr;

use super::{
    Fit, clients,
    found::{Maker, Member, RedisSet},
    policy::{self, Reach},
    selector, users,
};
use crate::{
    api::v1alpha1::{FindingStatus, RoleAuthority},
    cli::{
        found,
        layout::{line, paragraph, table},
    },
    domain::{
        blocked::{BlockReason, Blocked},
        finding::{Finding, Severity},
        recognition::Shape,
        sample::Version,
    },
    report::findings,
};

/// Names in a list before it is cut.
const NAMED: usize = 6;

/// What the set's servers said, and what followed from it.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Servers that answered.
    pub(super) answered: usize,
    /// Version and primary, where they answered; else why they did not.
    pub(super) redis: String,
    /// Of the servers that answered.
    pub(super) findings: Vec<Finding>,
    /// What would be in the way of restarting all of it.
    pub(super) blocked: Vec<Blocked>,
    /// Pods, each with the host that its server follows.
    pub(super) follows: Vec<(String, String)>,
    /// Pods, each with the hosts from which Sentinels are connected to its server.
    pub(super) watched_from: Vec<(String, Vec<IpAddr>)>,
    /// The oldest version of a server that answered.
    pub(super) oldest: Option<Version>,
    /// A server let nobody in without a password.
    pub(super) wants_login: bool,
}

/// One set and everything that is said of it.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) namespace: &'a str,
    pub(super) set: &'a RedisSet,
    pub(super) fit: Fit,
}

/// What the commands are about by which the policies that were printed are put to work.
#[derive(Debug)]
pub(super) struct Next<'a> {
    pub(super) namespace: &'a str,
    /// The flags that this look was asked for with, each after a space.
    pub(super) flags: &'a str,
    /// The first of the policies.
    pub(super) first: &'a str,
    /// Whether the cluster knows the resource.
    pub(super) defined: bool,
}

/// The commands, each in one line, to be copied.
pub(super) fn next(out: &mut String, next: &Next<'_>) {
    let Next { namespace, flags, first, defined } = next;
    let once = if *defined { "" } else { ", once the operator is installed (docs/getting-started.md)" };
    line(out, "");
    paragraph(out, "", "", &format!("To have them watched{once}; in mode Observe nothing is changed:"));
    line(out, "");
    for command in [
        format!("doctor -n {namespace}{flags} -o yaml | kubectl apply -f -"),
        format!("status -n {namespace}"),
        format!("status {first} -n {namespace}"),
    ] {
        line(out, &format!("  kubectl redis-memory {command}"));
    }
}

/// Refusals that rest on Kubernetes objects alone: true also where no Redis answers.
const BY_OBJECTS: &[BlockReason] = &[
    BlockReason::DeploymentPod,
    BlockReason::NoStatefulSet,
    BlockReason::SetIncomplete,
    BlockReason::ForeignOwner,
    BlockReason::RoleLabelInTemplate,
];

impl Told<'_> {
    /// The set, its needs, what would be refused, and the policy. `watched_by`: the policy that it has already.
    /// `document`: the one that fits; `None`: no selector takes exactly its pods.
    pub(super) fn text(&self, out: &mut String, watched_by: Option<&str>, document: Option<&str>) {
        let Self { set, fit: Fit { shape, ways, looked, .. }, .. } = self;
        line(out, "");
        let product = set.deployment.map(|deployment| format!(", {}", deployment.product)).unwrap_or_default();
        line(out, &format!("SET {}: {}{product}", set.name, shape.as_str()));
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut say = |label: &str, texts: Vec<String>| {
            let mut label = label;
            for text in texts {
                rows.push(vec![format!("  {label}"), text]);
                label = "";
            }
        };
        say("pods", vec![self.pods()]);
        say("owner", self.owner());
        say("clients", clients::said(set, ways, *shape));
        say("limit", vec![self.limit()]);
        say("Redis", vec![looked.redis.clone()]);
        say("found", self.found());
        say("needs", self.needs());
        say("restart", vec![self.restart().to_owned()]);
        say("refused", self.refused());
        say("note", self.notes());
        table(out, &rows);
        if watched_by.is_none() && users::are_used(set, &self.fit) {
            users::text(out, set, &self.fit);
        }
        line(out, "");
        match (watched_by, document) {
            (Some(policy), _) => {
                let look = format!("kubectl redis-memory plan {policy} -n {}", self.namespace);
                paragraph(out, "", "", &format!("Policy {policy} watches it already: {look}"));
            }
            (None, Some(document)) => document.lines().for_each(|text| line(out, text)),
            (None, None) => paragraph(
                out,
                "",
                "",
                "No policy fits: no label tells its pods from others of the namespace. Give its pod template one that \
                 only they have.",
            ),
        }
    }

    fn pods(&self) -> String {
        let names: Vec<String> = self.set.members.iter().map(Member::name).collect();
        let more = names.len().checked_sub(NAMED).filter(|more| *more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        let text = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ") + &more;
        let makers: Vec<String> = self.set.makers.iter().map(Maker::text).collect();
        match makers.as_slice() {
            [] => text + ", made by no controller",
            makers if makers.len() > NAMED => format!("{text}, made by {} controllers", makers.len()),
            makers => format!("{text}, made by {}", makers.join(" and ")),
        }
    }

    fn owner(&self) -> Vec<String> {
        let makers = self.set.makers.iter();
        let others = makers.filter_map(|maker| match maker.kind.as_str() {
            "StatefulSet" => maker.owner.as_ref().map(|owner| format!("{} {}", owner.kind, owner.name)),
            "Deployment" | "ReplicaSet" | "DaemonSet" => None,
            _ => Some(maker.text()),
        });
        let mut others: Vec<String> = others.collect();
        others.dedup();
        let mut said = vec![match others.len() {
            0 => "no other operator".to_owned(),
            1..=NAMED => format!("{}: its operator may fail over or restart by itself", others.join(", ")),
            n => format!("{n} resources of another operator, which may fail over or restart by itself"),
        }];
        said.extend(self.set.deployment.and_then(|deployment| deployment.note).map(str::to_owned));
        said
    }

    fn limit(&self) -> String {
        let mut containers: Vec<&str> = self.set.members.iter().map(|member| member.container.name.as_str()).collect();
        containers.dedup();
        match self.set.deployment {
            Some(deployment) => format!("for good in {}", deployment.limit_at),
            None => format!("for good in the pod template: resources of container {}", containers.join(", ")),
        }
    }

    fn found(&self) -> Vec<String> {
        let bad = self.fit.looked.findings.iter().filter(|finding| finding.severity > Severity::Info);
        let grouped = findings::grouped(&found::of(bad));
        let one = |finding: &FindingStatus| {
            let of = if finding.pod.is_some() { format!(" of {}", findings::about(finding)) } else { String::new() };
            let numbers_of = finding.pod.as_ref().filter(|_| finding.pods.len() > 1);
            let numbers_of = numbers_of.map(|pod| format!("{pod}: ")).unwrap_or_default();
            format!("{}{of}: {numbers_of}{}", finding.code, finding.evidence)
        };
        grouped.iter().take(NAMED).map(one).collect()
    }

    /// Rights by the chart's values, the Secret, the ACL.
    fn needs(&self) -> Vec<String> {
        let mut needs = Vec::new();
        let password = self.fit.access.redis.password_secret.as_ref();
        let tls = self.fit.access.redis.tls.as_ref();
        let of_tls = tls.map(|tls| tls.ca_secret.name.clone()).into_iter();
        let sentinel = self.fit.access.redis.sentinel.as_ref().and_then(|sentinel| sentinel.password_secret.as_ref());
        let of_client = tls.and_then(|tls| tls.client_cert_secret.as_ref()).map(|secret| secret.name.clone());
        let mut secrets: Vec<String> = [password, sentinel]
            .into_iter()
            .flatten()
            .map(|it| it.name.clone())
            .chain(of_tls)
            .chain(of_client)
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        match password {
            Some(secret) => needs.push(format!("the password: Secret {}, key {}", secret.name, secret.key)),
            None => needs.push(
                "no password is seen in its containers; if Redis wants one, put its Secret into spec.redis.passwordSecret"
                    .to_owned(),
            ),
        }
        if let Some(secret) = sentinel {
            needs.push(format!("the password of its Sentinels: Secret {}, key {}", secret.name, secret.key));
        }
        if !secrets.is_empty() {
            needs.push(format!(
                "chart value to read that: secretAccess: [{{namespace: {}, names: [{}]}}]",
                self.namespace,
                secrets.join(", ")
            ));
        }
        let ours = self.fit.access.redis.role_authority == RoleAuthority::Operator;
        let key = &self.fit.access.redis.role_label.key;
        let acting = match policy::reach(self.set, self.fit.shape) {
            Reach::Watches => None,
            Reach::Resizes => Some("acting.resize".to_owned()),
            Reach::Restarts if ours => {
                Some(format!("acting.resize, acting.restart, acting.roleLabel (and roleLabel.keys has {key})"))
            }
            Reach::Restarts if matches!(self.fit.shape, Shape::RoleLabel | Shape::Sentinel) => {
                Some("acting.resize, acting.restart".to_owned())
            }
            Reach::Restarts => {
                Some("acting.resize, acting.restart (the primary in place: acting.restartInPlace)".to_owned())
            }
        };
        if let Some(values) = acting {
            needs.push(format!("only to act, chart values: {values}"));
        }
        needs.push(self.user());
        needs
    }

    /// The user of Redis.
    fn user(&self) -> String {
        if users::are_used(self.set, &self.fit) {
            return "not the default user of Redis but one with fewer rights: see the commands below".to_owned();
        }
        let (flags, sentinels) = match self.fit.shape {
            Shape::Sentinel => (
                " --switchover sentinel",
                "; for the Sentinels' own users, if they have some, `acl --role sentinel`: spec.redis.sentinel.username",
            ),
            _ => ("", ""),
        };
        format!(
            "not the default user of Redis but one with these rights only: `kubectl redis-memory acl{flags}` prints its lines, \
             its name goes into spec.redis.username{sentinels}"
        )
    }

    fn restart(&self) -> &'static str {
        match (policy::reach(self.set, self.fit.shape), self.fit.shape) {
            (Reach::Restarts, Shape::RoleLabel) => {
                "replicas one by one, then the role is handed over and the old primary is restarted last"
            }
            (Reach::Restarts, Shape::Sentinel) => {
                "replicas one by one, while the Sentinels agree and can do without the pod; then a Sentinel is told to fail over, under a \
                 pause of writes, and the old primary is restarted last"
            }
            (Reach::Restarts, Shape::Standalone) => {
                "in place, only with allowDowntime and data that is verified to be on disk; without that it is watched, and its limit kept"
            }
            (Reach::Restarts, _) => {
                "replicas one by one; the primary in place, last, only with allowDowntime and data that is verified to be on disk. No role is \
                 moved"
            }
            (Reach::Resizes, _) => "never by this version; its memory limit is kept",
            (Reach::Watches, _) => "never, and its limit is left alone too; it is watched",
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.fit.access.missing.clone();
        if self.fit.selector.as_ref().is_some_and(selector::names_pods) {
            notes.push(
                "no label but the pods' names tells this set from another: the policy must be mended when it is scaled up"
                    .to_owned(),
            );
        }
        notes
    }

    fn refused(&self) -> Vec<String> {
        let known = |blocked: &&Blocked| {
            self.fit.looked.answered == self.set.members.len() || BY_OBJECTS.contains(&blocked.reason)
        };
        let mut blocked: Vec<&Blocked> = self.fit.looked.blocked.iter().filter(known).collect();
        // The first of a kind tells what it is about.
        let mut reasons = Vec::new();
        blocked.retain(|blocked| {
            let first = !reasons.contains(&blocked.reason);
            reasons.push(blocked.reason);
            first
        });
        let mut texts: Vec<String> = blocked.iter().map(|it| format!("{}: {}", it.reason.as_str(), it.text)).collect();
        if self.fit.looked.answered < self.set.members.len() {
            let by_kind = match self.fit.shape {
                Shape::Cluster => Some((BlockReason::ClusterMode, "of Redis Cluster")),
                Shape::Other => Some((BlockReason::ServerUnsupported, "of another product")),
                _ => None,
            };
            texts.extend(by_kind.map(|(reason, kind)| {
                format!("{}: sets {kind} are watched but not restarted by this version", reason.as_str())
            }));
            texts.push(
                "the rest is said only by the servers (roles, persistence, replication): add --port-forward, run this in a pod \
                 of the cluster, or apply the policy and read its status"
                    .to_owned(),
            );
        } else if texts.is_empty() {
            texts.push("nothing, as it is now".to_owned());
        }
        texts
    }
}
