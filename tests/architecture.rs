//! The rules of ARCHITECTURE.md that a reader cannot be asked to keep in mind: who may import whom, where decisions
//! are pure, where the world is changed. They are checked on the source text, tests included.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test are test code")]

#[path = "architecture/scan.rs"]
mod scan;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;
use scan::{PathUse, paths, tokens};

/// What each top module may import from the crate. Everything points down: nothing that decides knows who acts.
const IMPORTS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("domain", &[]),
    ("api", &["domain"]),
    ("topology", &["domain"]),
    ("assess", &["domain", "topology"]),
    ("plan", &["domain", "topology", "assess"]),
    ("validate", &["api", "domain"]),
    ("report", &["domain", "api", "assess"]),
    // Manifests instead of a snapshot, judged by the same formula; a policy in them is validated as ever.
    ("lint", &["domain", "api", "assess", "validate"]),
    // What is left alone for a while is believed from the status, word by word.
    ("contention", &["domain", "api", "assess", "plan", "report"]),
    // These two hold every call to the outside, and do not know each other.
    ("redis_io", &["domain", "clock"]),
    ("kube_io", &["domain", "clock", "api"]),
    ("observe", &["domain", "clock", "redis_io", "kube_io"]),
    // Right before an effect it looks again, live: through `observe`, so that both see the same.
    ("execute", &["domain", "clock", "plan", "observe", "redis_io", "kube_io"]),
    // `kube_io` declares how it wants its answers counted, and `metrics` counts.
    ("metrics", &["domain", "clock", "kube_io"]),
    // Whose token a scraper sends is a question to the API server.
    ("admin", &["clock", "metrics", "kube_io"]),
];

/// Modules that put the others together, and may see all of them.
const COMPOSERS: &[&str] = &["controller", "cli", "lib", "main"];

/// Modules in which every function is a function of its arguments.
const PURE: &[&str] = &["api", "domain", "topology", "assess", "plan", "validate", "report", "contention", "lint"];

/// What makes a function depend on more than its arguments.
const IMPURE_PATHS: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "std::env",
    "env::var",
    "std::fs",
    "std::io",
    "std::net::TcpStream",
    "std::process",
    "std::thread",
    "kube::Client",
    "kube::Api",
    "kube::api",
    "kube::client",
    "kube::runtime",
];

/// Crates that a pure module has no use for.
const IMPURE_CRATES: &[&str] = &["redis", "tokio", "futures", "axum", "rand", "rustls", "tracing"];

/// Besides these the decisions know no Kubernetes client at all, not even its types.
const WITHOUT_KUBERNETES: &[&str] = &["domain", "topology", "assess", "plan"];

/// Calls that change the cluster, and the only files that may make them.
const WRITES: &[&str] = &[
    "patch",
    "patch_status",
    "patch_resize",
    "patch_metadata",
    "patch_subresource",
    "create",
    "create_subresource",
    "replace_status",
    "evict",
    "delete",
    "delete_collection",
];
const WRITERS: &[(&str, &[&str])] = &[
    ("kube_io/write.rs", WRITES),
    ("kube_io/lease.rs", &["create", "patch"]),
    // What a person's command line writes into a policy, and the question who that person is.
    ("kube_io/ask.rs", &["create", "patch_metadata"]),
    // Asks what the operator may do: a SelfSubjectAccessReview is created, and stored nowhere.
    ("kube_io/read/rights.rs", &["create"]),
    // Asks whose a scraper's token is and what that one may do: neither review is stored.
    ("kube_io/review.rs", &["create"]),
];

/// Longer than this, tests included, a file is more than one idea.
const MAX_LINES: usize = 500;

/// The reader's side of a rule: what is wrong, and where.
fn violations(files: &[(String, String)]) -> Vec<String> {
    files.iter().flat_map(|(path, text)| violations_of(path, text)).collect()
}

