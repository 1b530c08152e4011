//! The Krew manifest of the kubectl plugin: its fields are what Krew's own validation asks for, and what is in the archives.
#![cfg(test)]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rstest::rstest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const URL: &str = "https://redismemory.io/releases/v0";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An archive with those files.
fn archive(directory: &Path, name: &str, files: &[&str]) -> PathBuf {
    for file in files {
        fs::write(directory.join(file), format!("{file} of {name}")).unwrap();
    }
    let path = directory.join(name);
    let made = Command::new("tar").arg("-czf").arg(&path).arg("-C").arg(directory).args(files).status().unwrap();
    assert!(made.success());
    path
}

fn manifest(url: &str, archives: &[PathBuf]) -> Output {
    Command::new(root().join("packaging/krew/manifest")).arg(url).args(archives).output().unwrap()
}

#[test]
fn the_manifest_is_what_krew_takes() {
    let directory = tempfile::tempdir().unwrap();
    let platforms = [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64")];
    let archives: Vec<PathBuf> = platforms
        .iter()
        .map(|(os, arch)| {
            let name = format!("kubectl-redis_memory_{os}_{arch}.tar.gz");
            archive(directory.path(), &name, &["redis-memory-operator", "LICENSE"])
        })
        .collect();
    let made = manifest(URL, &archives);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let manifest: Value = serde_yaml::from_slice(&made.stdout).unwrap();
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["kind"], "Plugin");
    // Krew links kubectl-redis_memory to the program: the name that src/cli/mod.rs knows.
    assert_eq!(manifest["metadata"]["name"], "redis-memory");
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], concat!("v", env!("CARGO_PKG_VERSION")));
    let chart: Value =
        serde_yaml::from_str(&fs::read_to_string(root().join("charts/redis-memory-operator/Chart.yaml")).unwrap())
            .unwrap();
    assert_eq!(spec["homepage"], chart["home"]);
    let short = spec["shortDescription"].as_str().unwrap();
    assert!(short.len() <= 50 && !short.ends_with('.') && !short.contains('\n'), "{short}");
    for text in ["description", "caveats"] {
        assert!(!spec[text].as_str().unwrap().trim().is_empty(), "{text}");
    }
    let listed = spec["platforms"].as_array().unwrap();
    assert_eq!(listed.len(), platforms.len());
    for ((platform, archive), (os, arch)) in listed.iter().zip(&archives).zip(platforms) {
        assert_eq!(
            (&platform["selector"]["matchLabels"]["os"], &platform["selector"]["matchLabels"]["arch"]),
            (&os.into(), &arch.into())
        );
        let name = archive.file_name().unwrap().to_str().unwrap();
        assert_eq!(platform["uri"], format!("{URL}/{name}"));
        let hash = Sha256::digest(fs::read(archive).unwrap()).iter().fold(String::new(), |mut hash, byte| {
            let _writing_to_a_string_cannot_fail = write!(hash, "{byte:02x}");
            hash
        });
        assert_eq!(platform["sha256"], hash);
        let from: Vec<_> = platform["files"].as_array().unwrap().iter().map(|file| file["from"].clone()).collect();
        assert_eq!(from, ["redis-memory-operator", "LICENSE"]);
        assert!(from.contains(&platform["bin"]), "the program is one of the files");
    }
}

#[rstest]
#[case::another_name("plugin.tar.gz", &["redis-memory-operator", "LICENSE"], URL, "the name is not kubectl-redis_memory_OS_ARCH")]
#[case::another_system("kubectl-redis_memory_plan9_amd64.tar.gz", &["LICENSE"], URL, "the name is not")]
#[case::no_program("kubectl-redis_memory_linux_amd64.tar.gz", &["LICENSE"], URL, "redis-memory-operator is missing in it")]
#[case::no_licence("kubectl-redis_memory_linux_amd64.tar.gz", &["redis-memory-operator"], URL, "LICENSE is missing in it")]
#[case::plain("kubectl-redis_memory_linux_amd64.tar.gz", &["LICENSE"], "http://redismemory.io", "over https")]
fn what_krew_would_refuse_is_refused(
    #[case] name: &str,
    #[case] files: &[&str],
    #[case] url: &str,
    #[case] says: &str,
) {
    let directory = tempfile::tempdir().unwrap();
    let made = manifest(url, &[archive(directory.path(), name, files)]);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(!made.status.success() && said.contains(says), "{said}");
}
