//! The API server, the StatefulSet controller, the kubelet and kube-proxy of the simulated world, as far as the
//! operator can tell: pods with UID and resourceVersion, evictions with a disruption budget, labels and endpoints that
//! follow late, the policies with journal and finalizer, and the lease.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use redis_memory_operator::{
    api::v1alpha1::{FINALIZER, Mode, RedisMemoryPolicy, RedisMemoryPolicyStatus, StoredPolicy},
    domain::{fixtures, journal::Journal},
    validate,
};
use serde_json::json;

use crate::{
    headroom::MAXMEMORY_MIB,
    redis::Ms,
    shape::{Drift, Over, PolicyShape, STRIDE, SetShape, set_name, set_of},
};

/// `stepTimeout` of every policy, in seconds.
pub const STEP_TIMEOUT: u64 = 240;

/// One pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: u32,
    pub rv: u64,
    pub ip: u32,
    pub started: Ms,
    pub old: bool,
    pub ready: bool,
    /// When its process is gone and it is removed.
    pub terminating: Option<Ms>,
    /// When somebody began to delete it.
    pub deleted_at: Option<Ms>,
    /// Somebody else did: what only it holds in the end is lost by their doing.
    pub taken: bool,
    /// No node has room for it.
    pub pending: bool,
    pub role: Option<&'static str>,
    pub limit_mib: u64,
    /// A limit that was asked for, and that its node has no room for.
    pub asked_mib: Option<u64>,
    /// `restartCount`, and the last end of its container where the kernel killed it.
    pub restarts: u32,
    pub killed: Option<Kill>,
    /// Who ran in it last led, by a file that stays with the pod.
    pub led: bool,
    pub revision: u32,
    /// Behind a ready endpoint of the primary's Service: in the `EndpointSlice`, and in kube-proxy's rules.
    pub slice: bool,
    pub proxied: bool,
    pub slice_since: Ms,
    pub wanted_since: Ms,
}

/// The kernel killed a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kill {
    /// Since when that had run; `None`: since long before the schedule.
    pub since: Option<Ms>,
    pub at: Ms,
}

/// A member's place: the pod that has the name now, or when the next one comes.
#[derive(Clone, Debug)]
pub struct Place {
    pub pod: Option<Pod>,
    pub next_at: Ms,
    /// The container of the pod starts then; `None`: it runs.
    pub container_at: Option<Ms>,
}

impl Place {
    /// Where that pod runs.
    pub const fn of(pod: Pod) -> Self {
        Self { pod: Some(pod), next_at: 0, container_at: None }
    }

    /// Where a pod comes at that time.
    pub const fn empty(next_at: Ms) -> Self {
        Self { pod: None, next_at, container_at: None }
    }
}

/// A StatefulSet, and the disruption budget over its pods.
#[derive(Clone, Debug)]
pub struct Set {
    pub replicas: usize,
    /// The revision that a new pod gets, its memory limit, and the `maxmemory` that its server starts with.
    pub revision: u32,
    pub limit_mib: u64,
    pub maxmemory_mib: u64,
    /// The budget allows nothing until then.
    pub budget_shut_until: Ms,
    /// No pod is created until then (a quota).
    pub no_pods_until: Ms,
    /// New pods find no node until then.
    pub no_room_until: Ms,
}

impl Set {
    pub fn new(shape: &SetShape) -> Self {
        Self {
            replicas: shape.members,
            revision: 1,
            limit_mib: match (shape.cache, shape.killed) {
                (Some(cache), _) => cache.limit_mib,
                (None, Some(killed)) => killed.limit_mib,
                (None, None) if shape.tight => 700,
                (None, None) => 1024,
            },
            maxmemory_mib: match shape.cache {
                Some(cache) => cache.maxmemory_mib,
                None => {
                    if shape.drift == Some(Drift::Maxmemory) {
                        500
                    } else {
                        MAXMEMORY_MIB
                    }
                }
            },
            budget_shut_until: 0,
            no_pods_until: 0,
            no_room_until: 0,
        }
    }
}

/// A `RedisMemoryPolicy`, as it is stored.
#[derive(Clone, Debug)]
pub struct Resource {
    pub object: RedisMemoryPolicy,
    pub shape: PolicyShape,
    pub gone: bool,
}