fn violations_of(path: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !text.starts_with("//!") {
        out.push(format!("{path}: does not begin with a //! line that says what it is"));
    }
    out.extend(length_violation(path, text));
    let module = module_of(path);
    let tokens = tokens(text);
    let named = paths(&tokens, &module);
    let top = module.first().map_or_else(|| path.trim_end_matches(".rs").to_owned(), Clone::clone);
    out.extend(import_violations(path, &top, &named));
    out.extend(purity_violations(path, &top, &named));
    out.extend(client_violations(path, &top, &named));
    out.extend(kind_violations(path, &top, text));
    // Elsewhere there is no client to call, and an `evict` is somebody's own word.
    if top == "kube_io" || named.iter().any(names_api) {
        out.extend(write_violations(path, &tokens));
    }
    out
}

fn length_violation(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{path}: {lines} lines; more than {MAX_LINES} are more than one idea"))
}

/// `plan/gates/mod.rs` is the module `plan::gates`; `lib.rs` and `main.rs` are none.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn import_violations(path: &str, top: &str, named: &[PathUse]) -> Vec<String> {
    if COMPOSERS.contains(&top) {
        return Vec::new();
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == top) else {
        return vec![format!("{path}: module {top} has no rule in tests/architecture.rs: say what it may import")];
    };
    let forbidden = |it: &&PathUse| {
        it.segments[0] == "crate" && it.segments.get(1).is_some_and(|to| to != top && !allowed.contains(&to.as_str()))
    };
    let imports = named.iter().filter(forbidden);
    imports.map(|it| format!("{path}:{}: {top} must not import {}", it.line, it.text())).collect()
}

fn purity_violations(path: &str, top: &str, named: &[PathUse]) -> Vec<String> {
    if !PURE.contains(&top) {
        return Vec::new();
    }
    let impure = |it: &&PathUse| {
        let root = it.segments[0].as_str();
        let is_path = it.segments.len() > 1;
        IMPURE_PATHS.iter().any(|pattern| it.contains(pattern))
            || (is_path && IMPURE_CRATES.contains(&root))
            || (is_path && WITHOUT_KUBERNETES.contains(&top) && ["kube", "k8s_openapi"].contains(&root))
            || (!is_path && ["async", "await"].contains(&root))
    };
    let uses = named.iter().filter(impure);
    uses.map(|it| format!("{path}:{}: {top} is pure and must not name {}", it.line, it.text())).collect()
}

/// A typed client of the API server: whoever names none can call none.
fn names_api(it: &PathUse) -> bool {
    it.contains("kube::Api") || it.contains("kube::api::Api")
}

/// Every Redis command and every API call has one home, where it is capped, timed and fenced.
fn client_violations(path: &str, top: &str, named: &[PathUse]) -> Vec<String> {
    let home = |it: &PathUse| match it.segments[0].as_str() {
        "redis" if it.segments.len() > 1 => Some("redis_io"),
        "kube" if names_api(it) => Some("kube_io"),
        _ => None,
    };
    let strays = named.iter().filter_map(|it| home(it).filter(|&place| place != top).map(|place| (it, place)));
    // The watches of the controller are made where the controller is put together.
    let strays = strays.filter(|(_, place)| !(*place == "kube_io" && top == "controller"));
    strays.map(|(it, place)| format!("{path}:{}: {} belongs in {place}", it.line, it.text())).collect()
}

/// Rooms that may ask what kind of set something is, or who keeps its roles: where it is written, read and judged.
const KNOW_KINDS: &[&str] = &["topology", "domain", "api", "validate", "redis_io"];
/// Asking that: the first words of a token sequence.
const KIND_TESTS: &[&[&str]] = &[
    &["Kind", "::", "Standalone"],
    &["Kind", "::", "Replication"],
    &["Kind", "::", "Sentinel"],
    &["Kind", "::", "Cluster"],
    &["Follow", "::", "OurLabel"],
    &["Follow", "::", "TheirLabel"],
    &["Follow", "::", "Nothing"],
    &["Follow", "::", "Protocol"],
    &["AuthorityRule"],
    &["cluster_enabled"],
    &["sentinel_seen", "="],
    &["lead", ".", "all", "(", ")", ".", "len"],
];

