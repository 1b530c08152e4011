//! deny.toml, kept: licences, banned crates and sources of everything in Cargo.lock, as `cargo metadata` tells them.
//!
//! cargo-deny reads the same file; where it is not installed this is what `make lint` runs
//! (docs/adr/0024-one-deny-toml-two-readers.md). A key that is not known here is an error, so that none is passed over.

use std::{process::Command, sync::LazyLock};

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

use crate::{read, root};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Graph {
    all_features: bool,
}

/// Only the strict word of each switch is known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Strict {
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Licenses {
    #[serde(rename = "unused-allowed-license")]
    _unused: Strict,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Lenient {
    Warn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple: Lenient,
    #[serde(rename = "wildcards")]
    _wildcards: Strict,
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// Crates that may depend on it all the same.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[serde(rename = "unknown-registry")]
    _registry: Strict,
    #[serde(rename = "unknown-git")]
    _git: Strict,
    allow_registry: Vec<String>,
}

fn rules() -> Rules {
    basic_toml::from_str(&read("deny.toml")).unwrap()
}

/// Everything in Cargo.lock, whatever the system: what deny.toml's `graph` asks for. Asked for once.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--all-features"];
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
});

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What is in the way, one line each.
fn violations(rules: &Rules, metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages");
    let mut out: Vec<String> = packages.iter().flat_map(|package| of_package(rules, package)).collect();
    out.extend(unused_licences(rules, packages));
    out.extend(rules.bans.deny.iter().flat_map(|ban| banned(ban, metadata)));
    out
}

fn of_package(rules: &Rules, package: &Value) -> Vec<String> {
    let name = format!("{} {}", text(package, "name"), text(package, "version"));
    let mut out: Vec<String> = licence(rules, package).map(|why| format!("{name}: {why}")).into_iter().collect();
    let wild = list(package, "dependencies").iter().filter(|it| text(it, "req") == "*");
    // What others publish is theirs.
    let ours = package["source"].is_null();
    out.extend(wild.filter(|_| ours).map(|it| format!("{name}: any version of {} would do", text(it, "name"))));
    let allowed = |source: &str| {
        let registry = source.strip_prefix("registry+");
        registry.is_some_and(|registry| rules.sources.allow_registry.iter().any(|it| it == registry))
    };
    if let Some(source) = package["source"].as_str().filter(|source| !allowed(source)) {
        out.push(format!("{name}: is from {source}"));
    }
    out
}

fn licence(rules: &Rules, package: &Value) -> Option<String> {
    let Some(written) = package["license"].as_str() else { return Some("states no licence".into()) };
    // As cargo takes it: `/` is an old way to write OR.
    let Ok(expression) = Expression::parse_mode(written, ParseMode::LAX) else {
        return Some(format!("{written} is no licence expression"));
    };
    let allowed: Vec<Licensee> = rules.licenses.allow.iter().map(|it| Licensee::parse(it).unwrap()).collect();
    let may = |wanted: &LicenseReq| allowed.iter().any(|it| it.satisfies(wanted));
    (!expression.evaluate(may)).then(|| format!("{written} is not allowed"))
}

fn unused_licences(rules: &Rules, packages: &[Value]) -> Vec<String> {
    let wanted: Vec<LicenseReq> = packages
        .iter()
        .filter_map(|it| Expression::parse_mode(it["license"].as_str()?, ParseMode::LAX).ok())
        .flat_map(|it| it.requirements().map(|wanted| wanted.req.clone()).collect::<Vec<_>>())
        .collect();
    let unused = rules.licenses.allow.iter().filter(|allowed| {
        let allowed = Licensee::parse(allowed).unwrap();
        !wanted.iter().any(|wanted| allowed.satisfies(wanted))
    });
    unused.map(|it| format!("{it} is allowed and no crate has it")).collect()
}

/// A banned crate that is in the graph, but for those whose direct dependants all may have it.
fn banned(ban: &Ban, metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages");
    let name_of = |id: &str| packages.iter().find(|it| text(it, "id") == id).map_or("", |it| text(it, "name"));
    let nodes = list(&metadata["resolve"], "nodes");
    let ids = packages.iter().filter(|it| text(it, "name") == ban.name).map(|it| text(it, "id"));
    let mut out = Vec::new();
    for id in ids {
        let dependants = nodes.iter().filter(|node| list(node, "deps").iter().any(|it| text(it, "pkg") == id));
        let dependants: Vec<&str> = dependants.map(|node| name_of(text(node, "id"))).collect();
        let others = dependants.iter().filter(|name| !ban.wrappers.iter().any(|wrapper| wrapper == *name));
        out.extend(others.map(|name| format!("{}: is banned, and {name} depends on it", ban.name)));
        if dependants.is_empty() {
            out.push(format!("{}: is banned", ban.name));
        }
    }
    out
}

