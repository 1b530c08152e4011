//! Whether a server's data outlives its pod, and findings about data that nothing else holds.

use super::drift;
use crate::{
    domain::{
        bytes::Bytes,
        finding::{Finding, FindingCode},
        journal::{StartRecord, StartValue},
        pod::{Mount, StatefulSet, VolumeKind},
        policy::Policy,
        sample::Config,
        snapshot::Target,
        start::redis_bytes,
    },
    topology::Shard,
};

/// Whether the replacement of that pod finds the data: something is written, to a volume that comes back, and the
/// template starts the server so that it reads it. The error says what is missing, after "but".
pub fn survives_restart(target: &Target, set: Option<&StatefulSet>) -> Result<(), String> {
    let Some(sample) = target.sample() else { return Err("it gave no sample".to_owned()) };
    let Ok(config) = &sample.config else {
        return Err("its settings cannot be read: allow the user to run CONFIG GET".to_owned());
    };
    if !config.persists() {
        return Err(
            "it has neither an AOF nor save points and would come back empty: set appendonly yes or save".into()
        );
    }
    durable(target, config)?;
    starts_from_it(target, config, set)?;
    starts_large_enough(target, set)
}

/// Whether `dir` lies in a volume that the replacement gets too.
pub fn durable(target: &Target, config: &Config) -> Result<(), String> {
    let dir = config.dir.as_str();
    let Ok(container) = &target.pod.container else {
        return Err("its container is not known".to_owned());
    };
    outlives(&container.mounts, dir)
}

/// Whether `dir` lies in one of these volumes that the replacement of the pod gets too.
pub fn outlives(mounts: &[Mount], dir: &str) -> Result<(), String> {
    let what = match innermost(mounts, dir) {
        Some(Mount { volume: VolumeKind::Claim, read_only: false, .. }) => return Ok(()),
        Some(Mount { volume: VolumeKind::Claim, read_only: true, path, .. }) => {
            format!("the claim mounted at {path} is read-only")
        }
        Some(Mount { volume: VolumeKind::EmptyDir, path, .. }) => {
            format!("{path} is an emptyDir, which is gone with the pod")
        }
        Some(Mount { volume: VolumeKind::Other, path, .. }) => {
            format!("the volume at {path} is no PersistentVolumeClaim")
        }
        None => "it is in no volume".to_owned(),
    };
    Err(format!("its dir {dir} does not outlive the pod: {what}; mount a PersistentVolumeClaim there"))
}

/// The volume that `dir` lies in.
pub fn data_mount<'a>(target: &'a Target, config: &Config) -> Option<&'a Mount> {
    innermost(&target.pod.container.as_ref().ok()?.mounts, &config.dir)
}

fn innermost<'a>(mounts: &'a [Mount], dir: &str) -> Option<&'a Mount> {
    let inside = mounts.iter().filter(|mount| is_inside(dir, &mount.path));
    inside.max_by_key(|mount| mount.path.trim_end_matches('/').len())
}