/// Everything above asks the shard. Tests may build any kind.
fn kind_violations(path: &str, top: &str, text: &str) -> Vec<String> {
    if KNOW_KINDS.contains(&top) || path.ends_with("tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let tokens = tokens(text.split("#[cfg(test)]").next().unwrap_or_default());
    let asks = |at: usize| {
        let words = |test: &&&[&str]| {
            test.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|it| it.text == *word))
        };
        KIND_TESTS.iter().find(words).map(|test| (tokens[at].line, test.concat()))
    };
    let found = (0..tokens.len()).filter_map(asks);
    found
        .map(|(line, what)| format!("{path}:{line}: {top} asks for a kind of set ({what}): let topology say it"))
        .collect()
}

fn write_violations(path: &str, tokens: &[scan::Token]) -> Vec<String> {
    let allowed = WRITERS.iter().find(|(file, _)| *file == path).map_or(&[][..], |(_, verbs)| *verbs);
    let calls = tokens.windows(3).filter(|window| window[0].text == "." && window[2].text == "(");
    let strays = calls.filter(|call| {
        let verb = call[1].text.as_str();
        WRITES.contains(&verb) && !allowed.contains(&verb)
    });
    strays
        .map(|call| format!("{path}:{}: .{}( changes the cluster outside of kube_io", call[1].line, call[1].text))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn source_files() -> Vec<(String, String)> {
    let src = root().join("src");
    let relative = |path: &PathBuf| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    rust_files(&src).iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_source_keeps_the_rules() {
    let files = source_files();
    assert!(files.len() > 20, "the source was not found");
    let violations = violations(&files);
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn no_test_file_is_more_than_one_idea() {
    let tests = root().join("tests");
    let long: Vec<_> = rust_files(&tests)
        .iter()
        .filter_map(|path| length_violation(&path.display().to_string(), &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The operator dials pods themselves; only a person's command line may go another way.
#[test]
fn only_the_command_line_reaches_pods_another_way() {
    let files = source_files();
    let using = files.iter().filter(|(_, text)| text.contains("route::through(")).map(|(path, _)| path.as_str());
    assert_eq!(using.collect::<Vec<_>>(), ["cli/live.rs"]);
}

/// A permission that nobody uses is a hole that somebody will find.
#[test]
fn no_permission_to_write_is_unused() {
    let files = source_files();
    for (writer, verbs) in WRITERS.iter().filter(|(_, verbs)| *verbs != WRITES) {
        let (_, text) = files.iter().find(|(path, _)| path == writer).unwrap_or_else(|| panic!("{writer} is gone"));
        let tokens = tokens(text);
        for verb in *verbs {
            let calls = tokens.windows(3).any(|it| it[0].text == "." && it[1].text == *verb && it[2].text == "(");
            assert!(calls, "{writer} may call .{verb}( and does not");
        }
    }
}

/// A test that `cargo test` leaves out runs in the stage that its file's name says (scripts/test).
#[test]
fn every_ignored_test_has_a_stage() {
    let stages = ["chart", "redis", "api", "cluster"];
    for path in rust_files(&root().join("tests")) {
        let inside = path.strip_prefix(root().join("tests")).unwrap();
        let name = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        // As tokens, so that words about ignored tests are none.
        let text = fs::read_to_string(&path).unwrap();
        let tokens = tokens(&text);
        let ignores = tokens.windows(3).any(|it| it[0].text == "#" && it[1].text == "[" && it[2].text == "ignore");
        assert!(
            !ignores || stages.iter().any(|stage| name.starts_with(stage)),
            "{} has ignored tests, but no stage of scripts/test runs them: begin its name with one of {stages:?}",
            inside.display()
        );
    }
    for path in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let tokens = tokens(&text);
        let ignores = tokens.windows(3).any(|it| it[0].text == "#" && it[1].text == "[" && it[2].text == "ignore");
        assert!(!ignores, "{}: an ignored unit test is never run", path.display());
    }
}

/// The checker itself, on source that breaks each rule in each way that Rust allows to write it.
#[rstest]
#[case::import("assess/x.rs", "use crate::plan::Plan;", "assess must not import crate::plan::Plan")]
#[case::group(
    "plan/x.rs",
    "use crate::{\n    domain::step,\n    kube_io::{self},\n};",
    "x.rs:4: plan must not import crate::kube_io"
)]
#[case::nested_group(
    "assess/a.rs",
    "use crate::{domain::{a, b}, api::v1alpha1};",
    "assess must not import crate::api::v1alpha1"
)]
#[case::expression("domain/x.rs", "fn f() { crate::plan::f(1) }", "domain must not import crate::plan::f")]
#[case::type_argument("domain/x.rs", "fn f(x: Vec<crate::api::A>) {}", "domain must not import crate::api::A")]
#[case::generic_call("domain/x.rs", "fn f() { g::<crate::api::A>() }", "domain must not import crate::api::A")]
#[case::upwards("domain/a/b.rs", "use super::super::super::plan::Plan;", "domain must not import crate::plan::Plan")]
#[case::from_inner_module(
    "domain/a.rs",
    "mod tests { use super::super::super::plan; }",
    "domain must not import crate::plan"
)]
#[case::after_an_inner_module(
    "plan/a.rs",
    "mod tests {}\nuse super::super::execute::x;",
    "a.rs:3: plan must not import crate::execute::x"
)]
#[case::strangers("redis_io/x.rs", "use crate::kube_io::write;", "redis_io must not import crate::kube_io::write")]
#[case::unknown_module("helpers/x.rs", "fn f() {}", "module helpers has no rule")]
#[case::clock("plan/x.rs", "fn f() { let t = Instant::now(); }", "must not name Instant::now")]
#[case::renamed_clock("plan/x.rs", "use std::time::{Duration, Instant as Tick};", "must not name std::time::Instant")]
#[case::wall_clock("assess/x.rs", "fn f() { jiff::Timestamp::now() }", "must not name jiff::Timestamp::now")]
#[case::environment("validate.rs", "use std::{env, fmt};", "must not name std::env")]
#[case::files("domain/x.rs", "fn f() { std::fs::read(\"x\") }", "must not name std::fs::read")]
#[case::asynchronous("plan/x.rs", "async fn f() {}", "must not name async")]
#[case::runtime("plan/x.rs", "use tokio::time::sleep;", "must not name tokio::time::sleep")]
#[case::random("plan/x.rs", "fn f() { rand::random() }", "must not name rand::random")]
#[case::client("api/v1alpha1/x.rs", "use kube::{Client, CustomResource};", "must not name kube::Client")]
#[case::kubernetes_type(
    "assess/x.rs",
    "use k8s_openapi::api::core::v1::Pod;",
    "must not name k8s_openapi::api::core::v1::Pod"
)]
#[case::redis_elsewhere("controller/x.rs", "fn f() { redis::cmd(\"PING\") }", "redis::cmd belongs in redis_io")]
#[case::api_elsewhere("execute/x.rs", "use kube::{Api, Client};", "kube::Api belongs in kube_io")]
#[case::write("kube_io/x.rs", "fn f() { api.patch(name, &p, &q) }", ".patch( changes the cluster")]
#[case::write_over_lines(
    "controller/x.rs",
    "use kube::Api; fn f() { api\n    .evict (name) }",
    "x.rs:3: .evict( changes the cluster"
)]
#[case::wrong_writer("kube_io/lease.rs", "fn f() { api.delete(name) }", ".delete( changes the cluster")]
#[case::kind(
    "plan/x.rs",
    "fn f(s: &Shard) -> bool { s.kind == Kind::Cluster }",
    "plan asks for a kind of set (Kind::Cluster)"
)]
#[case::follow(
    "assess/x.rs",
    "fn f(x: Follow) -> bool { x == Follow::OurLabel }",
    "asks for a kind of set (Follow::OurLabel)"
)]
#[case::server(
    "plan/x.rs",
    "fn f(s: &Server) -> bool { s.cluster_enabled }",
    "asks for a kind of set (cluster_enabled)"
)]
#[case::count(
    "plan/x.rs",
    "fn f(s: &Shard) -> bool { s.lead.all().len() > 1 }",
    "asks for a kind of set (lead.all().len)"
)]
fn a_broken_rule_is_seen(#[case] path: &str, #[case] source: &str, #[case] said: &str) {
    let found = violations_of(path, &format!("//! Known bad.\n{source}"));
    assert_eq!(1, found.len(), "{found:?}");
    assert!(found[0].contains(said), "{found:?}");
}

