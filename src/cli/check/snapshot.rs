//! What `check` saw, as a snapshot file. Kubernetes was not asked, so of pods and their sets nothing is claimed.

use std::net::{IpAddr, SocketAddr};

use super::{CheckError, Checked, default_policy, split};
use crate::{
    cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    clock::Clock,
    domain::{
        addresses::PodAddresses,
        bytes::Bytes,
        names::{PodName, PodUid},
        peaks::Peaks,
        pod::{Container, FieldManagers, Pod, ResizeProgress},
        snapshot::{Observation, ProbeFailure, Snapshot, Target},
    },
    observe::sampler::reading_of,
};

/// The file, under the default policy.
pub(super) fn file(looks: &[Checked<'_>], limit: Option<Bytes>, clock: &Clock) -> Result<String, CheckError> {
    let mut targets: Vec<Target> = looks.iter().map(|look| target(look, limit)).collect();
    targets.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
    let snapshot = Snapshot { targets, ..Snapshot::at(clock.now()) };
    let policy = WrittenPolicy::from(&default_policy()?);
    let file = SnapshotFile::new(policy, snapshot, Judged::AtOnce);
    file.write().map_err(|error| CheckError::Write(error.to_string()))
}

fn target(look: &Checked<'_>, limit: Option<Bytes>) -> Target {
    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
    match &look.outcome {
        Ok((address, sample)) => {
            let pod = stand_in(look.server, *address, limit);
            let mut sample = sample.clone();
            sample.pod_uid = pod.uid.clone();
            let history = vec![reading_of(&sample)];
            Target { pod, history, peaks: Peaks::default(), redis: Observation::Seen(Box::new(sample)) }
        }
        Err(error) => {
            let failure = match error {
                CheckError::Probe(failure) => failure.clone(),
                CheckError::TimedOut(_) => ProbeFailure::TimedOut(error.to_string()),
                other => ProbeFailure::Unreachable(other.to_string()),
            };
            let pod = Pod { addresses: PodAddresses::default(), ..stand_in(look.server, unspecified, limit) };
            Target { pod, history: Vec::new(), peaks: Peaks::default(), redis: Observation::Failed(failure) }
        }
    }
}

/// A pod that stands in for the one that is not known, named as the server was given.
pub(super) fn stand_in(server: &str, address: SocketAddr, limit: Option<Bytes>) -> Pod {
    let host = split(server).map_or(server, |(host, _)| host);
    Pod {
        name: PodName::new(server),
        uid: PodUid::new(server),
        resource_version: String::new(),
        addresses: address.ip().into(),
        node: None,
        host_network: false,
        dns_name: host.parse::<IpAddr>().is_err().then(|| host.to_owned()),
        ready: true,
        terminating: false,
        running: true,
        role_label: None,
        owner: None,
        revision: None,
        // Not known, so no refusal may rest on it: that nothing is known of a StatefulSet refuses already.
        grace_period: std::time::Duration::from_secs(24 * 3600),
        container: Ok(Container {
            name: "redis".to_owned(),
            port: address.port(),
            declared_ports: Vec::new(),
            spec_limit: limit,
            spec_request: limit,
            live_limit: limit,
            pod_limit: None,
            resize_restarts: false,
            started_at: None,
            restarts: 0,
            killed: None,
            killed_before: None,
            start_took: std::time::Duration::ZERO,
            ready_after: std::time::Duration::ZERO,
            mounts: Vec::new(),
        }),
        guaranteed: false,
        pod_level_resources: false,
        resize: ResizeProgress::None,
        trouble: None,
        hold: None,
        limit_at: None,
        managers: FieldManagers::default(),
    }
}
