//! How leadership is held: names and times, and whether they can work.

use std::time::Duration;

/// How leadership is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseParams {
    /// Namespace of the Lease: the operator's own.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// The Deployment of the operator, in the same namespace: the Lease goes when it goes, but for a Lease that carries
    /// a stop, which outlives it. `None`, or one that cannot be read: the Lease stays until somebody deletes it.
    pub owner: Option<String>,
    /// Who we are. Must be unique among processes that run at the same time: a Lease that names us is taken back at
    /// once. The pod's name is right, because a pod's container is not restarted before the old one has ended.
    pub identity: String,
    /// How long a Lease that is not renewed stays valid; whole seconds on the wire, rounded up. 15 s.
    pub duration: Duration,
    /// How often the holder renews. 5 s.
    pub renew: Duration,
    /// The holder begins no write in the last part of the duration, so that one that was begun ends in time. 5 s.
    pub margin: Duration,
    /// How often a candidate looks, and how soon a failed renewal is repeated. 2 s, as in client-go.
    pub retry: Duration,
}

impl LeaseParams {
    /// 15 s, renewed every 5 s, margin 5 s, looked at every 2 s.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            owner: None,
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            margin: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }

    /// The same with another duration and renewal interval; margin (a third of the duration) and retry (at most
    /// 2 s, at most half of the interval) follow.
    #[must_use]
    pub fn timing(mut self, duration: Duration, renew: Duration) -> Self {
        self.duration = duration;
        self.renew = renew;
        self.margin = duration / 3;
        self.retry = (renew / 2).min(Duration::from_secs(2));
        self
    }

    /// Refuses settings under which the term would end before it is renewed.
    pub fn check(&self) -> Result<(), LeaseError> {
        let usable = self.duration.saturating_sub(self.margin);
        if self.identity.is_empty() {
            return Err(LeaseError::NoIdentity);
        }
        if self.renew.is_zero() || self.retry.is_zero() || self.renew.saturating_add(self.retry) > usable {
            return Err(LeaseError::Timing { duration: self.duration, renew: self.renew, usable });
        }
        Ok(())
    }
}

/// The lease settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Without an identity every process would take the Lease for its own.
    #[error("the lease identity is empty")]
    NoIdentity,
    /// The term would end before it is renewed.
    #[error(
        "a lease of {duration:?} lets writes begin for {usable:?} after a renewal: too short to renew every {renew:?} \
         with time for a second try"
    )]
    Timing {
        /// The lease duration.
        duration: Duration,
        /// The renewal interval.
        renew: Duration,
        /// Duration less margin.
        usable: Duration,
    },
}
