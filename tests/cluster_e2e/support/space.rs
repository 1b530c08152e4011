//! A namespace of its own for each test. It goes when the test ends; after a panic it first shows what is in it.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use serde_json::Value;

use super::client::{self, Said};

/// A namespace that lives as long as this value.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) name: String,
}

impl Space {
    /// A new one, named after the test.
    pub(crate) fn new(test: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rmo-{test}-{}-{number}", process::id());
        client::kubectl(&["create", "namespace", &name]).or_panic("creating a namespace");
        Self { name }
    }

    /// `kubectl` in this namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        client::kubectl(&[&["--namespace", self.name.as_str()], arguments].concat())
    }

    /// `kubectl` in this namespace; panics when it fails.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).or_panic(&format!("kubectl {arguments:?}"))
    }

    /// `kubectl get … --output json` in this namespace.
    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        client::get_json(&[&["--namespace", self.name.as_str(), "get"], arguments].concat())
    }

    /// Applies YAML.
    pub(crate) fn apply(&self, yaml: &str) {
        self.try_apply(yaml).or_panic(&format!("applying\n{yaml}"));
    }

    /// Applies YAML, which may be refused.
    pub(crate) fn try_apply(&self, yaml: &str) -> Said {
        client::kubectl_with(&["--namespace", &self.name, "apply", "--filename", "-"], yaml)
    }

    /// A template of `tests/manifests`, with its words.
    pub(crate) fn render(&self, template: &str, words: &[(&str, &str)]) -> String {
        let mut command = client::script("tests/manifests/render");
        command.arg(template).arg(format!("NAMESPACE={}", self.name));
        command.args(words.iter().map(|(word, value)| format!("{word}={value}")));
        client::run(command).or_panic(&format!("rendering {template}"))
    }

    /// Evicts a pod as anybody may, through the Eviction API.
    pub(crate) fn evict(&self, pod: &str) {
        let body = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.name},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", self.name);
        client::kubectl_with(&["create", "--raw", &path, "--filename", "-"], &body.to_string()).or_panic("evicting");
    }

    fn dump(&self) {
        let show = |what: &str, said: Said| eprintln!("--- {what}\n{}{}", said.stdout, said.stderr);
        eprintln!("=== namespace {} as the test left it", self.name);
        show("policies", self.kubectl(&["get", "redismemorypolicies", "--output", "yaml"]));
        show("pods", self.kubectl(&["get", "pods", "--output", "wide", "--show-labels"]));
        show("events", self.kubectl(&["get", "events", "--sort-by=.metadata.creationTimestamp"]));
        let deployment = "deployment/redis-memory-operator";
        let logs = ["--namespace", super::operator::NAMESPACE, "logs", deployment, "--tail=80"];
        show("operator", client::kubectl(&logs));
        show("operator before", client::kubectl(&[logs.as_slice(), &["--previous"]].concat()));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if thread::panicking() {
            self.dump();
        }
        client::kubectl(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
    }
}
