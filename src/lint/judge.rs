//! A server that the input makes → what is wrong with it: by the operator's own formula, and by its purpose.

use super::{
    Judged, Known, Rule,
    policies::{Policies, Selecting},
    server::Server,
};
use crate::{
    assess::{
        headroom::{self, Demand, HeadroomVerdict},
        persistence,
    },
    domain::{
        bytes::{Bytes, GIB, MIB},
        finding::{Finding, FindingCode, Severity},
        purpose::{danger, fitting_policies},
        start::{Setting, redis_bytes, redis_text},
    },
};

/// The most that one server should hold: 25 GiB. A fork of it stops clients for 0.2 s (measured: 8 ms a GB), and every save,
/// rewrite, full sync and load takes all of it; Redis' own clustered product cuts shards at 25 GB.
pub(super) const LARGEST_INSTANCE: Bytes = Bytes(25 * GIB);
/// How long a fork stops a server, in milliseconds for each GiB (measured).
const FORK_MILLIS_PER_GIB: u64 = 8;
/// What the server evicts where nothing is said.
const DEFAULT_EVICTION: &str = "noeviction";
/// Save points where nothing is said (src/config.c of Redis 7.0; 6.2 has others).
const DEFAULT_SAVE: &str = "3600 1 300 100 60 10000";

/// A server and the rule that judges it.
struct Look<'a> {
    server: &'a Server,
    rule: &'a Rule,
    policy: Option<&'a Selecting>,
    maxmemory: Known<Bytes>,
    eviction: Known<String>,
    persists: Known<bool>,
}

/// Judges a server by the policy that selects its pods, else by that rule.
pub(super) fn judge(server: &Server, policies: &Policies, rule: &Rule) -> Judged {
    let policy = policies.of_server(server);
    let rule = policy.map_or_else(|| rule.clone(), Selecting::rule);
    let look = Look {
        server,
        rule: &rule,
        policy,
        maxmemory: maxmemory(server),
        eviction: known(server, "maxmemory-policy", DEFAULT_EVICTION),
        persists: persists(server),
    };
    let mut findings = look.findings();
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.code.cmp(&b.code)));
    let Look { maxmemory, eviction, persists, .. } = look;
    Judged {
        place: server.place.clone(),
        source: server.source.clone(),
        object: server.object.clone(),
        container: server.container.clone(),
        product: server.product.map(|product| product.product),
        policy: policy.map(|selecting| selecting.policy.name.clone()),
        limit: server.limit,
        request: server.request,
        maxmemory,
        eviction,
        persists,
        read: server.read.clone(),
        findings,
        rule,
    }
}

/// The value of a setting; `default` where nothing sets it.
fn known(server: &Server, name: &str, default: &str) -> Known<String> {
    match server.settings.get(name) {
        Setting::Is(value) => Known::Is(value.to_owned()),
        Setting::Default => Known::Is(default.to_owned()),
        Setting::Unread => Known::Not(format!("something sets {name} to what is not in the input")),
        Setting::Open => Known::Not(server.open_because.clone()),
    }
}

fn maxmemory(server: &Server) -> Known<Bytes> {
    match known(server, "maxmemory", "0") {
        Known::Is(text) => match redis_bytes(&text) {
            Some(bytes) => Known::Is(bytes),
            None => Known::Not(format!("maxmemory {text} is no number of bytes")),
        },
        Known::Not(why) => Known::Not(why),
    }
}

/// An AOF, or save points: one that is known to be there is enough.
fn persists(server: &Server) -> Known<bool> {
    let (aof, save) = (known(server, "appendonly", "no"), known(server, "save", DEFAULT_SAVE));
    let is_on = |known: &Known<String>, on: &dyn Fn(&str) -> bool| known.get().map(|value| on(value));
    let aof_on = is_on(&aof, &|value| value.eq_ignore_ascii_case("yes"));
    let saves = is_on(&save, &|value| !value.trim().is_empty());
    match (aof_on, saves) {
        (Some(true), _) | (_, Some(true)) => Known::Is(true),
        (Some(false), Some(false)) => Known::Is(false),
        _ => match (aof, save) {
            (Known::Not(why), _) | (_, Known::Not(why)) => Known::Not(why),
            (Known::Is(_), Known::Is(_)) => Known::Is(false),
        },
    }
}

