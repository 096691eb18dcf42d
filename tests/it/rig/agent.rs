//! The real binary.

use super::until;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// Runs a command to its end.
pub fn forebay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay")).args(arguments).output().unwrap()
}

/// Whether a process has a handler for SIGTERM (15), see proc(5), `SigCgt`.
fn listens(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
}

/// A running agent.
pub struct Agent {
    child: Child,
    in_group: bool,
    /// Where it logs.
    pub log_file: PathBuf,
}

impl Agent {
    /// Starts `forebay run` with a configuration; its state is in `dir/state` unless it says otherwise.
    pub fn start(dir: &Path, config: &str, connection: &str) -> Self {
        Self::start_under(&[], dir, config, connection)
    }

    /// Starts it under another program, such as strace with its arguments.
    pub fn start_under(program: &[String], dir: &Path, config: &str, connection: &str) -> Self {
        let path = dir.join("forebay.toml");
        std::fs::write(&path, config).unwrap();
        let log = dir.join("agent.out");
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let binary = env!("CARGO_BIN_EXE_forebay").to_string();
        let line: Vec<String> = program.iter().cloned().chain([binary]).collect();
        let mut command = Command::new(&line[0]);
        // What such a program leaves behind ends with its group.
        let in_group = !program.is_empty();
        if in_group {
            command.process_group(0);
        }
        let child = command
            .args(&line[1..])
            .args(["run", "--config"])
            .arg(&path)
            .arg("--state")
            .arg(dir.join("state"))
            .env("EVENTHUB_CONNECTION", connection)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, in_group, log_file: log }
    }

    /// What it has logged so far, over all starts in this folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap()
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, when it does.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Whether a signal asks it to stop, and does not end it.
    pub fn listens(&self) -> bool {
        listens(&self.pid().to_string())
    }

    /// Stops in order. A process that has only begun would be ended by the signal: it is asked when it listens.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        until("it listens for signals", || self.listens() || !self.is_running());
        if !self.is_running() {
            return self.child.wait().unwrap();
        }
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.in_group {
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        }
        if std::thread::panicking() {
            eprintln!("--- agent log\n{}", std::fs::read_to_string(&self.log_file).unwrap_or_default());
        }
    }
}
