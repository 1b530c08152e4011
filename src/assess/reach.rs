//! What could not be looked at, and why.

use super::View;
use crate::domain::{
    finding::{Finding, FindingCode},
    policy::Mode,
    snapshot::{Observation, ProbeFailure},
};

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(problem) = &view.target.pod.container {
        findings.push(view.finding(
            FindingCode::ContainerUnknown,
            problem.0.clone(),
            "set spec.redis.container and spec.redis.port to what the pod declares, or select other pods",
        ));
    }
    match &view.target.redis {
        Observation::Failed(failure) => findings.push(failed(view, failure)),
        Observation::Seen(sample) => findings.extend(sample.config.as_ref().err().and_then(|u| unreadable(view, &u.0))),
        // Not looked at yet: nothing is known, and nothing is said.
        Observation::Pending => {}
    }
    findings
}

/// Settings are recorded before a restart and restored after it: without them there is no restart.
fn unreadable(view: &View<'_>, text: &str) -> Option<Finding> {
    let needed = view.policy.mode == Mode::Enforce && view.policy.fragmentation.restart_allowed;
    needed.then(|| {
        view.finding(
            FindingCode::PermissionMissing,
            format!("CONFIG GET cannot be read: {text}"),
            "give the Redis user config|get, or set spec.fragmentation.remedies to [Report]; until then no pod of this workload is restarted",
        )
    })
}

fn failed(view: &View<'_>, failure: &ProbeFailure) -> Finding {
    use FindingCode::{AuthenticationFailed, PermissionMissing, Unreachable};
    let (code, remedy) = match failure {
        ProbeFailure::Tls(problem, _) => (FindingCode::TlsFailed, problem.remedy()),
        ProbeFailure::HostNetwork(_) => (
            Unreachable,
            "give the pod an address of its own (hostNetwork: false), or select other pods; it is not connected to",
        ),
        ProbeFailure::Unreachable(_) => {
            (Unreachable, "check that Redis runs, and that network policies let the operator reach it")
        }
        ProbeFailure::TimedOut(_) => (
            Unreachable,
            "Redis accepts connections and does not answer in time: check for slow commands or a starved CPU",
        ),
        ProbeFailure::AuthenticationFailed(_) => {
            (AuthenticationFailed, "check spec.redis.username and spec.redis.passwordSecret against the server's users")
        }
        ProbeFailure::SecretUnavailable(_) => (
            AuthenticationFailed,
            "create the Secret and key that spec.redis.passwordSecret names, and grant the operator get on it (chart value secretAccess)",
        ),
        ProbeFailure::OwnerUnproven(_) => (
            AuthenticationFailed,
            "a password is sent only to pods that an existing controller of this namespace owns: select other pods",
        ),
        ProbeFailure::NotRedis(_) => (Unreachable, "what answers is no Redis: check spec.redis.port and spec.selector"),
        ProbeFailure::ReplyTooLarge(_) => {
            (Unreachable, "no Redis answers INFO with so much: check spec.redis.port and spec.selector")
        }
        ProbeFailure::Refused(text) if text.contains("NOPERM") => (
            PermissionMissing,
            "give the Redis user what `redis-memory-operator acl --role observe` prints: info, config|get, client|list and a few more",
        ),
        ProbeFailure::Refused(_) => (Unreachable, "Redis refuses INFO: look at its log"),
    };
    let evidence = match failure.text() {
        "" => failure.reason().to_owned(),
        text => text.to_owned(),
    };
    view.finding(code, evidence, remedy)
}