impl Look<'_> {
    fn findings(&self) -> Vec<Finding> {
        let all = [
            self.unbounded(),
            self.limit_missing(),
            self.headroom(),
            self.request(),
            self.too_large(),
            self.eviction(),
            self.persistence(),
        ];
        all.into_iter().flatten().collect()
    }

    fn finding(code: FindingCode, evidence: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(code, None, evidence, remedy)
    }

    fn bound(&self) -> Option<Bytes> {
        self.maxmemory.get().copied().filter(|maxmemory| *maxmemory > Bytes::ZERO)
    }

    fn unbounded(&self) -> Option<Finding> {
        let unset = self.maxmemory == Known::Is(Bytes::ZERO);
        let remedy = match self.server.limit.map(|limit| (limit, self.fits(limit))) {
            Some((limit, fits)) if fits > Bytes::ZERO => {
                format!("set maxmemory to at most {}, for which the limit of {limit} is enough", redis_text(fits))
            }
            Some((limit, _)) => {
                format!("raise the limit of {limit}, which is too small for any maxmemory, and set maxmemory")
            }
            None => "set maxmemory, and a memory limit above it".to_owned(),
        };
        let evidence = "maxmemory is 0 or not set: nothing bounds the data but the kernel's OOM killer";
        unset.then(|| Self::finding(FindingCode::MaxmemoryUnset, evidence, remedy))
    }

    /// What its limit must be for a maxmemory: nothing runs that could be measured.
    const fn demand(&self) -> Demand {
        Demand::assumed(&self.rule.headroom)
    }

    /// The largest maxmemory for which that limit is enough, in whole mebibytes.
    fn fits(&self, limit: Bytes) -> Bytes {
        self.demand().bearable(limit)
    }

    fn limit_missing(&self) -> Option<Finding> {
        let remedy = match self.bound() {
            Some(maxmemory) => {
                let need = self.demand().limit(maxmemory);
                format!("set resources.limits.memory to {}{}", mebi(need), self.at())
            }
            None => format!("set maxmemory, and resources.limits.memory above it{}", self.at()),
        };
        let none = self.server.limit.is_none();
        none.then(|| Self::finding(FindingCode::LimitMissing, "the container has no memory limit", remedy))
    }

    fn headroom(&self) -> Option<Finding> {
        let maxmemory = self.bound()?;
        let verdict = headroom::judge_amounts(&self.demand(), maxmemory, self.server.limit);
        let HeadroomVerdict::Insufficient { have, need } = verdict else { return None };
        let evidence = headroom::shortfall(self.wants(), &self.demand(), maxmemory, have, need);
        let fits = self.fits(have);
        let or =
            if fits > Bytes::ZERO { format!(", or maxmemory to at most {}", redis_text(fits)) } else { String::new() };
        let remedy = format!("set resources.limits.memory to {}{}{or}", mebi(need), self.at());
        Some(Self::finding(FindingCode::HeadroomInsufficient, evidence, remedy))
    }

    /// Who says how far the limit must be above maxmemory.
    fn wants(&self) -> &'static str {
        if self.policy.is_some() { "the policy" } else { "the rule" }
    }

    /// Where the limit is changed, for those who write a product's own form.
    fn at(&self) -> String {
        self.server.product.map(|product| format!(" ({}: {})", product.product, product.limit_at)).unwrap_or_default()
    }

    fn request(&self) -> Option<Finding> {
        let (request, maxmemory) = (self.server.request?, self.bound()?);
        let (short, other) = headroom::told_apart(request, maxmemory);
        (request < maxmemory).then(|| {
            Self::finding(
                FindingCode::RequestBelowMaxmemory,
                format!("memory request {short}, maxmemory {other}"),
                format!(
                    "raise resources.requests.memory to {}: the node may not have what Redis may take",
                    mebi(maxmemory)
                ),
            )
        })
    }

    fn too_large(&self) -> Option<Finding> {
        // Where maxmemory is not known, what the limit is enough for.
        let (what, holds) = match (&self.maxmemory, self.server.limit) {
            (Known::Is(bytes), _) if *bytes > Bytes::ZERO => ("maxmemory", *bytes),
            (_, Some(limit)) => ("the limit leaves maxmemory", self.fits(limit)),
            (_, None) => return None,
        };
        let parts = holds.0.div_ceil(LARGEST_INSTANCE.0);
        let stop = holds.0.saturating_mul(FORK_MILLIS_PER_GIB) / GIB;
        (holds > LARGEST_INSTANCE).then(|| {
            Self::finding(
                FindingCode::InstanceTooLarge,
                format!("{what} {holds}, more than {LARGEST_INSTANCE}: each fork stops clients for about {stop} ms"),
                format!(
                    "run {parts} smaller servers (Redis Cluster, or clients that choose by key): every save, rewrite, full \
                     sync and restart takes the whole of one"
                ),
            )
        })
    }

    fn eviction(&self) -> Option<Finding> {
        let policy = self.eviction.get()?;
        self.bound()?;
        let allowed =
            self.policy.map(|selecting| &selecting.policy.eviction_allowed).filter(|allowed| !allowed.is_empty());
        if let Some(allowed) = allowed {
            return (!allowed.contains(policy)).then(|| {
                Self::finding(
                    FindingCode::EvictionPolicyUnsafe,
                    format!("maxmemory-policy is {policy}, allowed: {}", allowed.join(", ")),
                    "set maxmemory-policy to an allowed value, or add this one to spec.eviction.allowed",
                )
            });
        }
        let danger = danger(self.rule.purpose, policy)?;
        let of = self.rule.purpose.map(|purpose| format!(", and the purpose is {purpose}")).unwrap_or_default();
        let remedy = format!("set maxmemory-policy {}", fitting_policies(self.rule.purpose));
        let evidence = format!("maxmemory-policy is {policy}{of}: when it is full, {}", danger.then());
        Some(Self::finding(FindingCode::EvictionPolicyUnsafe, evidence, remedy).with_severity(danger.severity()))
    }

    fn persistence(&self) -> Option<Finding> {
        let persists = *self.persists.get()?;
        match self.rule.purpose {
            Some(purpose) if purpose.may_be_lost() => {
                let remedy = "set appendonly no and save \"\", unless a start with a full cache is worth that memory";
                let evidence = format!(
                    "the purpose is {purpose}, and there is an AOF or there are save points: each save and rewrite forks, and \
                     copies what is written meanwhile"
                );
                return persists.then(|| Self::finding(FindingCode::PersistenceUnneeded, evidence, remedy));
            }
            // Without a purpose: keys that any eviction may take are a cache's; and where the policy is not known neither.
            None if self.eviction.get().is_none_or(|policy| policy.starts_with("allkeys-")) => return None,
            Some(_) | None => {}
        }
        let (evidence, remedy) = if persists {
            let (mounts, dir) = (self.server.alone_on.as_ref()?, self.dir()?);
            let why = persistence::outlives(mounts, &dir).err()?;
            (format!("one server holds the data, and {why}"), "or run replicas".to_owned())
        } else {
            (
                "appendonly is no and there are no save points: a primary that starts again is empty, and empties its replicas"
                    .to_owned(),
                "set appendonly yes, or save points, with dir on a PersistentVolumeClaim".to_owned(),
            )
        };
        let or = if self.rule.purpose.is_none() { "; of a cache say so: --purpose cache, or spec.purpose" } else { "" };
        let finding = Self::finding(FindingCode::PersistenceMissing, evidence, format!("{remedy}{or}"));
        // Nobody has said that the data must stay.
        Some(if self.rule.purpose.is_none() { finding.with_severity(Severity::Info) } else { finding })
    }

    fn dir(&self) -> Option<String> {
        match self.server.settings.get("dir") {
            Setting::Is(dir) if dir.starts_with('/') => Some(dir.to_owned()),
            Setting::Default => self.server.dir.map(str::to_owned),
            Setting::Is(_) | Setting::Unread | Setting::Open => None,
        }
    }
}

/// As a manifest writes it, rounded up.
fn mebi(bytes: Bytes) -> String {
    format!("{}Mi", bytes.0.div_ceil(MIB))
}