#[rstest]
#[case::head("domain/x.rs", "// no head\n".to_owned(), "does not begin")]
#[case::length("domain/x.rs", format!("//! Long.\n{}", "\n".repeat(MAX_LINES)), "501 lines")]
fn a_broken_form_is_seen(#[case] path: &str, #[case] source: String, #[case] said: &str) {
    let found = violations_of(path, &source);
    assert!(found.iter().any(|it| it.contains(said)), "{found:?}");
}

/// What looks like a broken rule and is none: a checker that cries wolf is switched off.
#[rstest]
#[case::comment("plan/x.rs", "// crate::execute::f\n/* use crate::execute; /* tokio::x */ */\nfn f() {}")]
#[case::doc("plan/x.rs", "/// See [`crate::execute`].\nfn f() {}")]
#[case::text(
    "plan/x.rs",
    "const X: &str = \"use crate::execute; \\\" tokio::x\"; const Y: &str = r#\"crate::execute \" \"#;"
)]
#[case::character("plan/x.rs", "fn f<'a>(x: &'a str) -> bool { x.starts_with('\"') || x.ends_with('\\'') } // \"")]
#[case::bytes("plan/x.rs", "const X: &[u8] = b\"crate::execute\"; const Y: u8 = b'\"';")]
#[case::own("plan/gates/x.rs", "use super::{super::order, mod_of};\nuse crate::plan::effect;")]
#[case::own_tests("domain/a.rs", "mod tests { use super::*; use super::super::names; }")]
#[case::down("plan/x.rs", "use crate::{assess::Window, domain::step::Step};")]
#[case::field("plan/x.rs", "fn f(p: &Policy) -> bool { p.redis.role && p.tokio }")]
#[case::word("plan/x.rs", "fn f(redis: u8, kube: u8) -> u8 { redis + kube }")]
#[case::methods("domain/x.rs", "fn f(a: &mut A) { a.replace(\"a\", \"b\"); create(a); A::delete(a) }")]
#[case::derive("api/v1alpha1/x.rs", "use kube::{CustomResource, KubeSchema};")]
#[case::time_types("plan/x.rs", "use std::time::Duration;\nuse jiff::Timestamp;")]
#[case::writer("kube_io/write.rs", "async fn f() { api.evict(name).await; api.patch(x).await }")]
#[case::call_of_a_writer("execute/x.rs", "use crate::kube_io::write::Writer; fn f() { writer.evict(pod) }")]
#[case::kind_of_a_test("plan/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn f(r: AuthorityRule) {} }")]
#[case::kind_at_home("topology/x.rs", "fn f(s: &Server) -> bool { s.cluster_enabled }")]
#[case::composer("controller/x.rs", "use crate::{execute, kube_io, observe, redis_io};\nuse kube::Api;")]
fn a_kept_rule_is_not_complained_about(#[case] path: &str, #[case] source: &str) {
    assert_eq!(Vec::<String>::new(), violations_of(path, &format!("//! Known good.\n{source}")));
}
