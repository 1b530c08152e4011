//! What the tests on a real API server share: a client, waiting, cleaning up, and the definition of policies.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use redis_memory_operator::{
    api::v1alpha1::{RedisMemoryPolicy, crd},
    kube_io::client::{ClientOptions, client},
};
use tokio::sync::Mutex;

/// How long anything may take. A remediation takes some 20 s on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(200);

/// The client that the operator uses, with the rights of KUBECONFIG's user.
pub(crate) async fn admin() -> Client {
    client(&ClientOptions::default()).await.expect("KUBECONFIG names a cluster")
}

/// Looks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = look().await {
                return answer;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    answer.await.unwrap_or_else(|_| panic!("still waiting for {what} after {} s", PATIENCE.as_secs()))
}

/// Runs a last job from a destructor: in a thread with a runtime of its own, because the test's may be gone.
pub(crate) fn cleanup<F>(job: impl FnOnce(Client) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let worker = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bounded = tokio::time::timeout(Duration::from_secs(30), async { job(admin().await).await });
            drop(bounded.await);
        });
    });
    drop(worker.join());
}

/// The definition of policies: made by the first test of a program, removed with the last, if it was not there before.
/// Helm refuses to take over one that a test has left.
pub(crate) struct Definition {
    ours: bool,
}

static SHARED: Mutex<Weak<Definition>> = Mutex::const_new(Weak::new());

impl Definition {
    pub(crate) async fn ensure() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(definition) = shared.upgrade() {
            return definition;
        }
        let client = admin().await;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let name = crd().name_any();
        let mut ours = false;
        eventually("the definition is established", async || {
            // One that is being deleted is waited for, and made anew.
            ours |= definitions.create(&PostParams::default(), &crd()).await.is_ok();
            let found = definitions.get(&name).await.ok()?;
            let conditions = found.status.filter(|_| found.metadata.deletion_timestamp.is_none())?.conditions?;
            conditions.iter().any(|it| it.type_ == "Established" && it.status == "True").then_some(())
        })
        .await;
        // One that was established a moment ago is not served by every path at once.
        let policies: Api<RedisMemoryPolicy> = Api::all(client);
        eventually("policies are served", async || policies.list(&ListParams::default().limit(1)).await.ok()).await;
        let definition = Arc::new(Self { ours });
        *shared = Arc::downgrade(&definition);
        definition
    }
}

impl Drop for Definition {
    fn drop(&mut self) {
        if self.ours {
            cleanup(async |client| {
                let definitions: Api<CustomResourceDefinition> = Api::all(client);
                let name = crd().name_any();
                drop(definitions.delete(&name, &DeleteParams::default()).await);
                let gone = async || matches!(definitions.get_opt(&name).await, Ok(None)).then_some(());
                eventually("the definition is gone", gone).await;
            });
        }
    }
}
