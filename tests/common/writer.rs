//! A client that writes, remembers every acknowledged write, and looks later whether all are there.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis_memory_operator::clock::Clock;
use tokio::task::JoinHandle;

/// Writes `w:<n>` = `<n>` one after the other to whichever of the addresses takes writes.
pub struct Writer {
    acknowledged: Arc<Mutex<Acknowledged>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    /// Numbers below this were acknowledged, all of them.
    pub count: u64,
    /// The longest time between two acknowledgements.
    pub gap: Duration,
}

impl Writer {
    pub fn start(addresses: Vec<SocketAddr>) -> Self {
        Self::start_paced(addresses, Duration::ZERO)
    }

    /// The same with a pause after each write: for tests that last.
    pub fn start_paced(addresses: Vec<SocketAddr>, pause: Duration) -> Self {
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let shared = Arc::clone(&acknowledged);
        let task = tokio::spawn(async move {
            let clock = Clock::start();
            let mut last = clock.uptime();
            for address in addresses.iter().cycle() {
                let _the_next_address_may_do = write_on(*address, &shared, &clock, &mut last, pause).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { acknowledged, task }
    }

    pub fn so_far(&self) -> Acknowledged {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest gap since this was asked last.
    pub fn take_gap(&self) -> Duration {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut acknowledged.gap)
    }

    /// Stops writing and says what was acknowledged.
    pub async fn stop(self) -> Acknowledged {
        self.task.abort();
        let _aborted = self.task.await;
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_on(
    address: SocketAddr,
    shared: &Mutex<Acknowledged>,
    clock: &Clock,
    last: &mut Duration,
    pause: Duration,
) -> redis::RedisResult<()> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    loop {
        let next = shared.lock().unwrap_or_else(PoisonError::into_inner).count;
        redis::cmd("SET").arg(format!("w:{next}")).arg(next).exec_async(&mut connection).await?;
        let now = clock.uptime();
        {
            let mut acknowledged = shared.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.count = next + 1;
            acknowledged.gap = acknowledged.gap.max(now.saturating_sub(*last));
        }
        *last = now;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// How many of the acknowledged writes are not on this server.
pub async fn lost(address: SocketAddr, acknowledged: u64) -> u64 {
    let client = redis::Client::open(format!("redis://{address}")).expect("the address is one");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.expect("it is up");
    let mut lost = 0;
    for begin in (0..acknowledged).step_by(1000) {
        let mut command = redis::cmd("MGET");
        let numbers = begin..acknowledged.min(begin + 1000);
        numbers.clone().for_each(|n| {
            command.arg(format!("w:{n}"));
        });
        let values: Vec<Option<u64>> = command.query_async(&mut connection).await.expect("MGET answers");
        lost += numbers.zip(values).map(|(n, value)| u64::from(value != Some(n))).sum::<u64>();
    }
    lost
}
