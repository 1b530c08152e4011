//! One password for every Secret that is asked for.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::future::BoxFuture;
use redis_memory_operator::{
    domain::{policy::SecretKey, snapshot::ProbeFailure},
    observe::sampler::SecretSource,
};
use zeroize::Zeroizing;

/// The password, where there is one, and how often it was read.
#[derive(Debug, Default)]
pub struct Secret {
    value: Mutex<Option<String>>,
    reads: AtomicUsize,
}

impl Secret {
    pub fn new(value: Option<&str>) -> Arc<Self> {
        let secret = Arc::new(Self::default());
        secret.set(value);
        secret
    }

    pub fn set(&self, value: Option<&str>) {
        *self.value.lock().expect("nobody panicked") = value.map(str::to_owned);
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl SecretSource for Secret {
    fn get<'a>(&'a self, _: &'a str, key: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let value = self.value.lock().expect("nobody panicked").clone();
        let missing = || ProbeFailure::SecretUnavailable(format!("Secret {} has no key {}", key.name, key.key));
        Box::pin(async move { value.map(Zeroizing::new).ok_or_else(missing) })
    }
}
