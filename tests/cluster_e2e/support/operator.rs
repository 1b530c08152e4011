//! The operator in the cluster. One installation is shared; a test that needs another one has it for itself.

use std::{
    process::Command,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{client, eventually, require};

/// Where it is installed.
pub(crate) const NAMESPACE: &str = "redis-memory-operator";
/// The name of release, Deployment and ServiceAccount.
pub(crate) const NAME: &str = "redis-memory-operator";
/// Its user, as the API server knows it.
pub(crate) const USER: &str = "system:serviceaccount:redis-memory-operator:redis-memory-operator";

/// Who uses the operator as it is installed: many readers, or one who installs it in another way.
static USE: RwLock<()> = RwLock::new(());
/// How it is installed now: the Helm options, or nothing known.
static INSTALLED: Mutex<Option<String>> = Mutex::new(None);

/// How much may work the node at one time, which has few cores: three tests, or one that measures time and one more.
const BUSY_AT_MOST: u32 = 6;
/// … of which a test takes this much …
const ORDINARY: u32 = 2;
/// … and one that measures time this much.
const MEASURING: u32 = 3;
/// How much does.
static BUSY: Mutex<u32> = Mutex::new(0);
/// One has ended.
static FREE: Condvar = Condvar::new();
/// Who waits for room. One at a time: no other takes what becomes free for a test that needs more.
static NEXT: Mutex<()> = Mutex::new(());

/// One of the tests that work the node, with how much it takes of it.
#[derive(Debug)]
struct Busy(u32);

impl Busy {
    fn await_turn(takes: u32) -> Self {
        let _next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |busy: &mut u32| *busy + takes > BUSY_AT_MOST;
        *FREE.wait_while(busy, full).unwrap_or_else(PoisonError::into_inner) += takes;
        Self(takes)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREE.notify_one();
    }
}

/// The operator as `tests/demo/values.yaml` has it, with all acting rights. No other one is installed while this lives.
#[derive(Debug)]
pub(crate) struct Usual {
    _use: RwLockReadGuard<'static, ()>,
    _busy: Option<Busy>,
}

impl Usual {
    /// From here on the test only looks: another may work the node.
    #[allow(dead_code, reason = "tests/cluster_deployments uses it")]
    pub(crate) fn rest(self) -> Self {
        Self { _busy: None, ..self }
    }
}

/// The usual operator; installs it when another one, or none, is there.
pub(crate) fn usual() -> Usual {
    usual_of(ORDINARY)
}

/// The usual operator, for a test that measures how long something takes: less works the node beside it.
pub(crate) fn measuring() -> Usual {
    usual_of(MEASURING)
}

fn usual_of(takes: u32) -> Usual {
    let busy = Busy::await_turn(takes);
    Usual { _busy: Some(busy), ..idle() }
}

/// The usual operator, for a test that only waits: others work the node beside it.
pub(crate) fn idle() -> Usual {
    loop {
        let guard = USE.read().unwrap_or_else(PoisonError::into_inner);
        if installed().as_deref() == Some("") {
            return Usual { _use: guard, _busy: None };
        }
        drop(guard);
        let _alone = USE.write().unwrap_or_else(PoisonError::into_inner);
        install(&mut installed(), &Options::default());
    }
}

/// An operator that is installed in another way, for one test alone.
#[derive(Debug)]
pub(crate) struct Special {
    _use: RwLockWriteGuard<'static, ()>,
}

/// How a special operator differs from the usual one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Helm `--set-json` options.
    pub(crate) set: Vec<String>,
    /// The image with crash points.
    pub(crate) crash_image: bool,
}

/// Waits until nobody uses the operator and installs it like that. A pod of it that ran before is gone afterwards.
pub(crate) fn special(options: &Options) -> Special {
    let guard = USE.write().unwrap_or_else(PoisonError::into_inner);
    install(&mut installed(), options);
    Special { _use: guard }
}

fn installed() -> MutexGuard<'static, Option<String>> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(installed: &mut Option<String>, options: &Options) {
    let text = format!("{}{}", if options.crash_image { "crash " } else { "" }, options.set.join(" "));
    if installed.as_deref() == Some(text.as_str()) && text.is_empty() {
        return;
    }
    *installed = None;
    let mut command = client::script("tests/demo/install");
    for option in &options.set {
        command.args(["--set-json", option]);
    }
    if options.crash_image {
        command.env("RMO_OPERATOR_IMAGE", client::setting("RMO_IMAGE_OPERATOR_CRASH"));
    }
    run_long(command, "installing the operator");
    // A new pod, so that neither an image that was built again nor an earlier test has left something in it.
    let deployment = format!("deployment/{NAME}");
    client::kubectl(&["--namespace", NAMESPACE, "rollout", "restart", &deployment]).or_panic("restarting the operator");
    client::kubectl(&["--namespace", NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"])
        .or_panic("the operator's rollout");
    eventually("one pod of the operator", 60, || {
        let names = pod_names();
        require(names.len() == 1, || format!("{names:?}"))
    });
    *installed = Some(text);
}

fn run_long(command: Command, what: &str) {
    client::run(command).or_panic(what);
}

fn pod_names() -> Vec<String> {
    let pods = client::get_json(&["--namespace", NAMESPACE, "get", "pods"]);
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// What the pod of `helm test` has said, of the release as it is installed (`--logs`: Helm 3 deletes the pod before it asks).
#[allow(dead_code, reason = "tests/cluster_deployments has no use for it")]
pub(crate) fn helm_test() -> String {
    let mut command = client::script("tests/cluster/helm");
    command.args(["test", NAME, "--namespace", NAMESPACE, "--logs", "--timeout", "60s"]);
    client::run(command).or_panic("helm test")
}

/// The one pod of the operator.
pub(crate) fn pod() -> serde_json::Value {
    let pods = client::get_json(&["--namespace", NAMESPACE, "get", "pods"]);
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let [pod] = pods.as_slice() else { panic!("not one pod of the operator: {}", pods.len()) };
    pod.clone()
}

/// What the container before the present one said last.
pub(crate) fn previous_log() -> Result<String, String> {
    let deployment = format!("deployment/{NAME}");
    client::kubectl(&["--namespace", NAMESPACE, "logs", &deployment, "--previous", "--tail=200"]).into_result()
}

/// What the operator's pod of that address serves under /metrics, asked inside the embedded cluster's network: the API
/// server has no part in it.
pub(crate) fn metrics(address: &str) -> Result<String, String> {
    let mut command = client::script("tests/cluster/in-netns");
    command.args(["curl", "--silent", "--fail", "--max-time", "5", &format!("http://{address}:8080/metrics")]);
    client::run(command).into_result()
}
