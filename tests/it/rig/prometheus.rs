//! A real Prometheus.

use std::path::Path;
use std::process::{Child, Command};

/// A Prometheus that runs until this is dropped.
pub struct Prometheus(Child);

impl Prometheus {
    /// Starts it with a configuration; its data and its log are in `dir`.
    pub fn start(dir: &Path, port: u16, config: &str) -> Self {
        let place = dir.display();
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={place}/prometheus.yml"))
            .arg(format!("--storage.tsdb.path={place}/tsdb"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(std::fs::File::create(dir.join("prometheus.err")).unwrap())
            .spawn()
            .expect("prometheus is not installed: tests/run installs it");
        Self(child)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
