//! A RedisMemoryPolicy and its status.

use serde_json::{Value, json};

use super::{eventually, require, space::Space};

/// The policy `name` of a namespace.
#[derive(Debug)]
pub(crate) struct Policy<'a> {
    space: &'a Space,
    name: String,
}

/// One step, as plan and journal have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: String,
    pub(crate) pod: String,
    pub(crate) to: Option<String>,
    pub(crate) reason: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) pod: String,
    pub(crate) evidence: String,
    pub(crate) remedy: String,
}

impl<'a> Policy<'a> {
    /// Applies `tests/manifests/policy.yaml`; the policy has the name of the set that it selects.
    pub(crate) fn apply(space: &'a Space, set: &str, words: &[(&str, &str)]) -> Self {
        Self::apply_named(space, set, set, words)
    }

    /// The same for a policy of another name than the set.
    pub(crate) fn apply_named(space: &'a Space, name: &str, set: &str, words: &[(&str, &str)]) -> Self {
        space.apply(&space.render("policy.yaml", &[&[("NAME", set), ("POLICY", name)], words].concat()));
        Self { space, name: name.to_owned() }
    }

    /// One that is there.
    #[allow(dead_code, reason = "tests/cluster_deployments uses it")]
    pub(crate) fn existing(space: &'a Space, name: &str) -> Self {
        Self { space, name: name.to_owned() }
    }

    /// Changes its spec.
    pub(crate) fn patch_spec(&self, spec: &Value) {
        let patch = json!({ "spec": spec }).to_string();
        self.space.must(&["patch", "redismemorypolicy", &self.name, "--type", "merge", "--patch", &patch]);
    }

    /// The whole object.
    pub(crate) fn object(&self) -> Value {
        self.space.get(&["redismemorypolicy", &self.name])
    }

    /// Its status, of whatever generation.
    pub(crate) fn status(&self) -> Value {
        self.object()["status"].clone()
    }

    /// Status, reason and message of a condition that speaks of the present generation.
    pub(crate) fn condition(&self, kind: &str) -> Option<(String, String, String)> {
        let object = self.object();
        let conditions = object["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        let current = found["observedGeneration"] == object["metadata"]["generation"];
        let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        current.then(|| (word("status"), word("reason"), word("message")))
    }

    /// Waits until a condition says this; its message.
    pub(crate) fn await_condition(&self, kind: &str, status: &str, reason: &str, seconds: u64) -> String {
        eventually(&format!("{kind}={status}, reason {reason}, on {}", self.name), seconds, || {
            match self.condition(kind) {
                Some((s, r, message)) if s == status && r == reason => Ok(message),
                seen => Err(format!("{seen:?}")),
            }
        })
    }

    /// Waits until a remediation is refused for this reason; its message.
    pub(crate) fn await_blocked(&self, reason: &str) -> String {
        self.await_condition("RemediationBlocked", "True", reason, 90)
    }

    /// What was found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let word = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let status = self.status();
        let findings = status["findings"].as_array().cloned().unwrap_or_default();
        // One of several pods is said of each of them.
        let pods = |finding: &Value| match finding["pods"].as_array() {
            Some(pods) => pods.iter().map(|pod| pod.as_str().unwrap_or_default().to_owned()).collect(),
            None => vec![word(finding, "pod")],
        };
        let of_each = |finding: &Value| {
            let of = |pod| Finding {
                code: word(finding, "code"),
                pod,
                evidence: word(finding, "evidence"),
                remedy: word(finding, "remedy"),
            };
            pods(finding).into_iter().map(of).collect::<Vec<_>>()
        };
        findings.iter().flat_map(of_each).collect()
    }

    /// Waits for a finding of this code on that pod (empty: on the whole policy).
    pub(crate) fn await_finding(&self, code: &str, pod: &str) -> Finding {
        eventually(&format!("finding {code} on {pod:?}"), 90, || {
            let findings = self.findings();
            let found = findings.iter().find(|finding| finding.code == code && finding.pod == pod);
            found.cloned().ok_or_else(|| format!("{findings:?}"))
        })
    }