#[test]
fn every_dependency_keeps_the_rules() {
    let (rules, metadata) = (rules(), &*METADATA);
    assert!(rules.graph.all_features && list(metadata, "packages").len() > 100, "the crates were not found");
    assert_eq!(Vec::<String>::new(), violations(&rules, metadata));
    // Each way around a ban is used: else it goes.
    for ban in &rules.bans.deny {
        let without = Ban { name: ban.name.clone(), wrappers: Vec::new() };
        assert_eq!(ban.wrappers.is_empty(), banned(&without, metadata).is_empty(), "{}", ban.name);
    }
}

/// The graph as it is, with one crate more, which a crate of ours depends on.
fn with(planted: Value) -> Vec<String> {
    let mut metadata = METADATA.clone();
    let id = planted["id"].clone();
    metadata["packages"].as_array_mut().unwrap().push(planted);
    let ours = list(&metadata, "packages").iter().find(|it| text(it, "name") == env!("CARGO_PKG_NAME")).unwrap();
    let ours = ours["id"].clone();
    let nodes = metadata["resolve"]["nodes"].as_array_mut().unwrap();
    let ours = nodes.iter_mut().find(|node| node["id"] == ours).unwrap();
    ours["deps"].as_array_mut().unwrap().push(json!({"name": "planted", "pkg": id}));
    violations(&rules(), &metadata)
}

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[rstest]
#[case::copyleft("planted", "GPL-3.0-only", REGISTRY, "planted 1.0.0: GPL-3.0-only is not allowed")]
#[case::both("planted", "MIT AND MPL-2.0", REGISTRY, "planted 1.0.0: MIT AND MPL-2.0 is not allowed")]
#[case::exception("planted", "GPL-2.0 WITH Classpath-exception-2.0", REGISTRY, "is not allowed")]
#[case::no_expression("planted", "as you like", REGISTRY, "as you like is no licence expression")]
#[case::git("planted", "MIT", "git+https://git.example/planted#0123", "planted 1.0.0: is from git+https://git.example")]
#[case::another_registry("planted", "MIT", "registry+https://registry.example/index", "is from registry+https://reg")]
#[case::banned("openssl", "Apache-2.0", REGISTRY, "openssl: is banned, and redis-memory-operator depends on it")]
#[case::beside_its_wrappers("chrono", "MIT", REGISTRY, "chrono: is banned, and redis-memory-operator depends on it")]
fn a_planted_crate_is_seen(#[case] name: &str, #[case] license: &str, #[case] source: &str, #[case] says: &str) {
    let found = with(json!({
        "name": name, "version": "1.0.0", "id": "planted", "license": license, "source": source, "dependencies": [],
    }));
    assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
}

#[rstest]
#[case::either("MIT OR GPL-3.0-only")]
#[case::old_way("GPL-3.0/MIT")]
#[case::all("(MIT OR LGPL-2.1-or-later) AND Unicode-3.0")]
fn a_crate_that_leaves_a_choice_is_none(#[case] license: &str) {
    let found = with(json!({
        "name": "planted", "version": "1.0.0", "id": "planted", "license": license, "source": REGISTRY,
    }));
    assert_eq!(Vec::<String>::new(), found);
}

#[test]
fn a_wildcard_of_ours_is_seen() {
    let found = with(json!({
        "name": "planted", "version": "1.0.0", "id": "planted", "license": "MIT", "source": null,
        "dependencies": [{"name": "serde", "req": "*"}],
    }));
    assert_eq!(found, ["planted 1.0.0: any version of serde would do"]);
    let none = with(json!({"name": "planted", "version": "1.0.0", "id": "planted", "license": null, "source": null}));
    assert_eq!(none, ["planted 1.0.0: states no licence"]);
}

/// What this file does not know would be passed over where cargo-deny is not installed.
#[test]
fn a_key_that_only_cargo_deny_knows_is_refused() {
    let text = read("deny.toml");
    assert!(basic_toml::from_str::<Rules>(&text.replace("[bans]", "[bans]\nskip = []")).is_err());
    assert!(basic_toml::from_str::<Rules>(&text.replace("unknown-git = \"deny\"", "unknown-git = \"warn\"")).is_err());
    let mut rules = rules();
    rules.licenses.allow.push("MPL-2.0".into());
    assert_eq!(violations(&rules, &METADATA), ["MPL-2.0 is allowed and no crate has it"]);
}
