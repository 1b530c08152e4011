//! Who last set what this operator keeps right, by the pod's own record of field managers. Pure.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};

use crate::{
    domain::pod::FieldManagers,
    kube_io::{text::plain, write::MANAGER},
};

/// The longest name that is kept.
const NAME_CAP: usize = 128;

/// The other managers of the role label and of that container's memory limit. A pod from a cache has no record.
pub(super) fn of(pod: &Pod, label_key: &str, container: Option<&str>) -> FieldManagers {
    let label = format!("f:{label_key}");
    let role_label = last(pod, &["f:metadata", "f:labels", &label]);
    let limit = container.and_then(|name| {
        let item = format!("k:{{\"name\":\"{name}\"}}");
        last(pod, &["f:spec", "f:containers", &item, "f:resources", "f:limits", "f:memory"])
    });
    FieldManagers { role_label, limit }
}

/// The newest manager of that field that is not this operator.
fn last(pod: &Pod, path: &[&str]) -> Option<String> {
    let entries = pod.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| entry.manager.as_deref() != Some(MANAGER) && has(entry, path));
    let newest = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    newest.manager.as_deref().map(|name| plain(name, NAME_CAP))
}

fn has(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    path.iter().try_fold(fields, |at, step| at?.get(step).map(Some)).flatten().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_of_the_others_is_named() {
        let limit = |manager: &str, time: &str| {
            json!({"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1":
                {"f:spec": {"f:containers": {"k:{\"name\":\"redis\"}":
                    {"f:resources": {"f:limits": {"f:memory": {}}}}}}}})
        };
        let label = json!({"manager": "labeller", "operation": "Update", "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:redismemory.io/role": {}}}}});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"managedFields": [
            limit("kubectl-create", "2026-01-01T00:00:00Z"), limit("vpa-updater", "2026-01-02T00:00:00Z"),
            limit(MANAGER, "2026-01-03T00:00:00Z"), label,
        ]}}))
        .unwrap();
        let found = of(&pod, "redismemory.io/role", Some("redis"));
        assert_eq!(found.limit.as_deref(), Some("vpa-updater"));
        assert_eq!(found.role_label.as_deref(), Some("labeller"));
        assert!(of(&Pod::default(), "redismemory.io/role", Some("redis")).is_unknown());
        assert_eq!(of(&pod, "another", Some("sidecar")), FieldManagers::default());
    }
}
