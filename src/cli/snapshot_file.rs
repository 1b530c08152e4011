//! The snapshot file: a policy and everything that was observed for it, as `check --output yaml` writes it and
//! `plan --file` reads it. The scenarios of the tests go through it too.
//!
//! It holds no secret: passwords are never part of a snapshot, and fingerprints of the credentials of replication,
//! which could be guessed at, are replaced by numbers that only say which members have the same.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::yaml;
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    assess::AssessSettings,
    domain::{
        journal::{Journal, WorkloadRecord},
        policy::Policy,
        snapshot::{Observation, Snapshot},
    },
    plan::PlanSettings,
    validate::{self, validate},
};

/// `apiVersion` of the file: the version of its form.
pub const API_VERSION: &str = "redismemory.io/v1alpha1";
/// `kind` of the file.
pub const KIND: &str = "RedisMemorySnapshot";

/// A policy and what was observed for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotFile {
    api_version: String,
    kind: String,
    /// What it shows, in a sentence. For people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// How long the readings had to be as they are.
    pub judged: Judged,
    /// The policy.
    pub policy: WrittenPolicy,
    /// What is remembered of each workload (`status.workloads`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadRecord>,
    /// The remediation under way (`status.journal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// What was observed.
    pub snapshot: Snapshot,
}

/// What the judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judged {
    /// One look is all there is: it is judged at once.
    AtOnce,
    /// The history is judged over `fragmentation.sustained`, as the operator does.
    OverTime,
}

/// A policy as the file holds it: its spec, and of its metadata what decisions rest on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WrittenPolicy {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// UID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Generation of the spec.
    #[serde(default)]
    pub generation: i64,
    /// When the resource was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// What a person wrote.
    pub spec: RedisMemoryPolicySpec,
}

impl From<&RedisMemoryPolicy> for WrittenPolicy {
    fn from(resource: &RedisMemoryPolicy) -> Self {
        Self {
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
            generation: resource.metadata.generation.unwrap_or_default(),
            created_at: resource.creation_timestamp().map(|time| time.0),
            spec: resource.spec.clone(),
        }
    }
}

impl WrittenPolicy {
    /// The resource that it stands for.
    pub fn resource(&self) -> RedisMemoryPolicy {
        let mut resource = RedisMemoryPolicy::new(&self.name, self.spec.clone());
        resource.metadata.namespace = Some(self.namespace.clone());
        resource.metadata.uid = Some(self.uid.clone()).filter(|uid| !uid.is_empty());
        resource.metadata.generation = Some(self.generation);
        resource.metadata.creation_timestamp =
            self.created_at.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        resource
    }
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// Something else.
    #[error("this is {found}, not a {KIND} of {API_VERSION}: `check --output yaml` writes one")]
    OtherKind {
        /// What it says that it is.
        found: String,
    },
    /// A missing or unknown field, a value of another type, or no YAML at all.
    #[error("{0}")]
    Form(#[from] serde_yaml::Error),
    /// A field that nothing reads.
    #[error("{0}: unknown field: nothing reads it; take it out or mend its name")]
    Unknown(String),
    /// The policy breaks a rule.
    #[error("policy.{0}")]
    Policy(String),
}

/// Enough of a document to say what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

impl SnapshotFile {
    /// The file for this policy and what was observed for it. Fingerprints of credentials are replaced by numbers.
    pub fn new(policy: WrittenPolicy, mut snapshot: Snapshot, judged: Judged) -> Self {
        hide_credentials(&mut snapshot);
        let (api_version, kind) = (API_VERSION.to_owned(), KIND.to_owned());
        Self { api_version, kind, shows: None, judged, policy, workloads: Vec::new(), journal: None, snapshot }
    }

    /// The text of the file.
    pub fn write(&self) -> Result<String, SnapshotFileError> {
        Ok(yaml::to_string(self)?)
    }

