//! A filesystem of our own, which can be filled and frozen; needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program that must succeed.
fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A small ext4 on a loop device.
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
}

impl Mount {
    /// Makes and mounts one.
    pub fn new(at: &Path, mib: u64) -> Self {
        let image = at.with_extension("img");
        std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        std::fs::create_dir_all(at).unwrap();
        command("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        command("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at: at.to_path_buf() }
    }

    /// From now on every write waits, until `thaw`.
    pub fn freeze(&self) {
        command("fsfreeze", &["-f", self.at.to_str().unwrap()]);
    }

    /// Writes go on.
    pub fn thaw(&self) {
        command("fsfreeze", &["-u", self.at.to_str().unwrap()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It may not be frozen.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.at).output();
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
