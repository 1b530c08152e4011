//! A replica whose data have outgrown its limit: the kernel kills it each time that it loads them, until its limit is high
//! enough. Only the operator ends that, and within few kills (L11).

use crate::{
    faults::{Fault, POINTS, Trigger},
    killed::Raise,
    kubernetes::Resource,
    redis::{Ms, Role},
    rng::Rng,
    shape::{self, SetShape, pod_name, set_of},
    world::World,
};

/// Percent of the worlds that have one.
const WORLDS: u64 = 5;
/// What it takes, in percent of the limit of its set: one raise is enough, two are, three are.
const TAKES_PERCENT: [u64; 3] = [115, 145, 180];
/// From the start of a process that is killed to its end.
const LOADS: Ms = 400;
/// The kubelet starts it again after this time, as it does by default; it does not wait longer each time, for a run has no hour.
const PAUSE: Ms = 10_000;
/// Most kills while an operator is at work and nothing is in its way: three raises are enough for any.
const KILLS: u32 = 4;

/// What is known of such a server.
#[derive(Clone, Copy, Debug)]
pub struct LoadLoop {
    takes_mib: u64,
    /// The pod of which the rest is.
    uid: u32,
    /// The process that loads is killed then.
    dies_at: Option<Ms>,
    kills: u32,
    /// Nothing has been in the operator's way since the first kill.
    undisturbed: bool,
}

/// What befalls a world besides.
pub fn faults(rng: &mut Rng, sets: &[SetShape]) -> Option<(Trigger, Fault)> {
    let possible = |set: &SetShape| set.members > 1 && set.cache.is_none() && set.killed.is_none();
    let at = sets.iter().position(possible).filter(|_| rng.percent(WORLDS))?;
    let pod = shape::pod(at, rng.range(1, sets[at].members as u64) as usize);
    let trigger = if rng.percent(50) {
        Trigger::On(rng.pick(POINTS), rng.range(1, 3) as u32)
    } else {
        Trigger::At(rng.range(2_000, 120_000))
    };
    Some((trigger, Fault::Outgrows { pod, percent: rng.pick(&TAKES_PERCENT) }))
}

impl World {
    /// The data of that replica have outgrown its limit; also where it is being replaced.
    pub fn outgrows(&mut self, n: usize, percent: u64) {
        if self.servers.of_pod(n).is_some_and(|it| it.role == Role::Primary) {
            return;
        }
        let takes_mib = self.kube.sets[set_of(n)].limit_mib * percent / 100;
        let uid = self.kube.pod(n).map_or(0, |pod| pod.uid);
        self.load_loops.insert(n, LoadLoop { takes_mib, uid, dies_at: None, kills: 0, undisturbed: true });
        self.kill_process(n);
    }

    /// A process has started in that pod, and loads.
    pub fn begins_to_load(&mut self, n: usize) {
        let now = self.now;
        let Some((uid, limit)) = self.kube.pod(n).map(|pod| (pod.uid, pod.limit_mib)) else { return };
        let Some(it) = self.load_loops.get_mut(&n).filter(|it| it.takes_mib > limit) else { return };
        if it.uid != uid {
            (it.uid, it.kills, it.undisturbed) = (uid, 0, true);
        }
        it.dies_at = Some(now + LOADS);
        if let Some(server) = self.servers.of_pod_mut(n) {
            server.loading_until = now + 2 * LOADS;
        }
    }

    /// In every step.
    pub fn loads(&mut self, n: usize) {
        if self.people.healed {
            self.load_loops.remove(&n);
        }
        let Some(mut it) = self.load_loops.get(&n).copied() else { return };
        let (now, limit) = (self.now, self.kube.pod(n).map_or(0, |pod| pod.limit_mib));
        it.undisturbed &= self.someone_works && self.raises(n, it.takes_mib);
        let due = it.dies_at.take_if(|at| now >= *at).is_some();
        // Else its limit was raised while it loaded, or it has ended otherwise.
        let killed = due && it.takes_mib > limit && self.servers.of_pod(n).is_some();
        it.kills += u32::from(killed);
        self.load_loops.insert(n, it);
        if !killed {
            return;
        }
        if it.undisturbed && it.kills > KILLS {
            let (pod, kills) = (pod_name(n), it.kills);
            let text = format!("{pod} was killed {kills} times while it loaded, and its limit is {limit} Mi");
            self.observer.flag(now, "L11", text);
        }
        self.kill_process(n);
        if let Some(place) = self.kube.places.get_mut(&n) {
            place.container_at = Some(now + PAUSE);
        }
    }

    /// The policy that acts for that pod raises its limit to that, and nothing is in its way.
    fn raises(&self, n: usize, takes_mib: u64) -> bool {
        let set = set_of(n);
        let Some(policy) = self.kube.over(set).next() else { return false };
        let wanted = policy.may_act() && allows(policy, takes_mib);
        let given = self.raise(n) == Raise::Given && !self.schedule.obstructed(set) && self.schedule.installs == 1;
        let leaders = self.servers.of_set(set).filter(|it| it.role == Role::Primary).count();
        wanted && self.caches_follow() && given && leaders == 1 && self.lies.is_empty()
    }
}

fn allows(policy: &Resource, takes_mib: u64) -> bool {
    let headroom = policy.shape.headroom;
    headroom.resizes && headroom.maximum_mib.is_none_or(|most| most >= takes_mib)
}
