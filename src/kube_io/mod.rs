//! Everything that talks to the Kubernetes API server: reads in [`read`], [`secrets`] and [`cache`], the only
//! writes in [`write`], leadership in [`lease`] and the [`fence`] that every write has to pass.
//!
//! Every request has a timeout of its own, and none is retried here: the caller looks again and decides again.

pub mod around;
pub mod ask;
pub mod cache;
pub mod client;
pub mod error;
pub mod event;
pub mod fence;
pub mod forward;
pub mod lease;
pub mod overload;
pub mod policies;
pub mod read;
pub mod review;
pub mod rights;
pub mod secrets;
pub mod selectors;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod version;
pub mod write;
