//! What somebody else sets back, or refuses, so often that it is left alone.

use jiff::Timestamp;

use crate::domain::{
    finding::{Finding, FindingCode},
    names::{PodName, PodUid},
    snapshot::Snapshot,
    surroundings::{Kept, LeftAlone, Undone},
};

pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let there = |left: &&LeftAlone| snapshot.targets.iter().any(|target| target.pod.uid == left.uid);
    snapshot.surroundings.left_alone.iter().filter(there).map(finding).collect()
}

/// What such a finding says, in the words of [`finding`]: of another process, from the status that it wrote. `None`: it is
/// another's, or of a version with other words.
pub fn read(code: FindingCode, pod: (PodName, PodUid), evidence: &str, remedy: &str) -> Option<LeftAlone> {
    let kept = kept(code)?;
    let (_, what) = words(kept);
    let until: Timestamp = remedy.rsplit_once(UNTIL)?.1.parse().ok()?;
    if let Some((value, text)) = evidence.strip_prefix(STOPPED).and_then(|rest| rest.split_once(": ")) {
        let (value, undone) = (value.to_owned(), Undone::Stopped(text.to_owned()));
        return Some(LeftAlone { pod: pod.0, uid: pod.1, kept, value, times: 1, undone, until });
    }
    let set = evidence.strip_prefix(what).and_then(|rest| rest.strip_prefix(" was set to "));
    let (value, times, undone) = if let Some((set, who)) = set.and_then(|set| set.split_once(SET_BACK)) {
        let (value, times) = set.rsplit_once(' ')?;
        let by = who.strip_prefix('`').and_then(|who| who.strip_suffix('`'));
        (value, times, Undone::By(by.map(str::to_owned)))
    } else {
        let (times, rest) = evidence.strip_prefix(REFUSED)?.split_once(&format!(" times to set {what} to "))?;
        let (value, text) = rest.split_once(": ")?;
        (value, times, Undone::Refused(text.to_owned()))
    };
    let ((pod, uid), times) = (pod, times.parse().ok()?);
    Some(LeftAlone { pod, uid, kept, value: value.to_owned(), times, undone, until })
}

/// Whether findings of that code are read back ([`read`]): each is stored by itself, with its pod's UID.
pub fn is_read_back(code: &str) -> bool {
    FindingCode::named(code).and_then(kept).is_some()
}

fn kept(code: FindingCode) -> Option<Kept> {
    [Kept::RoleLabel, Kept::Limit, Kept::Maxmemory].into_iter().find(|kept| words(*kept).0 == code)
}

const fn words(kept: Kept) -> (FindingCode, &'static str) {
    match kept {
        Kept::RoleLabel => (FindingCode::LabelReverted, "the role label"),
        Kept::Limit => (FindingCode::LimitReverted, "the memory limit"),
        Kept::Maxmemory => (FindingCode::MaxmemoryReverted, "maxmemory"),
    }
}

/// Between a value with how often it was set, and who set it back.
const SET_BACK: &str = " times within 10 minutes, and set back by ";
/// Before how often the API server refused.
const REFUSED: &str = "the API server refused ";
/// Before the value down to which it was evicting.
const STOPPED: &str = "the operator stopped the eviction down to a maxmemory of ";
/// Before the time at the end of the remedy.
const UNTIL: &str = "; it is left alone until ";

fn finding(left: &LeftAlone) -> Finding {
    let (code, what) = words(left.kept);
    let (evidence, remedy) = match &left.undone {
        Undone::By(by) => {
            let (who, other) = by.as_ref().map_or_else(
                || ("somebody whom the pod does not name".to_owned(), "what sets it back".to_owned()),
                |by| (format!("`{by}`"), format!("`{by}`")),
            );
            (
                format!("{what} was set to {} {}{SET_BACK}{who}", left.value, left.times),
                format!("let one of the two keep {what}: take the pod out of {other}, or out of the policy's remedies"),
            )
        }
        Undone::Stopped(text) => (
            format!("{STOPPED}{}: {text}", left.value),
            "let its clients wait less (fewer keys of many elements, lazyfree-lazy-eviction yes), raise the limit, or lower \
             maxmemory by hand at a quiet time"
                .to_owned(),
        ),
        Undone::Refused(text) => (
            format!("{REFUSED}{} times to set {what} to {}: {text}", left.times, left.value),
            "let the operator make the change, or make it yourself".to_owned(),
        ),
    };
    let until = left.until.strftime("%Y-%m-%dT%H:%M:%SZ");
    Finding::new(code, Some(left.pod.clone()), evidence, format!("{remedy}{UNTIL}{until}"))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::domain::fixtures;

    #[test]
    fn what_is_said_can_be_read_again() {
        let undone = [
            Undone::By(Some("vpa-updater".into())),
            Undone::By(None),
            Undone::Refused("pods \"redis-1\" is forbidden: exceeded quota: memory, times to spare".into()),
        ];
        for (kept, value) in [(Kept::Limit, "96 MiB"), (Kept::RoleLabel, "primary"), (Kept::Maxmemory, "682 MiB")] {
            for undone in undone.clone() {
                let (pod, uid) = (fixtures::pod_name(1), fixtures::pod_uid(1));
                let until = fixtures::NOW;
                let left = LeftAlone {
                    pod: pod.clone(),
                    uid: uid.clone(),
                    kept,
                    value: value.into(),
                    times: 3,
                    undone,
                    until,
                };
                let said = finding(&left);
                assert_eq!(read(said.code, (pod, uid), &said.evidence, &said.remedy), Some(left));
            }
        }
        let stopped = LeftAlone {
            pod: fixtures::pod_name(0),
            uid: fixtures::pod_uid(0),
            kept: Kept::Maxmemory,
            value: "475 MiB".into(),
            times: 1,
            undone: Undone::Stopped("redis-0 answered after 205 ms: its maxmemory is 512 MiB again".into()),
            until: fixtures::NOW,
        };
        let said = finding(&stopped);
        let pod = (stopped.pod.clone(), stopped.uid.clone());
        assert_eq!(read(said.code, pod, &said.evidence, &said.remedy), Some(stopped));
        let pod = (fixtures::pod_name(1), fixtures::pod_uid(1));
        assert_eq!(read(FindingCode::LimitReverted, pod.clone(), "in other words", "wait"), None);
        assert_eq!(read(FindingCode::NoTargets, pod, "", "; it is left alone until 2026-01-01T00:00:00Z"), None);
    }
}
