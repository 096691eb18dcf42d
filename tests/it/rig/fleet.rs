//! A device of a fleet, and the person who signs its documents with the real minisign.

use super::{Reading, files, forebay};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A folder with a device and the key of its fleet.
pub struct Fleet<'a> {
    pub dir: &'a Path,
}

impl<'a> Fleet<'a> {
    pub fn new(dir: &'a Path) -> Self {
        std::fs::create_dir(dir.join("in")).unwrap();
        for key in ["fleet", "other"] {
            let made = Command::new("minisign")
                .args(["-G", "-W", "-f", "-p", &format!("{key}.pub"), "-s", &format!("{key}.key")])
                .current_dir(dir)
                .stdin(Stdio::null())
                .output()
                .expect("minisign is not installed: tests/run installs it");
            assert!(made.status.success(), "{made:?}");
        }
        Self { dir }
    }

    /// The local file: no parts of its own.
    pub fn local(&self, more: &str) -> String {
        let (dir, key) = (self.dir.display(), std::fs::read_to_string(self.dir.join("fleet.pub")).unwrap());
        let key = key.lines().nth(1).unwrap();
        format!(
            "device = \"hall-3\"\nstate = \"{dir}/state\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
             [remote]\nkeys = [\"{key}\"]\nfleet = \"plant-7\"\nprobation = \"4s\"\n{more}\n"
        )
    }

    /// A document with a source and a sink, and something else.
    pub fn document(&self, serial: u64, pattern: &str, more: &str) -> String {
        let dir = self.dir.display();
        format!(
            "[fleet]\nserial = {serial}\nfleet = \"plant-7\"\n\
             [source.log]\nkind = \"file\"\npath = \"{dir}/in/{pattern}\"\npoll = \"20ms\"\n\
             [sink.out]\nkind = \"directory\"\npath = \"{dir}/out\"\nlinger = \"0s\"\n{more}"
        )
    }

    /// The document, signed as a person does it.
    pub fn signed_by(&self, key: &str, text: &str) -> String {
        std::fs::write(self.dir.join("document.toml"), text).unwrap();
        let signed = Command::new("minisign")
            .args(["-S", "-W", "-s", &format!("{key}.key"), "-m", "document.toml"])
            .current_dir(self.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(signed.status.success(), "{signed:?}");
        let sealed = forebay(&["config", "seal", self.dir.join("document.toml").to_str().unwrap()]);
        assert!(sealed.status.success(), "{sealed:?}");
        String::from_utf8(sealed.stdout).unwrap()
    }

    pub fn signed(&self, text: &str) -> String {
        self.signed_by("fleet", text)
    }

    /// `forebay config WHAT`, with a document if there is one.
    pub fn config(&self, what: &str, document: Option<&str>) -> (Option<i32>, String) {
        let path = self.dir.join("signed.toml");
        let mut arguments = vec!["config", what];
        if let Some(document) = document {
            std::fs::write(&path, document).unwrap();
            arguments.push(path.to_str().unwrap());
        }
        let local = self.dir.join("forebay.toml");
        arguments.push(local.to_str().unwrap());
        let Output { status, stdout, stderr } = forebay(&arguments);
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    }

    pub fn phase(&self) -> String {
        self.config("status", None).1.lines().next().unwrap_or_default().replace("phase: ", "")
    }

    pub fn values(&self) -> Vec<String> {
        files(&self.dir.join("out"), "readings").iter().map(Reading::value).collect()
    }
}
