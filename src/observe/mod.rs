//! Reading the world: the sampler looks at every Redis, the pod cache at Kubernetes. Nothing here changes anything.

mod budgets;
pub mod lately;
mod managers;
pub mod nodes;
pub mod pods;
pub mod proxies;
pub mod sampler;
pub mod snapshot;
mod volumes;