    /// The same, until its remedy says this.
    pub(crate) fn await_remedy(&self, code: &str, pod: &str, says: &str) -> Finding {
        eventually(&format!("finding {code} on {pod:?} whose remedy says {says:?}"), 90, || {
            let findings = self.findings();
            let mut of_it = findings.iter().filter(|finding| finding.code == code && finding.pod == pod);
            of_it.find(|finding| finding.remedy.contains(says)).cloned().ok_or_else(|| format!("{findings:?}"))
        })
    }

    /// Waits until there is a plan with steps.
    pub(crate) fn await_plan(&self) -> Vec<Step> {
        eventually("a plan in the status", 120, || {
            let status = self.status();
            let steps = steps_of(&status["plan"]["steps"]);
            require(!steps.is_empty(), || status.to_string())?;
            Ok(steps)
        })
    }

    /// The steps of the remediation under way.
    pub(crate) fn await_journal(&self) -> Vec<Step> {
        eventually("a remediation under way", 120, || {
            let status = self.status();
            let steps = steps_of(&status["journal"]["steps"]);
            require(!steps.is_empty(), || status.to_string())?;
            Ok(steps)
        })
    }

    /// Waits until a remediation has ended and none is under way; its outcome and message.
    pub(crate) fn await_outcome(&self, seconds: u64) -> (String, String) {
        eventually("the end of a remediation", seconds, || {
            let status = self.status();
            let record = &status["workloads"][0];
            let outcome = record["outcome"].as_str().unwrap_or_default().to_owned();
            require(!outcome.is_empty() && status["journal"].is_null(), || status.to_string())?;
            Ok((outcome, record["message"].as_str().unwrap_or_default().to_owned()))
        })
    }

    /// The record of a set: outcome and message of its last remediation.
    pub(crate) fn record(&self, set: &str) -> Option<(String, String)> {
        let status = self.status();
        let record = status["workloads"].as_array()?.iter().find(|record| record["name"] == set)?.clone();
        let word = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        Some((word("outcome"), word("message")))
    }

    /// Waits until the last remediation of that set has succeeded and none is under way: one policy may select several.
    pub(crate) fn await_cured(&self, set: &str, seconds: u64) {
        eventually(&format!("{set} is cured"), seconds, || {
            let record = self.record(set);
            let idle = self.status()["journal"].is_null();
            require(idle && record.as_ref().is_some_and(|(outcome, _)| outcome == "Succeeded"), || {
                format!("{record:?}, idle: {idle}, blocked: {:?}", self.condition("RemediationBlocked"))
            })
        });
    }

    /// Waits until a remediation has succeeded, and nothing of it is left behind.
    pub(crate) fn await_success(&self, seconds: u64) {
        let (outcome, message) = self.await_outcome(seconds);
        assert_eq!(outcome, "Succeeded", "{message}");
        eventually("the finalizer is gone", 30, || {
            let metadata = self.object()["metadata"].clone();
            require(metadata["finalizers"].as_array().is_none_or(Vec::is_empty), || metadata.to_string())
        });
    }

    /// The notes of the events about the policy, in order.
    pub(crate) fn event_notes(&self) -> Vec<String> {
        self.events("note")
    }

    /// The reasons of the events about the policy, in order.
    pub(crate) fn event_reasons(&self) -> Vec<String> {
        self.events("reason")
    }

    fn events(&self, field: &str) -> Vec<String> {
        let list = self.space.get(&["events.events.k8s.io", "--sort-by=.metadata.creationTimestamp"]);
        let events = list["items"].as_array().cloned().unwrap_or_default();
        let about_us = |event: &&Value| event["regarding"]["name"] == self.name.as_str();
        let word = |event: &Value| event[field].as_str().unwrap_or_default().to_owned();
        events.iter().filter(about_us).map(word).collect()
    }
}

fn steps_of(list: &Value) -> Vec<Step> {
    let word = |step: &Value, field: &str| step[field].as_str().map(str::to_owned);
    let steps = list.as_array().cloned().unwrap_or_default();
    steps
        .iter()
        .map(|step| Step {
            kind: word(step, "kind").unwrap_or_default(),
            pod: word(step, "pod").unwrap_or_default(),
            to: word(step, "to"),
            reason: word(step, "reason").unwrap_or_default(),
        })
        .collect()
}
