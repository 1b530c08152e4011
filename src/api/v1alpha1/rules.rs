//! The rules of the spec, each written once: as CEL for the API server, and as the text that both the API server and
//! [`crate::validate`] show. A text says what is wrong and what to do.
//!
//! Only CEL that every API server since 1.29 compiles is used. Everything that a rule reads has a length limit, so
//! that the API server's cost estimate holds.

use schemars::Schema;
use serde_json::{Value, json};

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// CEL; `self` is the value that the rule stands at.
    pub cel: &'static str,
    /// What is wrong and what to do.
    pub message: &'static str,
    /// The field below `self` that is to blame; empty: `self`.
    pub field: &'static str,
}

const fn rule(cel: &'static str, message: &'static str) -> Rule {
    Rule { cel, message, field: "" }
}

impl Rule {
    const fn at(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

/// A label value to compare with; it may be empty.
const SELECTED_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Longest label key: prefix of 253, slash, name of 63.
pub const MAX_LABEL_KEY: usize = 317;

/// The selector selects something in particular.
pub const SELECTOR_NOT_EMPTY: Rule = rule(
    "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
    "must not be empty: it would match every pod of the namespace; give matchLabels, for example {app: redis}",
);
/// Keys that a label can have.
pub const SELECTOR_KEYS: Rule = rule(
    "!has(self.matchLabels) || self.matchLabels.all(k, k.matches('^([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    "has a key that is not a label key; write [prefix/]name, for example app or app.kubernetes.io/name",
)
.at(".matchLabels");
/// In and NotIn compare with something; the others with nothing.
pub const SELECTOR_VALUES: Rule = rule(
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "operators In and NotIn need values, Exists and DoesNotExist take none; add or remove values",
);
/// Moving the label must not move the pod out of the selection.
pub const SELECTOR_WITHOUT_ROLE: Rule = rule(
    "!(has(self.selector.matchLabels) && self.redis.roleLabel.key in self.selector.matchLabels) && \
     !(has(self.selector.matchExpressions) && self.selector.matchExpressions.exists(e, e.key == self.redis.roleLabel.key))",
    "must not select on redis.roleLabel.key: a pod would leave the selection when its role changes; select on labels that all members share",
)
.at(".selector");
/// A label key.
pub const LABEL_KEY: Rule = rule(
    "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    "is not a label key; write [prefix/]name, for example redismemory.io/role",
);
/// Labels that Kubernetes' own controllers read are not ours to move.
pub const LABEL_KEY_OWN: Rule = rule(
    "self.startsWith('app.kubernetes.io/') || !(self in ['controller-revision-hash', 'pod-template-hash'] || \
     self.matches('^([^/]*[.])?(kubernetes|k8s)[.]io/'))",
    "belongs to Kubernetes; use a key of your own, for example redismemory.io/role",
);
/// A label value that says something.
pub const LABEL_VALUE: Rule = rule(
    "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    "is not a label value; use 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends",
);
/// The two roles can be told apart.
pub const ROLES_DIFFER: Rule =
    rule("self.primary != self.replica", "must differ from roleLabel.primary; write for example replica")
        .at(".replica");
/// A container name.
pub const CONTAINER: Rule = rule(
    "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
    "is not a container name; use 1 to 63 lower-case letters, digits or '-', for example redis",
);
/// The name of an eviction policy: of which kind there are is the server's affair.
pub const EVICTION_POLICY: Rule = rule(
    "self.matches('^[a-z]([-a-z0-9]{0,62}[a-z0-9])?$')",
    "is not the name of a maxmemory-policy; write it as the server does, for example noeviction or allkeys-lru",
);
/// A port number, quoted or not, or the name of a container port.
pub const PORT: Rule = rule(
    "string(self).matches('^-?[0-9]+$') ? (int(string(self)) >= 1 && int(string(self)) <= 65535) : \
     (string(self).matches('^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$') && string(self).matches('[a-z]') && !string(self).contains('--'))",
    "is neither a port number from 1 to 65535 nor a port name (at most 15 lower-case letters, digits or '-', with a letter); write for example 6379 or redis",
);
/// An ACL user.
pub const USERNAME: Rule =
    rule("self.matches('^[!-~]{1,128}$')", "is not an ACL user name; use 1 to 128 printable characters without spaces");
/// A user without a password cannot log in.
pub const USERNAME_NEEDS_PASSWORD: Rule = rule(
    "!has(self.username) || has(self.passwordSecret)",
    "needs passwordSecret: a user cannot log in without a password; add passwordSecret or remove username",
)
.at(".username");
/// The name by which Sentinels know a set.
pub const MASTER_NAME: Rule = rule(
    "self.matches('^[-._A-Za-z0-9]{1,64}$')",
    "is not a name by which a Sentinel knows a set; use 1 to 64 letters, digits, '-', '_' and '.', for example mymaster, as after `sentinel monitor`",
);
/// The name of a Secret.
pub const SECRET_NAME: Rule = rule(
    "size(self) <= 253 && self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "is not the name of a Secret; use lower-case letters, digits, '-' and '.', for example redis-auth",
);
/// A key within a Secret.
pub const SECRET_KEY: Rule = rule(
    "self.matches('^[-._a-zA-Z0-9]{1,253}$')",
    "is not a key of a Secret; use letters, digits, '-', '_' and '.', for example password",
);
/// The name in a server's certificate; an IPv4 address has the same form.
pub const SERVER_NAME: Rule = rule(
    "size(self) <= 253 && self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')",
    "is not a DNS name; use lower-case letters, digits, '-' and '.', for example redis.shop.svc, as it stands in the server's certificate",
);
/// An amount of memory with a unit that was not forgotten.
pub const MEMORY: Rule = rule(
    "isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('1Pi')) <= 0",
    "is not an amount of memory from 1Mi to 1Pi; write a number with a unit, for example 64Mi or 1.5Gi",
);
/// An amount of replication lag.
pub const LAG: Rule = rule(
    "isQuantity(self) && quantity(self).compareTo(quantity('1')) >= 0 && quantity(self).compareTo(quantity('1Pi')) <= 0",
    "is not an amount of bytes from 1 to 1Pi; write a number with a unit, for example 1Mi",
);
/// A limit that may never be set would make every remedy void.
pub const MAXIMUM_LIMIT: Rule = rule(
    "!has(self.maximumLimit) || !isQuantity(self.maximumLimit) || !isQuantity(self.minimum) || \
     quantity(self.maximumLimit).compareTo(quantity(self.minimum)) >= 0",
    "must be at least headroom.minimum, else no limit could ever be raised; raise maximumLimit",
)
.at(".maximumLimit");
/// Keys may only go where they are made again from elsewhere.
pub const ALLOW_EVICTION: Rule = rule(
    "!self.headroom.allowEviction || (has(self.purpose) && self.purpose == 'Cache' && 'SetMaxmemory' in self.headroom.remedies)",
    "needs purpose: Cache and SetMaxmemory among headroom.remedies: only there may keys go; set both, or leave allowEviction out",
)
.at(".headroom.allowEviction");
/// `Report` says that nothing is done.
pub const HEADROOM_REPORT_ALONE: Rule = rule(
    "!('Report' in self) || size(self) == 1",
    "Report means that nothing is done and cannot stand beside another remedy; remove one of the two (a finding is reported in any case)",
);
/// `Report` says that nothing is done.
pub const FRAGMENTATION_REPORT_ALONE: Rule = rule(
    "!('Report' in self) || size(self) == 1",
    "Report means that nothing is done and cannot stand beside Restart; remove one of the two (a finding is reported in any case)",
);
/// Sets are atomic lists with this rule, not lists of type `set`: server-side apply merges a `set` with what the
/// API server's defaults put there, so that `[Report]` over a defaulted `[Restart]` would become both.
pub const NO_VALUE_TWICE: Rule = rule(
    "self.all(x, self.exists_one(y, y == x))",
    "names a value twice; each may stand there once: remove the second",
);
/// Moderate < serious.
pub const SERIOUS_ABOVE_MODERATE: Rule = rule(
    "self.moderatePercent < self.seriousPercent",
    "must be above moderatePercent; the order is moderate < serious < critical < restart",
)
.at(".seriousPercent");
/// Serious < critical.
pub const CRITICAL_ABOVE_SERIOUS: Rule = rule(
    "self.seriousPercent < self.criticalPercent",
    "must be above seriousPercent; the order is moderate < serious < critical < restart",
)
.at(".criticalPercent");
/// Critical < restart.
pub const RESTART_ABOVE_CRITICAL: Rule = rule(
    "self.criticalPercent < self.restartPercent",
    "must be above criticalPercent; the order is moderate < serious < critical < restart",
)
.at(".restartPercent");

/// The form of a duration. The number of digits keeps CEL's `duration()` from overflowing.
macro_rules! duration_rule {
    ($least:literal, $most:literal, $message:literal) => {
        rule(
            concat!(
                "size(self) > 0 && self.matches('^([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$') && ",
                "duration(self) >= duration('",
                $least,
                "') && duration(self) <= duration('",
                $most,
                "')"
            ),
            $message,
        )
    };
}

/// `fragmentation.sustained`: the history of a target is kept in memory for this time.
pub const SUSTAINED: Rule =
    duration_rule!("1s", "6h", "is not a duration from 1s to 6h; write whole numbers with h, m, s, for example 10m");
/// `restart.cooldown`.
pub const COOLDOWN: Rule = duration_rule!(
    "0s",
    "8760h",
    "is not a duration from 0s to 8760h; write whole numbers with h, m, s, for example 24h"
);
/// `restart.stepTimeout`.
pub const STEP_TIMEOUT: Rule = duration_rule!(
    "10s",
    "24h",
    "is not a duration from 10s to 24h; write whole numbers with h, m, s, for example 30m"
);

/// `restart.maximumWriteGap`.
pub const MAXIMUM_WRITE_GAP: Rule =
    duration_rule!("0s", "1h", "is not a duration from 0s to 1h; write whole numbers with h, m, s, ms, for example 5s");

/// `restart.windows[].duration`.
pub const WINDOW_DURATION: Rule =
    duration_rule!("1m", "24h", "is not a duration from 1m to 24h; write whole numbers with h, m, s, for example 2h");
/// `restart.windows[].schedule`: the form; what CEL cannot tell, `validate` says.
pub const SCHEDULE: Rule = rule(
    "self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[-*/,?0-9A-Za-z]+( +[-*/,?0-9A-Za-z]+){4})$')",
    "is not a cron schedule; write five fields, minute hour day-of-month month day-of-week, for example 0 3 * * SUN",
);
/// `restart.windows[].timeZone`: the form; whether the zone exists, `validate` says.
pub const TIME_ZONE: Rule = rule(
    "self.matches('^[A-Za-z][-A-Za-z0-9_+]*(/[-A-Za-z0-9_+]+)*$')",
    "is not the name of a time zone; write an IANA name, for example Europe/Berlin or UTC",
);

/// Writes the rules into the schema that they stand at.
fn attach(schema: &mut Schema, rules: &[Rule]) {
    if schema.get("type").is_some_and(|t| t == "array") {
        schema.insert("x-kubernetes-list-type".into(), "atomic".into());
    }
    let rules = rules.iter().map(|rule| {
        let mut entry = json!({"rule": rule.cel, "message": rule.message});
        if let (false, Some(entry)) = (rule.field.is_empty(), entry.as_object_mut()) {
            entry.insert("fieldPath".into(), rule.field.into());
        }
        entry
    });
    schema.insert("x-kubernetes-validations".into(), rules.collect());
}

macro_rules! attachers {
    ($($name:ident: [$($rule:ident),+],)+) => {
        $(pub(super) fn $name(schema: &mut Schema) {
            attach(schema, &[$($rule),+]);
        })+
    };
}

attachers! {
    spec: [SELECTOR_WITHOUT_ROLE, ALLOW_EVICTION],
    label_key: [LABEL_KEY, LABEL_KEY_OWN],
    label_value: [LABEL_VALUE],
    role_label: [ROLES_DIFFER],
    container: [CONTAINER],
    username: [USERNAME],
    master_name: [MASTER_NAME],
    redis: [USERNAME_NEEDS_PASSWORD],
    secret_name: [SECRET_NAME],
    secret_key: [SECRET_KEY],
    server_name: [SERVER_NAME],
    memory: [MEMORY],
    lag: [LAG],
    headroom: [MAXIMUM_LIMIT],
    headroom_remedies: [NO_VALUE_TWICE, HEADROOM_REPORT_ALONE],
    eviction_allowed: [NO_VALUE_TWICE],
    eviction_policy: [EVICTION_POLICY],
    fragmentation: [SERIOUS_ABOVE_MODERATE, CRITICAL_ABOVE_SERIOUS, RESTART_ABOVE_CRITICAL],
    fragmentation_remedies: [NO_VALUE_TWICE, FRAGMENTATION_REPORT_ALONE],
    sustained: [SUSTAINED],
    cooldown: [COOLDOWN],
    step_timeout: [STEP_TIMEOUT],
    maximum_write_gap: [MAXIMUM_WRITE_GAP],
    windows: [NO_VALUE_TWICE],
    window_duration: [WINDOW_DURATION],
    schedule: [SCHEDULE],
    time_zone: [TIME_ZONE],
}

/// A number or a string; the lengths keep the rule cheap.
pub(super) fn port(schema: &mut Schema) {
    schema.insert("x-kubernetes-int-or-string".into(), Value::Bool(true));
    schema.insert("maxLength".into(), 15.into());
    attach(schema, &[PORT]);
}

/// The schema of a label selector, as Kubernetes has it, with limits and rules.
pub(super) fn selector(_: &mut schemars::SchemaGenerator) -> Schema {
    let mut key = schemars::json_schema!({"type": "string", "maxLength": MAX_LABEL_KEY, "description": "Label key."});
    attach(&mut key, &[LABEL_KEY]);
    let mut expression = schemars::json_schema!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": key,
            "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How the label is compared."},
            "values": {
                "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic", "description": "For In and NotIn.",
                "items": {"type": "string", "maxLength": 63, "pattern": SELECTED_VALUE},
            },
        },
    });
    attach(&mut expression, &[SELECTOR_VALUES]);
    let mut selector = schemars::json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object", "maxProperties": 16, "description": "Labels that a pod must have.",
                "additionalProperties": {"type": "string", "maxLength": 63, "pattern": SELECTED_VALUE},
            },
            "matchExpressions": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "description": "Requirements that a pod must meet, all of them.",
                "items": expression,
            },
        },
    });
    attach(&mut selector, &[SELECTOR_NOT_EMPTY, SELECTOR_KEYS]);
    selector
}