    /// Reads the text of a file, YAML or JSON. Every error names the field.
    pub fn read(text: &str) -> Result<Self, SnapshotFileError> {
        let text = &without_what_is_gone(text);
        let head: Head = yaml::from_str(text)?;
        if head.api_version.as_deref() != Some(API_VERSION) || head.kind.as_deref() != Some(KIND) {
            let or_none = |field: Option<String>| field.unwrap_or_else(|| "(none)".to_owned());
            let found = format!("kind {} of apiVersion {}", or_none(head.kind), or_none(head.api_version));
            return Err(SnapshotFileError::OtherKind { found });
        }
        let file: Self = yaml::from_str(text)?;
        // The records are the status' own types, which let unknown fields pass for the sake of older operators.
        let (given, read) = (yaml::from_str::<Value>(text)?, serde_json::to_value(&file).unwrap_or_default());
        match ["workloads", "journal"].iter().find_map(|part| unread(part, given.get(part)?, read.get(part))) {
            Some(path) => Err(SnapshotFileError::Unknown(path)),
            None => Ok(file),
        }
    }

    /// The validated policy, as it is to be judged here.
    pub fn policy(&self) -> Result<Policy, SnapshotFileError> {
        let mut policy = validate(&self.policy.resource())
            .map_err(|problems| SnapshotFileError::Policy(validate::in_words(&problems)))?;
        if self.judged == Judged::AtOnce {
            policy.fragmentation.sustained = Duration::ZERO;
        }
        Ok(policy)
    }

    /// The operator's own times, but that one look is judged at once.
    pub fn settings(&self) -> PlanSettings {
        settings(self.judged)
    }
}

/// The text without a line that the first version wrote for each server, and that nothing reads any more.
fn without_what_is_gone(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| line.trim() != "isSentinel: false").collect()
}

/// The operator's default times; `AtOnce` without a warm-up.
pub fn settings(judged: Judged) -> PlanSettings {
    let usual = AssessSettings::default();
    let warm_up = if judged == Judged::AtOnce { Duration::ZERO } else { usual.warm_up };
    PlanSettings { assess: AssessSettings { warm_up, ..usual }, ..PlanSettings::default() }
}

/// Equal fingerprints become equal numbers, in the order of the members.
fn hide_credentials(snapshot: &mut Snapshot) {
    let mut known: Vec<String> = Vec::new();
    let mut hide = |fingerprint: &mut String| {
        // Empty: none is set.
        if fingerprint.is_empty() {
            return;
        }
        let number = known.iter().position(|seen| seen == fingerprint).unwrap_or_else(|| {
            known.push(fingerprint.clone());
            known.len() - 1
        });
        *fingerprint = format!("credentials-{}", number + 1);
    };
    for target in &mut snapshot.targets {
        let Observation::Seen(sample) = &mut target.redis else { continue };
        let Ok(config) = sample.config.as_mut() else { continue };
        config.primary_auth.iter_mut().for_each(&mut hide);
        config.primary_user.iter_mut().for_each(&mut hide);
        config.serving.client_auth.iter_mut().for_each(&mut hide);
    }
    snapshot.acl_users.iter_mut().for_each(|(_, users)| hide(users));
}

