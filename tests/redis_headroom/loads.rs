//! The loads, under a limit, and what came of them.

use std::time::Duration;

use redis_memory_operator::{clock::Clock, domain::bytes::Bytes};

use crate::{
    group::Gauge,
    plan::{Load, REPLICA_TIMEOUT},
    scene::{Killed, POLL, Scene},
    traffic::stream,
};

/// What a child writes in a second (see `NAPS` of the scene).
const SAVED_A_SECOND: u64 = 50_000_000;
/// How long an allocator may take to give back what it keeps: twice what jemalloc takes.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) limit: Bytes,
    /// The kernel killed a server or a child of it; or there was no room for it at rest.
    pub(crate) killed: bool,
    /// The most anonymous memory of one member.
    pub(crate) peak: Bytes,
}

impl Outcome {
    /// The peak of the limit, in percent.
    pub(crate) const fn share(&self) -> u64 {
        self.peak.0 * 100 / self.limit.0
    }
}

impl Scene {
    /// The load under that limit, for every member.
    pub(crate) async fn under(&mut self, limit: Bytes) -> Outcome {
        self.fill();
        let fits = self.fits(limit).await;
        let gauges: Vec<Gauge> = self.members.iter().map(|member| Gauge::start(&member.group)).collect();
        let killed = !fits || self.load().await.is_err();
        let peak = gauges.iter().map(Gauge::peak).max().unwrap_or_default();
        Outcome { limit, killed, peak }
    }

    /// Sets the limit of every member. What an allocator keeps of an earlier load it gives back within seconds, or never.
    async fn fits(&self, limit: Bytes) -> bool {
        let clock = Clock::start();
        while !self.members.iter().all(|member| member.group.limit(limit)) {
            if clock.uptime() >= GIVEN_BACK {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    async fn load(&mut self) -> Result<(), Killed> {
        match self.plan.load {
            Load::Save => {
                let _writer = self.overwriter(self.plan.rate());
                self.save().await?;
            }
            Load::StalledReplica => self.with_stalled_replica().await?,
            Load::StalledClients => self.with_stalled_clients().await?,
        }
        self.calm().await
    }

    /// The stream of the time after which the replica would be cut off, however fast it is written.
    async fn with_stalled_replica(&mut self) -> Result<(), Killed> {
        self.members[1].server.freeze();
        let (address, bytes) = (self.members[0].server.address(), self.plan.rate() * REPLICA_TIMEOUT.as_secs());
        let writer = self.overwriter(self.plan.rate());
        let streams = std::thread::spawn(move || stream(address, bytes));
        let saved = self.save().await;
        let streamed = match saved {
            Ok(()) => self.until(1, "all is written", |_| streams.is_finished()).await,
            Err(Killed) => Err(Killed),
        };
        drop(writer);
        self.members[1].server.thaw();
        let taken = streams.join().expect("it does not panic");
        assert!(streamed.is_err() || taken.is_ok(), "{taken:?}");
        streamed
    }

    async fn with_stalled_clients(&mut self) -> Result<(), Killed> {
        let writer = self.overwriter(self.plan.rate());
        self.begin_sync().await?;
        // The clients come when half of the pages that this fork will copy are copied.
        let half = self.plan.rate() * self.plan.maxmemory.0 / SAVED_A_SECOND / 2;
        self.until(1, "half is written", |_| writer.written() >= half).await?;
        let _stalled = self.stall().await?;
        self.synced().await
    }
}
