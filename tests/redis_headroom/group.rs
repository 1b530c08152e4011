//! A memory cgroup of the test's own, with a limit as a container has it: of version 1 (the hierarchy of its own) or 2.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use redis_memory_operator::{clock::Clock, domain::bytes::Bytes};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Between two looks at the anonymous memory.
const LOOK: Duration = Duration::from_millis(5);
/// How long its processes may take to go.
const GOING: Duration = Duration::from_secs(30);

/// The names of its files.
#[derive(Clone, Copy, Debug)]
struct Files {
    limit: &'static str,
    /// The file and the line that count kills.
    kills: (&'static str, &'static str),
    /// The line of `memory.stat` that says the anonymous memory.
    anonymous: &'static str,
    /// What keeps memory from being swapped out instead, and its value.
    swap: (&'static str, &'static str),
}

/// Version 1: `rss` is the anonymous memory, huge pages included.
const FIRST: Files = Files {
    limit: "memory.limit_in_bytes",
    kills: ("memory.oom_control", "oom_kill"),
    anonymous: "rss",
    swap: ("memory.swappiness", "0"),
};
const SECOND: Files = Files {
    limit: "memory.max",
    kills: ("memory.events", "oom_kill"),
    anonymous: "anon",
    swap: ("memory.swap.max", "0"),
};

/// A cgroup. Dropped: what is left in it is killed, and it is removed.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    files: Files,
}

impl Group {
    /// A new one, without a limit yet; or why there can be none here.
    pub(crate) fn make() -> Result<Self, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("rmo-headroom-{}-{number}", std::process::id());
        let (parent, files) = parent()?;
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
        let group = Self { path, files };
        if !group.path.join(files.limit).exists() {
            return Err(format!("{} has no memory controller", group.path.display()));
        }
        let (file, value) = files.swap;
        let _there_may_be_no_such_file = fs::write(group.path.join(file), value);
        Ok(group)
    }

    /// A command that starts this program in the cgroup, as the same process.
    pub(crate) fn command(&self, program: &Path) -> Vec<OsString> {
        let enter = r#"echo $$ >"$0" && exec "$@""#;
        vec!["sh".into(), "-c".into(), enter.into(), self.path.join("cgroup.procs").into(), program.into()]
    }

    /// Sets the limit. False: what is in it does not fit, whatever the kernel takes back.
    pub(crate) fn limit(&self, limit: Bytes) -> bool {
        fs::write(self.path.join(self.files.limit), limit.0.to_string()).is_ok()
    }

    /// How many processes the kernel killed in it for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let (file, line) = self.files.kills;
        self.line(file, line).expect("the kernel counts its kills")
    }

    fn line(&self, file: &str, name: &str) -> Option<u64> {
        line_of(&fs::read_to_string(self.path.join(file)).ok()?, name)
    }

    fn processes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let clock = Clock::start();
        while clock.uptime() < GOING {
            for process in self.processes() {
                let _it_may_be_gone = Command::new("kill").args(["-KILL", &process]).status();
            }
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Where a cgroup can be made, and what its files are called.
fn parent() -> Result<(PathBuf, Files), String> {
    let root = Path::new(ROOT);
    let first = root.join("memory");
    if first.join(FIRST.limit).exists() {
        return Ok((first, FIRST));
    }
    let controls = root.join("cgroup.subtree_control");
    let given = |controls: &Path| {
        fs::read_to_string(controls).is_ok_and(|text| text.split_whitespace().any(|it| it == "memory"))
    };
    if !given(&controls) {
        let _it_may_be_refused = fs::write(&controls, "+memory");
    }
    if given(&controls) {
        return Ok((root.to_owned(), SECOND));
    }
    Err(format!("{ROOT} has no memory cgroups that we may make any in (it needs root)"))
}

/// `name value` among lines.
fn line_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Samples the anonymous memory of a cgroup, and knows the most.
#[derive(Debug)]
pub(crate) struct Gauge {
    shared: Arc<(AtomicBool, AtomicU64)>,
    thread: Option<JoinHandle<()>>,
}

impl Gauge {
    /// Begins.
    pub(crate) fn start(group: &Group) -> Self {
        let shared = Arc::new((AtomicBool::new(false), AtomicU64::new(0)));
        let (theirs, path, name) = (Arc::clone(&shared), group.path.join("memory.stat"), group.files.anonymous);
        let look = move || fs::read_to_string(&path).ok().and_then(|text| line_of(&text, name)).unwrap_or_default();
        shared.1.store(look(), Ordering::Relaxed);
        let thread = std::thread::spawn(move || {
            let (stop, most) = &*theirs;
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(look(), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The most so far.
    pub(crate) fn peak(&self) -> Bytes {
        Bytes(self.shared.1.load(Ordering::Relaxed))
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.shared.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _it_may_have_panicked = thread.join();
        }
    }
}

#[test]
fn a_line_is_found_by_its_whole_name() {
    let text = "cache 1\nrss_huge 2\nrss 3\ntotal_rss 4\n";
    assert_eq!((line_of(text, "rss"), line_of(text, "anon")), (Some(3), None));
}
