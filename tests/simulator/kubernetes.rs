//! The API server, the StatefulSet controller, the kubelet and kube-proxy of the simulated world, as far as the
//! operator can tell: pods with UID and resourceVersion, evictions with a disruption budget, labels and endpoints that
//! follow late, the policies with journal and finalizer, and the lease.

use redis_memory_operator::{
    domain::{
        journal::{Journal, WorkloadRecord},
        policy::Policy,
    },
    plan::switchover::Failure,
};

use crate::redis::Ms;

/// Members of the workload.
pub const PODS: usize = 3;

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
    pub role: Option<&'static str>,
    pub limit_mib: u64,
    pub revision: u32,
    /// Behind a ready endpoint of the primary's Service: in the `EndpointSlice`, and in kube-proxy's rules.
    pub slice: bool,
    pub proxied: bool,
    pub slice_since: Ms,
    pub wanted_since: Ms,
}

/// A member's place: the pod that has the name now, or when the next one comes.
#[derive(Clone, Debug)]
pub struct Place {
    pub pod: Option<Pod>,
    pub next_at: Ms,
    /// The container of the pod starts then; `None`: it runs.
    pub container_at: Option<Ms>,
}

/// A `RedisMemoryPolicy`.
#[derive(Clone, Debug)]
pub struct Resource {
    pub rv: u64,
    pub spec: Policy,
    pub journal: Option<Journal>,
    pub records: Vec<WorkloadRecord>,
    pub finalizer: bool,
    pub deleting: Option<Ms>,
    pub gone: bool,
    /// The annotation by which a person accepts a primary after there were several.
    pub accepted: Option<String>,
    /// What the rest of the status says, as a digest.
    pub shown: String,
    /// When the spec came to be as it is.
    pub edited_at: Ms,
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
#[derive(Clone, Debug)]
pub struct Kubernetes {
    pub places: Vec<Place>,
    pub policies: Vec<Resource>,
    pub lease: Lease,
    pub mood: Mood,
    pub mood_until: Ms,
    /// The disruption budget allows nothing until then.
    pub budget_shut_until: Ms,
    /// No pod is created until then (a quota, a full node).
    pub no_pods_until: Ms,
    /// The revision that a new pod gets, and its memory limit.
    pub template_revision: u32,
    pub template_limit_mib: u64,
    pub template_maxmemory_mib: u64,
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

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The fence: nothing was sent.
    Fenced,
    /// 409: the version, or injected.
    Conflict,
    /// 409 or 422: another pod of that name.
    UidChanged,
    /// 404.
    Gone,
    /// 429 with the cause DisruptionBudget.
    BudgetSaysNo,
    /// 5xx, 429 without a cause, no answer: it may have happened. Also of a Redis command.
    Unconfirmed,
    /// A read failed.
    Unread,
    /// What was to be evicted is primary.
    NowPrimary,
    /// The switchover ended without exchange.
    Switchover(Failure),
}

impl Kubernetes {
    pub fn pod(&self, n: usize) -> Option<&Pod> {
        self.places[n].pod.as_ref()
    }

    pub fn bump(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Members that are absent, going, or not Ready.
    pub fn down(&self) -> Vec<usize> {
        let down = |place: &Place| place.pod.as_ref().is_none_or(|pod| !pod.ready || pod.terminating.is_some());
        (0..PODS).filter(|n| down(&self.places[*n])).collect()
    }

    pub fn touch(&mut self, n: usize, change: impl FnOnce(&mut Pod)) {
        let rv = self.bump();
        if let Some(pod) = self.places[n].pod.as_mut() {
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
        let others_down = self.down().iter().any(|other| *other != n);
        if now < self.budget_shut_until || others_down {
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

    /// Changes a policy's status or finalizers when the version fits.
    pub fn patch_policy(
        &mut self,
        p: usize,
        rv: Option<u64>,
        change: impl FnOnce(&mut Resource),
    ) -> Result<u64, Refusal> {
        let policy = &self.policies[p];
        if policy.gone {
            return Err(Refusal::Gone);
        }
        if rv.is_some_and(|rv| rv != policy.rv) {
            return Err(Refusal::Conflict);
        }
        let rv = self.bump();
        let policy = &mut self.policies[p];
        policy.rv = rv;
        change(policy);
        policy.gone = policy.deleting.is_some() && !policy.finalizer;
        Ok(rv)
    }

    /// Somebody edits the spec.
    pub fn edit(&mut self, p: usize, now: Ms, change: impl FnOnce(&mut Policy)) {
        let rv = self.bump();
        let policy = &mut self.policies[p];
        policy.rv = rv;
        change(&mut policy.spec);
        policy.spec.generation += 1;
        policy.edited_at = now;
    }

    /// Endpoints and kube-proxy follow what the labels say.
    pub fn follow(&mut self, now: Ms) {
        for place in &mut self.places {
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
