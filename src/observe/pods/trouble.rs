//! Why a pod is not Ready, by what Kubernetes itself says of it. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition};

use super::TEXT_CAP;
use crate::{domain::oom::Kill, kube_io::text::plain};

/// What the kubelet calls a container that the kernel killed for want of memory.
const OOM_KILLED: &str = "OOMKilled";

/// Reasons of a waiting container whose message says more: the kubelet's own words on images and on what the pod needs.
/// Messages of other reasons may repeat what a container was started with, and are not shown.
const MESSAGE_HELPS: &[&str] =
    &["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"];
/// What a container that has not begun says while nothing is wrong.
const NO_TROUBLE: &[&str] = &["ContainerCreating", "PodInitializing"];

/// What keeps the pod from being Ready: not scheduled, a container that cannot start, crashes or was killed, else what
/// the conditions say. `None`: it is Ready, or nothing is said.
pub(super) fn of(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let is_false = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "False");
    if let Some(text) = is_false("PodScheduled").and_then(said) {
        return Some(plain(&text, TEXT_CAP));
    }
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    let text = containers.filter(|container| !container.ready).find_map(of_container);
    let text = text
        .or_else(|| ["Initialized", "ContainersReady", "Ready"].into_iter().find_map(|kind| said(is_false(kind)?)))?;
    Some(plain(&text, TEXT_CAP))
}

fn said(condition: &PodCondition) -> Option<String> {
    match (condition.reason.as_deref().filter(|reason| !reason.is_empty()), condition.message.as_deref()) {
        (Some(reason), Some(message)) if !message.is_empty() => Some(format!("{reason}: {message}")),
        (Some(reason), _) => Some(reason.to_owned()),
        (None, message) => message.map(str::to_owned),
    }
}

fn of_container(status: &ContainerStatus) -> Option<String> {
    let name = &status.name;
    let state = status.state.as_ref();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = last.map(|last| format!("; it ended last with {}", end(last))).unwrap_or_default();
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.as_deref().filter(|reason| !NO_TROUBLE.contains(reason))?;
        let message = waiting.message.as_deref().filter(|_| MESSAGE_HELPS.contains(&reason));
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        return Some(format!("container {name} waits: {reason}{message}{before}"));
    }
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        // An init container that is done has done its work.
        return (ended.exit_code != 0).then(|| format!("container {name} ended with {}", end(ended)));
    }
    last.map(|last| format!("container {name} runs again, not ready; it ended last with {}", end(last)))
}

/// Its last end, if the kernel killed it for want of memory: the one that it stands at, else the one before the present
/// start.
pub(super) fn killed(status: &ContainerStatus) -> Option<Kill> {
    kill(ended(status.state.as_ref()).or_else(|| ended(status.last_state.as_ref()))?)
}

