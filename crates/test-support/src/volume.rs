use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skips::skip;

/// A small volume in memory, mounted until this is dropped.
pub struct Volume(PathBuf);

impl Volume {
    /// Mounts one of that size, such as `64k`, on a folder, which is made at need. None where this
    /// process may not mount anything, which has then been noted.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn mount(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        skip("mount", "a volume of its own needs the right to mount");
        None
    }

    /// Changes its options, such as `ro` or `size=1m`.
    ///
    /// # Panics
    /// When that fails.
    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.expect("mount runs").success());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