/// The path of the first field that was given and not read.
fn unread(path: &str, given: &Value, read: Option<&Value>) -> Option<String> {
    match (given, read) {
        (Value::Null, _) => None,
        (Value::Array(given), read) => given
            .iter()
            .enumerate()
            .find_map(|(n, item)| unread(&format!("{path}[{n}]"), item, read.and_then(|read| read.get(n)))),
        (_, None) => Some(path.to_owned()),
        (Value::Object(given), Some(read)) => {
            given.iter().find_map(|(key, value)| unread(&format!("{path}.{key}"), value, read.get(key)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::{
        fixtures,
        journal::Outcome,
        pod::{ContainerProblem, ResizeProgress},
        sample::ConfigUnreadable,
        snapshot::ProbeFailure,
    };

    fn policy() -> WrittenPolicy {
        let spec = serde_json::json!({"selector": {"matchLabels": {"app": "redis"}}, "mode": "Enforce"});
        let mut resource = RedisMemoryPolicy::new("sessions", serde_json::from_value(spec).unwrap());
        resource.metadata.namespace = Some("shop".into());
        WrittenPolicy::from(&resource)
    }

    fn file() -> SnapshotFile {
        SnapshotFile::new(policy(), fixtures::three_pods(), Judged::OverTime)
    }

    fn sample(file: &mut SnapshotFile, n: usize) -> &mut crate::domain::sample::Sample {
        match &mut file.snapshot.targets[n].redis {
            Observation::Seen(sample) => sample,
            other => panic!("the fixture has a sample, not {other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut written = file();
        written.snapshot.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
        written.snapshot.targets[2].pod.container = Err(ContainerProblem("two containers".into()));
        written.snapshot.targets[2].pod.resize = ResizeProgress::Deferred("no room".into());
        sample(&mut written, 0).config = Err(ConfigUnreadable("NOPERM".into()));
        written.workloads = vec![WorkloadRecord {
            outcome: Some(Outcome::Succeeded),
            remediation: "r".into(),
            generation: 1,
            message: "fine".into(),
            ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), fixtures::seconds_ago(60))
        }];
        let text = written.write().unwrap();
        assert_eq!(SnapshotFile::read(&text).unwrap(), written, "{text}");
        let json = serde_json::to_string(&written).unwrap();
        assert_eq!(SnapshotFile::read(&json).unwrap(), written, "JSON is YAML");
    }

    #[test]
    fn fingerprints_of_credentials_are_not_written_and_still_tell_members_apart() {
        let mut snapshot = fixtures::three_pods();
        for (target, fingerprint) in snapshot.targets.iter_mut().zip(["feed", "beef", "feed"]) {
            if let Observation::Seen(sample) = &mut target.redis {
                let config = sample.config.as_mut().unwrap();
                config.primary_auth = Some(fingerprint.into());
                config.serving.client_auth = Some(format!("{fingerprint}0"));
            }
            snapshot.acl_users.push((target.pod.name.clone(), format!("{fingerprint}1")));
        }
        let file = SnapshotFile::new(policy(), snapshot, Judged::OverTime);
        let text = file.write().unwrap();
        assert!(!text.contains("feed") && !text.contains("beef"), "{text}");
        for (number, count) in [(1, 2), (2, 2), (3, 1), (4, 1), (5, 2), (6, 1)] {
            assert_eq!(text.matches(&format!("credentials-{number}")).count(), count, "{text}");
        }
    }

    #[rstest]
    #[case::top("judged: overTime", "judged: overTime\nextra: 1", &["unknown field `extra`", "expected one of"])]
    #[case::deep("    redis:\n      seen:", "    redis:\n      seen:\n        colour: red", &["colour", "snapshot.targets[0].redis", "line"])]
    #[case::spec("policy:\n  name", "policy:\n  shade: blue\n  name", &["shade"])]
    #[case::missing("judged: overTime", "", &["missing field `judged`"])]
    #[case::value("judged: overTime", "judged: sometimes", &["judged", "unknown variant `sometimes`"])]
    #[case::bytes("used: 72351744", "used: 69mi", &["memory.used", "69mi"])]
    #[case::version("redismemory.io/v1alpha1", "redismemory.io/v9", &["redismemory.io/v9", "check --output yaml"])]
    #[case::kind("RedisMemorySnapshot", "RedisMemoryPolicy", &["kind RedisMemoryPolicy", "RedisMemorySnapshot"])]
    fn errors_name_the_field(#[case] good: &str, #[case] bad: &str, #[case] said: &[&str]) {
        let text = file().write().unwrap();
        assert!(text.contains(good), "{good:?} is not in\n{text}");
        let error = SnapshotFile::read(&text.replacen(good, bad, 1)).unwrap_err().to_string();
        for part in said {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn an_unknown_field_of_a_record_is_named_too() {
        let text = file().write().unwrap()
            + "workloads:\n- uid: u\n  name: redis\n  outcome: Succeeded\n  remediation: r\n  \
             endedAt: 2026-01-02T03:04:05Z\n  generation: 1\n  message: m\n  restarts: []\n  extra: 1\n";
        let error = SnapshotFile::read(&text).unwrap_err().to_string();
        assert!(error.starts_with("workloads[0].extra: unknown field"), "{error}");
    }

    #[test]
    fn a_policy_that_breaks_a_rule_is_refused_by_its_field() {
        let text = file().write().unwrap().replacen("restartPercent: 250", "restartPercent: 190", 1);
        let error = SnapshotFile::read(&text).unwrap().policy().unwrap_err().to_string();
        assert!(error.starts_with("policy.spec.fragmentation.restartPercent"), "{error}");
    }

    #[test]
    fn one_look_is_judged_at_once() {
        let mut file = file();
        file.judged = Judged::AtOnce;
        assert_eq!(file.policy().unwrap().fragmentation.sustained, Duration::ZERO);
        assert_eq!(file.settings().assess.warm_up, Duration::ZERO);
    }
}