/// The end before that, where it is told and was such a kill: while a container stands at its end both are. Two kills that
/// follow each other at once are seen there alone.
pub(super) fn killed_before(status: &ContainerStatus) -> Option<Kill> {
    let _stands = ended(status.state.as_ref())?;
    kill(ended(status.last_state.as_ref())?)
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

fn kill(end: &ContainerStateTerminated) -> Option<Kill> {
    let started_at = end.started_at.as_ref().map(|time| time.0);
    let at = end.finished_at.as_ref()?.0;
    (end.reason.as_deref() == Some(OOM_KILLED)).then_some(Kill { started_at, at })
}

/// The reason and the exit code; what a container wrote about its end is its own and is not shown.
fn end(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("no reason");
    format!("{reason} (exit code {})", ended.exit_code)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn not_ready() -> Value {
        json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [redis]"})
    }

    #[rstest]
    #[case::ready(json!({"conditions": [{"type": "Ready", "status": "True"}]}), None)]
    #[case::nothing_said(json!({}), None)]
    #[case::unschedulable(
        json!({"conditions": [not_ready(), {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory."}]}),
        Some("Unschedulable: 0/3 nodes are available: 3 Insufficient memory.")
    )]
    #[case::image(
        json!({"conditions": [not_ready()], "containerStatuses": [{"name": "redis", "ready": false, "image": "", "imageID": "",
            "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"redis:9\""}}}]}),
        Some("container redis waits: ImagePullBackOff: Back-off pulling image \"redis:9\"")
    )]
    #[case::crash_loop_after_an_oom_kill(
        json!({"conditions": [not_ready()], "containerStatuses": [{"name": "redis", "ready": false, "image": "", "imageID": "",
            "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "--requirepass hunter2"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "secret"}}}]}),
        Some("container redis waits: CrashLoopBackOff; it ended last with OOMKilled (exit code 137)")
    )]
    #[case::an_init_container_failed(
        json!({"conditions": [not_ready()], "initContainerStatuses": [{"name": "setup", "ready": false, "image": "", "imageID": "",
            "restartCount": 1, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
        Some("container setup ended with Error (exit code 1)")
    )]
    #[case::its_probe_fails(
        json!({"conditions": [not_ready()], "containerStatuses": [{"name": "redis", "ready": false, "image": "", "imageID": "",
            "restartCount": 0, "state": {"running": {}}}]}),
        Some("ContainersNotReady: containers with unready status: [redis]")
    )]
    fn says_what_keeps_it_from_being_ready(#[case] status: Value, #[case] want: Option<&str>) {
        let mut pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "redis-1"}, "status": status})).expect("a pod");
        assert_eq!(of(&pod).as_deref(), want);
        crate::kube_io::cache::prune(&mut pod);
        assert_eq!(of(&pod).as_deref(), want, "the cache keeps it");
    }

    #[rstest]
    #[case::it_runs_again(json!({"running": {}}), json!({"terminated": ended("OOMKilled")}), true)]
    #[case::it_stands(json!({"terminated": ended("OOMKilled")}), json!({}), true)]
    #[case::it_waits(json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"terminated": ended("OOMKilled")}), true)]
    #[case::it_has_ended_otherwise_since(
        json!({"terminated": ended("Error")}), json!({"terminated": ended("OOMKilled")}), false)]
    #[case::ended_by_itself(json!({"running": {}}), json!({"terminated": ended("Completed")}), false)]
    #[case::never_ended(json!({"running": {}}), json!({}), false)]
    fn a_kill_is_the_last_end(#[case] state: Value, #[case] last: Value, #[case] seen: bool) {
        let status = json!({"name": "redis", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state,
            "lastState": last});
        let at = |text: &str| text.parse().expect("a time");
        let kill = Kill { started_at: Some(at("2026-01-02T03:00:00Z")), at: at("2026-01-02T03:04:05Z") };
        assert_eq!(killed(&serde_json::from_value(status).expect("a status")), seen.then_some(kill));
    }

    #[rstest]
    #[case::it_stands_after_a_second_one(json!({"terminated": ended("OOMKilled")}), "OOMKilled", true)]
    #[case::it_has_ended_otherwise_since(json!({"terminated": ended("Error")}), "OOMKilled", true)]
    #[case::the_one_before_was_none(json!({"terminated": ended("OOMKilled")}), "Error", false)]
    #[case::the_last_end_is_no_other(json!({"running": {}}), "OOMKilled", false)]
    fn the_end_before_the_last_is_told_while_it_stands(#[case] state: Value, #[case] last: &str, #[case] seen: bool) {
        let before = json!({"exitCode": 137, "reason": last, "startedAt": "2026-01-02T02:00:00Z",
            "finishedAt": "2026-01-02T02:59:59Z"});
        let status = json!({"name": "redis", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state,
            "lastState": {"terminated": before}});
        let at = |text: &str| text.parse().expect("a time");
        let kill = Kill { started_at: Some(at("2026-01-02T02:00:00Z")), at: at("2026-01-02T02:59:59Z") };
        assert_eq!(killed_before(&serde_json::from_value(status).expect("a status")), seen.then_some(kill));
    }

    fn ended(reason: &str) -> Value {
        json!({"exitCode": 137, "reason": reason, "startedAt": "2026-01-02T03:00:00Z",
            "finishedAt": "2026-01-02T03:04:05Z"})
    }
}
