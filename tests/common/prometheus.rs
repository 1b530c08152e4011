//! A real Prometheus (Debian's package `prometheus`) that scrapes one page, for the tests of dashboards and alerts. It is
//! asked with curl, so that it may run in another network than the test.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long it may take to come up.
const START: Duration = Duration::from_secs(60);
/// How often another port is tried when one was taken in between.
const ATTEMPTS: usize = 5;
/// How often it is looked whether it is up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One on a free port of 127.0.0.1, with a directory of its own. Dropped: killed by its process id, and removed.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    within: Option<PathBuf>,
    port: u16,
    directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `/metrics` of `target` (host:port) every second, as the chart's monitors do, and evaluates
    /// the rules of that text as often. `within` runs commands in another network: `tests/cluster/in-netns`.
    pub(crate) fn start(within: Option<&Path>, target: &str, rules: &str) -> Self {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let mut started = Self::spawn(within, target, rules);
            if started.is_up() {
                return started;
            }
            said = started.log();
        }
        panic!("prometheus did not start on any of {ATTEMPTS} free ports:\n{said}");
    }

    fn spawn(within: Option<&Path>, target: &str, rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap().port();
        let (config, rule_file) = (directory.path().join("prometheus.yaml"), directory.path().join("rules.yaml"));
        fs::write(&rule_file, rules).unwrap();
        let every_second = "scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s";
        let job = format!("job_name: operator, honor_labels: true, static_configs: [{{targets: ['{target}']}}]");
        let rule_file = rule_file.display();
        let text = format!("global: {{{every_second}}}\nrule_files: ['{rule_file}']\nscrape_configs: [{{{job}}}]\n");
        fs::write(&config, text).unwrap();
        let mut command = inside(within, &program());
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = File::create(directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; it is in Debian's package prometheus, or set PROMETHEUS")
        });
        Self { child, within: within.map(Path::to_owned), port, directory }
    }

    /// Waits until it answers; false: it has ended, as when its port was taken.
    #[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
    fn is_up(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < START {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.get("-/ready", &[]).is_ok() {
                return true;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("prometheus is not ready after {} s:\n{}", START.as_secs(), self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The series that a query finds now, each with `metric` and `value`; an error: what is wrong with the query.
    pub(crate) fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let answer = self.get("api/v1/query", &[("query", expr)])?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
        let found = answer["data"]["result"].as_array().filter(|_| answer["status"] == "success");
        found.cloned().ok_or_else(|| format!("{expr}: {answer}"))
    }

    /// The values that a label has among the series of a selector.
    #[allow(dead_code, reason = "only the tests of dashboards ask")]
    pub(crate) fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, String> {
        let answer = self.get(&format!("api/v1/label/{label}/values"), &[("match[]", selector)])?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
        let values = answer["data"].as_array().ok_or_else(|| format!("{selector}: {answer}"))?;
        Ok(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }

    /// What each query has found within the last `past`, looked at every second, as it scrapes: series with `metric` and
    /// `values`. One curl asks all of them.
    pub(crate) fn over_time(&self, exprs: &[String], past: Duration) -> Result<Vec<Vec<Value>>, String> {
        let now = self.query("vector(time())")?;
        let end = now.first().and_then(|it| it["value"][0].as_f64()).ok_or_else(|| format!("no time: {now:?}"))?;
        let (start, end) = ((end - past.as_secs_f64()).to_string(), end.to_string());
        let asked: Vec<Vec<(&str, &str)>> = exprs
            .iter()
            .map(|expr| vec![("query", expr.as_str()), ("start", start.as_str()), ("end", end.as_str()), ("step", "1")])
            .collect();
        let said = self.ask("api/v1/query_range", &asked)?;
        let answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        let series: Vec<Vec<Value>> = answers
            .zip(exprs)
            .map(|(answer, expr)| {
                let answer = answer.map_err(|error| format!("{expr}: {error}"))?;
                let found = answer["data"]["result"].as_array().filter(|_| answer["status"] == "success");
                found.cloned().ok_or_else(|| format!("{expr}: {answer}"))
            })
            .collect::<Result<_, String>>()?;
        let all = series.len() == exprs.len();
        if all { Ok(series) } else { Err(format!("{} answers to {} queries", series.len(), exprs.len())) }
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        self.ask(path, &[parameters.to_vec()])
    }

    /// The answers to a path, asked with each of these parameters: one after the other, without anything between them.
    fn ask(&self, path: &str, each: &[Vec<(&str, &str)>]) -> Result<String, String> {
        let mut command = inside(self.within.as_deref(), "curl");
        for (n, parameters) in each.iter().enumerate() {
            if n > 0 {
                command.arg("--next");
            }
            command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "10", "--get"]);
            for (name, value) in parameters {
                command.args(["--data-urlencode", &format!("{name}={value}")]);
            }
            command.arg(format!("http://127.0.0.1:{}/{path}", self.port));
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `$PROMETHEUS`, else the one on the PATH.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn program() -> String {
    std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned())
}

/// A command in that network, or in ours.
fn inside(within: Option<&Path>, program: &str) -> Command {
    within.map_or_else(
        || Command::new(program),
        |within| {
            let mut command = Command::new(within);
            command.arg(program);
            command
        },
    )
}
