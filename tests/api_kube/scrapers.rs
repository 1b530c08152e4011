//! Whose a token is, and whether that one may read `/metrics`: by a real API server, and with the chart's rights alone.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use redis_memory_operator::kube_io::{
    review::{self, Reviewed},
    rights::{RIGHTS, Role},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, acting_as, cleanup, eventually};

/// What belongs to no namespace, and is deleted when the test ends.
struct Global(String);

impl Global {
    async fn create(sandbox: &Sandbox, what: &str, rules: Value, to: &str) -> Self {
        let name = format!("{}-{what}", sandbox.namespace);
        put::<ClusterRole>(sandbox, json!({"metadata": {"name": name}, "rules": rules})).await;
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
        let subjects = json!([{"kind": "ServiceAccount", "name": to, "namespace": sandbox.namespace}]);
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": subjects});
        put::<ClusterRoleBinding>(sandbox, binding).await;
        Self(name)
    }
}

impl Drop for Global {
    fn drop(&mut self) {
        let name = self.0.clone();
        cleanup(move |client| async move {
            drop(Api::<ClusterRoleBinding>::all(client.clone()).delete(&name, &DeleteParams::default()).await);
            drop(Api::<ClusterRole>::all(client).delete(&name, &DeleteParams::default()).await);
        });
    }
}

async fn put<K>(sandbox: &Sandbox, object: Value)
where
    K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("an object of that kind");
    Api::<K>::all(sandbox.client.clone()).create(&PostParams::default(), &object).await.expect("it is created");
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server"]
async fn whose_token_it_is_and_what_that_one_may() {
    let sandbox = Sandbox::new("scrapers").await;
    for account in ["prometheus", "operator"] {
        let _: ServiceAccount = sandbox.create(json!({"metadata": {"name": account}})).await;
    }
    let accounts = sandbox.api::<ServiceAccount>();
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let issued = accounts.create_token_request("prometheus", &PostParams::default(), &request).await;
    let token = issued.expect("a token").status.expect("a token").token;

    let user = |account: &str| format!("system:serviceaccount:{}:{account}", sandbox.namespace);
    let operator = acting_as(&user("operator")).await;
    let refused = review::of(&operator, token.clone()).await.expect_err("it has no right to ask").to_string();
    assert!(refused.contains("tokenreviews"), "{refused}");

    let of_ours = RIGHTS.iter().filter(|right| right.role == Role::Metrics);
    let rule = |right: &redis_memory_operator::kube_io::rights::Right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs});
    let rules: Vec<Value> = of_ours.map(rule).collect();
    let _asks = Global::create(&sandbox, "asks", json!(rules), "operator").await;
    let answer = async || review::of(&operator, token.clone()).await.ok();
    let first = eventually("the right to ask is known", &answer).await;
    assert_eq!(first, Reviewed::MayNot(user("prometheus")));
    let nobodys = review::of(&operator, "made-up".to_owned()).await.expect("an answer");
    assert_eq!(nobodys, Reviewed::Unknown);

    let reads = json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]);
    let _reads = Global::create(&sandbox, "reads", reads, "prometheus").await;
    eventually("it may", async || (answer().await == Some(Reviewed::May)).then_some(())).await;
}