impl Resource {
    /// The policy of the simulation: the defaults, with times that are shorter. `n`: the younger, the higher.
    pub fn new(n: usize, shape: &PolicyShape) -> Self {
        let labels = match shape.over {
            Over::One(set) => json!({"app": set_name(set)}),
            Over::All => json!({"tier": "data"}),
        };
        let mut object = json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {
                "name": format!("policy-{n}"), "namespace": "shop", "uid": format!("policy-uid-{n}"), "generation": 1,
                "resourceVersion": "1", "creationTimestamp": format!("2025-12-03T03:04:{:02}Z", 5 + n),
            },
            "spec": {
                "mode": "Enforce",
                "selector": {"matchLabels": labels},
                "redis": {"roleAuthority": "Operator"},
                "fragmentation": {"sustained": "24s", "remedies": ["Restart"]},
                "restart": {
                    "stepTimeout": format!("{STEP_TIMEOUT}s"), "allowDowntime": shape.downtime,
                    "minimumSyncedReplicas": shape.synced,
                },
            },
        });
        shape.headroom.write(&mut object["spec"]);
        let object = serde_json::from_value(object).expect("a policy");
        validate::validate(&object).expect("people of this world write good specs");
        Self { object, shape: shape.clone(), gone: false }
    }

    pub fn status(&self) -> Option<&RedisMemoryPolicyStatus> {
        self.object.status.as_ref()
    }

    pub fn journal(&self) -> Option<&Journal> {
        self.status()?.journal.as_ref()
    }

    pub fn finalizer(&self) -> bool {
        self.object.metadata.finalizers.iter().flatten().any(|it| it == FINALIZER)
    }

    pub fn deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// It may act: people neither observe nor suspend nor delete it.
    pub fn may_act(&self) -> bool {
        let spec = &self.object.spec;
        spec.mode == Mode::Enforce && !spec.suspend && !self.deleting()
    }

    /// What is said to be in the way.
    pub fn shown(&self) -> String {
        let conditions = self.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let blocked = conditions.iter().find(|it| it.type_ == "RemediationBlocked" && it.status == "True");
        blocked.map_or(String::new(), |it| format!("{}: {}", it.reason, it.message))
    }

    /// As the API server returns it.
    pub fn stored(&self) -> StoredPolicy {
        self.object.clone().into()
    }
}

/// The Lease: whoever renews it changes its version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    pub holder: Option<u32>,
    pub version: u64,
}

/// How the API server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// 500 to so many percent of the writes.
    Errors(u64),
    /// 429 without a word of a budget, to every write.
    Overload,
    /// 409 to every patch.
    Conflicts,
    /// Writes are applied, their answers are lost.
    LostReplies,
    /// Every request takes this long.
    Slow(Ms),
}

/// Everything that Kubernetes knows.
#[derive(Debug)]
pub struct Kubernetes {
    /// By the pod's number.
    pub places: BTreeMap<usize, Place>,
    pub sets: Vec<Set>,
    pub policies: Vec<Resource>,
    /// Of each install.
    pub leases: [Lease; 2],
    pub mood: Mood,
    pub mood_until: Ms,
    /// The next new pod gets the address that was freed last.
    pub reuse_address: bool,
    pub freed: Vec<u32>,
    pub serial: u64,
    pub next_uid: u32,
    pub next_ip: u32,
    /// How long endpoints and kube-proxy take.
    pub endpoint_delay: Ms,
    pub proxy_delay: Ms,
}

/// Why the API server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409: the version, or injected.
    Conflict,
    /// 409 or 422: another pod of that name.
    UidChanged,
    /// 404.
    Gone,
    /// 429 with the cause DisruptionBudget.
    BudgetSaysNo,
    /// 403: a quota.
    OverQuota,
    /// 5xx, 429 without a cause, no answer: it may have happened.
    Unconfirmed,
}

impl Kubernetes {
    pub fn pod(&self, n: usize) -> Option<&Pod> {
        self.places.get(&n)?.pod.as_ref()
    }

    pub fn pod_mut(&mut self, n: usize) -> Option<&mut Pod> {
        self.places.get_mut(&n)?.pod.as_mut()
    }

    /// The places of that set.
    pub fn of_set(&self, set: usize) -> impl Iterator<Item = (usize, &Place)> {
        self.places.range(set * STRIDE..(set + 1) * STRIDE).map(|(n, place)| (*n, place))
    }

    /// The policies that are there and select that set.
    pub fn over(&self, set: usize) -> impl Iterator<Item = &Resource> {
        self.policies.iter().filter(move |it| !it.gone && it.shape.covers(set))
    }

