//! A directory of this machine as a PersistentVolume of the test cluster, whose one node this machine is.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::{client, space::Space};

/// A directory that a pod of any user may write to, and the PersistentVolume that a manifest makes of it.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: TempDir,
    volume: String,
}

impl Disk {
    /// One for the set of that name.
    pub(crate) fn new(space: &Space, set: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { directory, volume: format!("{}-{set}", space.name) }
    }

    /// The directory.
    pub(crate) fn path(&self) -> String {
        self.directory.path().display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It is of no namespace, so it does not go with the test's.
        client::kubectl(&["delete", "persistentvolume", &self.volume, "--wait=false", "--ignore-not-found"]);
    }
}
