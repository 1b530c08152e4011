//! A release is made from a commit whose files agree on its version, and of dependencies that deny.toml allows. What these
//! tests look at needs no build: `make release CHECK=1` makes the files themselves, twice.
#![cfg(test)]

#[path = "release/deny.rs"]
mod deny;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rstest::rstest;
use tempfile::TempDir;

const CHART: &str = "charts/redis-memory-operator/Chart.yaml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A checkout that holds what `scripts/release ready` reads, in one commit.
struct Checkout(TempDir);

impl Checkout {
    /// As it is here, but that CHANGELOG.md dates this version.
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        let scripts = ["scripts/release", "scripts/release-files.sh", "scripts/lib.sh"];
        let shared = ["tests/cluster/env.sh", "tests/cluster/lib/log.sh"];
        for file in scripts.iter().chain(&shared).chain(&["Cargo.toml", CHART]) {
            let to = checkout.0.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root().join(file), to).unwrap();
        }
        let version = env!("CARGO_PKG_VERSION");
        checkout.write("CHANGELOG.md", &format!("# Changelog\n\n## {version} (2026-11-30)\n\n- x\n"));
        checkout.git(&["init", "--quiet"]);
        checkout.commit();
        checkout
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file), text).unwrap();
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.0.path().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        self.write(file, &text.replace(from, to));
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=a", "-c", "user.email=a@a.example", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(who).args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
    }

    fn ready(&self) -> Output {
        Command::new(self.0.path().join("scripts/release")).arg("ready").output().unwrap()
    }

    /// What it says of a commit that it refuses.
    fn refused(&self) -> String {
        let output = self.ready();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        said
    }

    fn accepted(&self) -> String {
        let output = self.ready();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn a_commit_whose_files_agree_can_be_released() {
    let checkout = Checkout::new();
    let version = env!("CARGO_PKG_VERSION");
    let said = checkout.accepted();
    assert!(said.starts_with(&format!("{version} can be released from ")) && !said.contains("rehearsal"), "{said}");
    checkout.git(&["tag", &format!("v{version}")]);
    assert_eq!(said, checkout.accepted(), "the tag of this very commit");
    checkout.change("CHANGELOG.md", "(2026-11-30)", "(unreleased)");
    checkout.git(&["tag", "--delete", &format!("v{version}")]);
    checkout.commit();
    assert!(checkout.accepted().contains("as a rehearsal"));
}

#[test]
fn a_tree_that_is_not_its_commit_is_refused() {
    let checkout = Checkout::new();
    checkout.write("new.txt", "");
    let said = checkout.refused();
    assert!(said.contains("not clean") && said.contains("?? new.txt") && said.contains("Commit, stash"), "{said}");
    fs::remove_file(checkout.0.path().join("new.txt")).unwrap();
    checkout.change("Cargo.toml", "[dependencies]", "[dependencies]\nx = \"1\"");
    assert!(checkout.refused().contains(" M Cargo.toml"));
}

#[rstest]
#[case::crate_alone("Cargo.toml", "\nversion = \"0.1.0\"", "\nversion = \"0.2.0\"", "Chart.yaml: version is 0.1.0")]
#[case::chart(CHART, "\nversion: 0.1.0", "\nversion: 0.2.0", "Chart.yaml: version is 0.2.0, and Cargo.toml has 0.1.0")]
#[case::application(CHART, "\nappVersion: 0.1.0", "\nappVersion: \"0.2.0\"", "Chart.yaml: appVersion is 0.2.0")]
#[case::no_version("Cargo.toml", "\nversion = \"0.1.0\"", "\nversion = \"one\"", "version 'one' is no version")]
#[case::log("CHANGELOG.md", "## 0.1.0 ", "## 0.2.0 ", "CHANGELOG.md begins with '## 0.2.0 (2026-11-30)'")]
#[case::undated("CHANGELOG.md", " (2026-11-30)", "", "Make its first section '## 0.1.0 (YYYY-MM-DD)'")]
fn files_that_disagree_on_the_version_are_refused(
    #[case] file: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] says: &str,
) {
    let checkout = Checkout::new();
    // Written for 0.1.0, whatever the version is by now.
    let now = |text: &str| text.replace("0.1.0", env!("CARGO_PKG_VERSION"));
    let to = to.replace("0.2.0", "999.0.0");
    checkout.change(file, &now(from), &now(&to));
    checkout.commit();
    let (said, says) = (checkout.refused(), now(&says.replace("0.2.0", "999.0.0")));
    assert!(said.contains(&says), "{said}\nshould say: {says}");
}

#[test]
fn what_was_released_stays_as_it_is() {
    let checkout = Checkout::new();
    checkout.git(&["tag", concat!("v", env!("CARGO_PKG_VERSION"))]);
    checkout.commit();
    let said = checkout.refused();
    assert!(said.contains("is the tag of another commit") && said.contains("Raise the version"), "{said}");
}

/// Before anything is built or removed.
#[test]
fn a_word_that_it_does_not_know_is_refused() {
    let checkout = Checkout::new();
    let output = Command::new(checkout.0.path().join("scripts/release")).arg("publish").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ready | build | check"));
}