    pub fn bump(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Members of that set that are absent, going, or not Ready.
    pub fn down(&self, set: usize) -> Vec<usize> {
        let down = |place: &Place| place.pod.as_ref().is_none_or(|pod| !pod.ready || pod.terminating.is_some());
        self.of_set(set).filter(|(_, place)| down(place)).map(|(n, _)| n).collect()
    }

    pub fn touch(&mut self, n: usize, change: impl FnOnce(&mut Pod)) {
        let rv = self.bump();
        if let Some(pod) = self.pod_mut(n) {
            pod.rv = rv;
            change(pod);
        }
    }

    /// The Eviction API: the budget is obeyed, the UID is a precondition. True: the pod would be deleted. False: it is
    /// going already, which is a success.
    pub fn evictable(&self, n: usize, uid: Option<u32>, now: Ms) -> Result<bool, Refusal> {
        let pod = self.pod(n).ok_or(Refusal::Gone)?;
        if uid.is_some_and(|uid| uid != pod.uid) {
            return Err(Refusal::UidChanged);
        }
        if pod.terminating.is_some() {
            return Ok(false);
        }
        let others_down = self.down(set_of(n)).iter().any(|other| *other != n);
        if now < self.sets[set_of(n)].budget_shut_until || others_down {
            return Err(Refusal::BudgetSaysNo);
        }
        Ok(true)
    }

    /// A plain delete: nobody is asked.
    pub fn delete(&mut self, n: usize, now: Ms, grace: Ms) {
        self.touch(n, |pod| {
            pod.terminating = Some(now + grace);
            pod.deleted_at = pod.deleted_at.or(Some(now));
            pod.ready = false;
        });
    }

    /// Changes a pod when UID and version fit.
    pub fn patch(
        &mut self,
        n: usize,
        uid: Option<u32>,
        rv: Option<u64>,
        change: impl FnOnce(&mut Pod),
    ) -> Result<(), Refusal> {
        let pod = self.pod(n).ok_or(Refusal::Gone)?;
        if uid.is_some_and(|uid| uid != pod.uid) {
            return Err(Refusal::UidChanged);
        }
        if rv.is_some_and(|rv| rv != pod.rv) {
            return Err(Refusal::Conflict);
        }
        self.touch(n, change);
        Ok(())
    }

    /// Whether a write to the policy finds it, and of that version.
    pub fn fits(&self, p: usize, version: Option<&str>) -> Result<(), Refusal> {
        let policy = &self.policies[p];
        if policy.gone {
            return Err(Refusal::Gone);
        }
        if version.is_some_and(|version| policy.object.metadata.resource_version.as_deref() != Some(version)) {
            return Err(Refusal::Conflict);
        }
        Ok(())
    }

    /// Changes a policy's status or finalizers; the policy as it is then. What changes nothing makes no version.
    pub fn patch_policy(&mut self, p: usize, change: impl FnOnce(&mut RedisMemoryPolicy)) -> StoredPolicy {
        let policy = &mut self.policies[p];
        let before = policy.object.clone();
        change(&mut policy.object);
        if policy.object != before {
            self.serial += 1;
            policy.object.metadata.resource_version = Some(self.serial.to_string());
        }
        policy.gone = policy.deleting() && !policy.finalizer();
        policy.stored()
    }

    /// Somebody edits the spec.
    pub fn edit(&mut self, p: usize, change: impl FnOnce(&mut RedisMemoryPolicy)) {
        let rv = self.bump();
        let policy = &mut self.policies[p];
        let meta = &mut policy.object.metadata;
        meta.resource_version = Some(rv.to_string());
        meta.generation = meta.generation.map(|generation| generation + 1);
        change(&mut policy.object);
        validate::validate(&policy.object).expect("people of this world write good specs");
    }

    /// Somebody deletes a policy.
    pub fn delete_policy(&mut self, p: usize, now: Ms) {
        let rv = self.bump();
        let policy = &mut self.policies[p];
        let meta = &mut policy.object.metadata;
        meta.resource_version = Some(rv.to_string());
        let at = fixtures::NOW.saturating_add(jiff::SignedDuration::from_millis(now as i64)).expect("in range");
        meta.deletion_timestamp.get_or_insert(Time(at));
        policy.gone |= !policy.finalizer();
    }

    /// Endpoints and kube-proxy follow what the labels say.
    pub fn follow(&mut self, now: Ms) {
        for place in self.places.values_mut() {
            let Some(pod) = place.pod.as_mut() else { continue };
            let wanted = pod.role == Some("primary") && pod.ready && pod.terminating.is_none();
            if wanted == pod.slice {
                pod.wanted_since = now;
            } else if now >= pod.wanted_since + self.endpoint_delay {
                pod.slice = wanted;
                pod.slice_since = now;
            }
            if pod.proxied != pod.slice && now >= pod.slice_since + self.proxy_delay {
                pod.proxied = pod.slice;
            }
        }
    }
}