/// `/data/redis` is inside `/data`; `/database` is not.
fn is_inside(dir: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    dir.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A server that starts with another `appendonly` reads another file, and one that starts in another `dir` none.
fn starts_from_it(target: &Target, config: &Config, set: Option<&StatefulSet>) -> Result<(), String> {
    let (Ok(container), Some(set)) = (&target.pod.container, set) else { return Ok(()) };
    let start = |setting| set.start_value(&container.name, setting);
    let live = if config.appendonly { "yes" } else { "no" };
    if let Some(value) = start("appendonly").filter(|value| !value.eq_ignore_ascii_case(live)) {
        return Err(format!(
            "appendonly is {live} now and {value} in the template of {}: it would start without its data; make them equal",
            set.name
        ));
    }
    let same_dir = |value: &str| !value.starts_with('/') || value.trim_end_matches('/') == config.dir;
    match start("dir").filter(|value| !same_dir(value)) {
        Some(value) => Err(format!(
            "dir is {} now and {value} in the template of {}: it would start without its data; make them equal",
            config.dir, set.name
        )),
        None => Ok(()),
    }
}

/// A server that starts with a smaller `maxmemory` than it holds evicts before its settings can be given back.
fn starts_large_enough(target: &Target, set: Option<&StatefulSet>) -> Result<(), String> {
    let (Ok(container), Some(set), Some(sample)) = (&target.pod.container, set, target.sample()) else { return Ok(()) };
    let start = set.start_value(&container.name, "maxmemory").and_then(redis_bytes);
    match start.filter(|start| *start > Bytes::ZERO && *start < sample.memory.used) {
        Some(start) => Err(format!(
            "the template of {} starts it with maxmemory {start}, less than the {} that it holds: it would evict at \
             once; raise it in the template",
            set.name,
            sample.memory.used.quantised()
        )),
        None => Ok(()),
    }
}

/// Whether the replacement of that pod would start so that it finds its data and keeps it, by how replacements of the same
/// revision were seen to start: a file or a script may say what the template does not. The error says what is missing.
pub fn starts_with_data(target: &Target, starts: &[StartRecord]) -> Result<(), String> {
    let Some(sample) = target.sample() else { return Err("it gave no sample".to_owned()) };
    let Ok(config) = &sample.config else { return Ok(()) };
    let same_revision = |start: &&StartRecord| target.pod.revision.as_deref().unwrap_or_default() == start.revision;
    for start in starts.iter().filter(same_revision) {
        for StartValue { name, start: value, .. } in &start.settings {
            let differs = match name.as_str() {
                "appendonly" => (value == "yes") != config.appendonly,
                "dir" => *value != config.dir,
                // What an AOF holds is loaded whatever the save points are.
                "save" => *value != config.save && !config.appendonly,
                "maxmemory" => redis_bytes(value).is_some_and(|max| max > Bytes::ZERO && max < sample.memory.used),
                _ => false,
            };
            if differs {
                return Err(format!(
                    "{}, of the same revision, came back from its restart with {name} {}, which {} has otherwise: it \
                     would start without its data, or lose some of it; write the value that is meant into the \
                     configuration that the pods start with",
                    start.pod,
                    drift::shown(value),
                    target.pod.name
                ));
            }
        }
    }
    Ok(())
}

/// A cache may lose what it holds, and pays for every save; data of another purpose was meant to stay, and where none is
/// said, data under a `maxmemory-policy` that does not evict just any key.
pub(super) fn finding(policy: &Policy, shard: &Shard<'_>) -> Option<Finding> {
    let primary = shard.primary()?;
    let sample = primary.sample()?;
    let config = sample.config.as_ref().ok()?;
    match policy.purpose {
        Some(purpose) if purpose.may_be_lost() => return unneeded(policy, shard, primary, config),
        None if config.maxmemory_policy.starts_with("allkeys-") => return None,
        Some(_) | None => {}
    }
    let alone = shard.replicates_nothing();
    let (evidence, remedy) = if !config.persists() {
        let then = if alone {
            "a restart loses every key"
        } else {
            "when this process starts again as primary it is empty, and its replicas become so within seconds"
        };
        (
            format!("appendonly is no and there are no save points: {then}"),
            "set appendonly yes, or save points, with dir on a PersistentVolumeClaim".to_owned(),
        )
    } else if alone {
        // Of a container that is not known no mount is known, and a missing one neither.
        primary.pod.container.as_ref().ok()?;
        let why = durable(primary, config).err()?;
        (format!("nothing else holds the data, and {why}"), "or run replicas".to_owned())
    } else {
        return None;
    };
    let pod = Some(primary.pod.name.clone());
    Some(Finding::new(FindingCode::PersistenceMissing, pod, evidence, remedy))
}

/// What a cache writes to disk is made again from elsewhere; but a primary that may be restarted in place needs it.
fn unneeded(policy: &Policy, shard: &Shard<'_>, primary: &Target, config: &Config) -> Option<Finding> {
    if !config.persists() || policy.restart.allow_downtime && shard.replicates_nothing() {
        return None;
    }
    let what = match (config.appendonly, config.save.is_empty()) {
        (true, true) => "appendonly is yes",
        (true, false) => "appendonly is yes and there are save points",
        (false, _) => "there are save points",
    };
    Some(Finding::new(
        FindingCode::PersistenceUnneeded,
        Some(primary.pod.name.clone()),
        format!("{what}, and spec.purpose is Cache: each save and rewrite forks, and copies what is written meanwhile"),
        "set appendonly no and save \"\", unless a start with a full cache is worth that memory",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{self, mount};
    use rstest::rstest;

    fn target(dir: &str, mounts: Vec<Mount>) -> Target {
        let mut target = fixtures::target(0);
        target.pod.container.as_mut().unwrap().mounts = mounts;
        let crate::domain::snapshot::Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
        let config = sample.config.as_mut().unwrap();
        config.dir = dir.into();
        config.appendonly = true;
        target
    }

    #[rstest]
    #[case::claim("/data", vec![mount("/data", VolumeKind::Claim)], None)]
    #[case::below_a_claim("/data/redis", vec![mount("/data/", VolumeKind::Claim)], None)]
    #[case::empty_dir("/data", vec![mount("/data", VolumeKind::EmptyDir)], Some("emptyDir"))]
    #[case::the_inner_mount_counts(
        "/data/redis", vec![mount("/data", VolumeKind::Claim), mount("/data/redis", VolumeKind::EmptyDir)],
        Some("emptyDir")
    )]
    #[case::a_name_that_only_begins_alike("/database", vec![mount("/data", VolumeKind::Claim)], Some("in no volume"))]
    #[case::something_else("/data", vec![mount("/", VolumeKind::Other)], Some("no PersistentVolumeClaim"))]
    #[case::nothing_mounted("/data", vec![], Some("in no volume"))]
    #[case::read_only(
        "/data", vec![Mount { read_only: true, ..mount("/data", VolumeKind::Claim) }], Some("read-only")
    )]
    fn only_a_claim_outlives_the_pod(#[case] dir: &str, #[case] mounts: Vec<Mount>, #[case] says: Option<&str>) {
        let said = survives_restart(&target(dir, mounts), None);
        match (said, says) {
            (Ok(()), None) => {}
            (Err(text), Some(says)) => assert!(text.contains(says), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case("appendonly", "no", Some("appendonly"))]
    #[case("appendonly", "yes", None)]
    #[case("dir", "/elsewhere", Some("/elsewhere"))]
    #[case("dir", "/data/", None)]
    #[case("maxmemory", "64mb", Some("evict"))]
    #[case("maxmemory", "512mb", None)]
    #[case("maxmemory", "0", None)]
    fn the_template_must_start_from_it(#[case] name: &str, #[case] value: &str, #[case] says: Option<&str>) {
        let mut set = fixtures::stateful_set();
        set.start_settings = vec![crate::domain::pod::StartSettings {
            container: "redis".into(),
            settings: vec![(name.into(), value.into())],
        }];
        let said = survives_restart(&target("/data", vec![mount("/data", VolumeKind::Claim)]), Some(&set));
        assert_eq!(said.is_err(), says.is_some(), "{said:?}");
        assert!(said.err().unwrap_or_default().contains(says.unwrap_or_default()));
    }
}
