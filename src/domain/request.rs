//! What a person asks for by hand: a restart or a switchover without a threshold.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{names::PodName, written};

/// On a policy: what a person asks for, as JSON ([`Ask`]).
pub const REQUEST_ANNOTATION: &str = "redismemory.io/request";

/// The annotation as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Names this value of the annotation: the first 16 hexadecimal digits of its SHA-256. It is answered once.
    pub id: String,
    /// What is asked for, or what is wrong with the value.
    #[serde(with = "written::known")]
    pub ask: Result<Ask, String>,
}

/// What is asked for, by whom, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// What.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Who asks, by their own word; who really wrote the annotation is in the audit log of the API server.
    pub by: String,
    /// When they asked.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Wanted {
    /// The restart of a pod, or of all pods of a set.
    Restart {
        /// Name of the pod, or of a StatefulSet of the set.
        name: String,
    },
    /// Another primary.
    Switchover {
        /// Name of a StatefulSet of the set.
        set: String,
        /// The replica that takes over; absent: the one that a remediation would take.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<PodName>,
    },
}

impl Ask {
    /// "asked for by alice at 2026-01-02T03:00:00Z: kernel update": the cause, for people.
    pub fn cause(&self) -> String {
        format!("asked for by {} at {}: {}", self.by, self.at.strftime("%Y-%m-%dT%H:%M:%SZ"), self.reason)
    }
}

/// The last request that was answered: it is not carried out again, by this operator or by the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredRequest {
    /// The first 16 hexadecimal digits of the SHA-256 of the annotation redismemory.io/request.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Refused, or how its remediation ended.
    #[schemars(length(max = 32))]
    pub outcome: String,
    /// What happened, or why nothing did.
    #[schemars(length(max = 512))]
    pub message: String,
    /// When it was answered.
    #[schemars(with = "String", length(max = 40))]
    pub at: Timestamp,
}

impl AnsweredRequest {
    /// Outcome of a request that was not carried out.
    pub const REFUSED: &str = "Refused";

    /// An answer; the message is cut at 512 bytes.
    pub fn new(id: &str, outcome: &str, message: &str, at: Timestamp) -> Self {
        let message = message.get(..message.floor_char_boundary(512)).unwrap_or_default().to_owned();
        Self { id: id.to_owned(), outcome: outcome.to_owned(), message, at }
    }
}
