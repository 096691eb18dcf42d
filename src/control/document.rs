//! The document that is pushed: a configuration, who it is for, and who signed it.
//!
//! A document is TOML. Its table `[fleet]` says what it is; its signatures stand at its end as comments, each below the
//! line `MARK`. What is signed are the bytes before the first such line (`docs/fleet.md`, "The document").

use crate::platform::digest;
use crate::section::value::parse;
use crate::section::{Data, Report, Section, Session, System, Texts};
use minisign_verify::{PublicKey, Signature};

/// A longer document is refused before it is looked at, in bytes.
pub const LONGEST: usize = 1 << 20;
/// The line above a signature.
pub const MARK: &str = "# --- forebay minisign ---";
/// The table that says what a document is.
pub const FLEET: &str = "fleet";
/// The lines of a signature.
const LINES: usize = 4;
/// More signatures are not looked at.
const MOST_SIGNATURES: usize = 16;

/// What a document says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The number of the document. It only rises.
    pub serial: u64,
    /// The fleet that it is for.
    pub fleet: String,
    /// The devices that it is for: any of these. Each is `*`, a device's name with `*` in it, or labels
    /// (`site=north,line=3`) of which all must be the device's.
    pub target: Vec<String>,
    /// The share of these devices that takes it, in percent.
    pub rollout: u8,
    /// It is not taken before this time, in milliseconds since 1970.
    pub not_before_ms: Option<i64>,
}

/// A document that was signed by someone who is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The whole text, with its signatures.
    pub text: String,
    /// What it says of itself.
    pub header: Header,
    /// The SHA-256 of what is signed, in hex.
    pub sha256: String,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is too long.
    #[error("the document has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// It is not text, or not a document.
    #[error("{0}")]
    NoDocument(String),
    /// It has no signature.
    #[error("the document is not signed: `forebay config seal` puts a signature at its end")]
    NotSigned,
    /// Nobody who is trusted signed it.
    #[error("{0}")]
    NotTrusted(String),
}

impl Refusal {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too-long",
            Self::NoDocument(_) => "no-document",
            Self::NotSigned => "not-signed",
            Self::NotTrusted(_) => "not-trusted",
        }
    }
}

/// The device that asks whether a document is for it.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The name of the device.
    pub device: &'a str,
    /// Its fleet.
    pub fleet: &'a str,
    /// Its labels.
    pub labels: &'a [(String, String)],
}

/// A text without its signatures, and the signatures.
#[must_use]
pub fn split(text: &str) -> (&str, Vec<String>) {
    let begins = |at: usize| at == 0 || text.as_bytes()[at - 1] == b'\n';
    let at = text.match_indices(MARK).map(|(at, _)| at).find(|at| begins(*at));
    let Some(at) = at else { return (text, Vec::new()) };
    let (body, signatures) = text.split_at(at);
    let mut found: Vec<String> = Vec::new();
    for block in signatures.split(MARK).skip(1).take(MOST_SIGNATURES) {
        let lines = block.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).trim_end());
        found.push(lines.filter(|line| !line.is_empty()).take(LINES).collect::<Vec<_>>().join("\n"));
    }
    (body, found)
}

/// The text of a document with one more signature, as minisign wrote it.
#[must_use]
pub fn sealed(text: &str, signature: &str) -> String {
    let comment = signature.lines().map(|line| format!("# {line}")).collect::<Vec<_>>().join("\n");
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{MARK}\n{comment}\n")
}

impl Document {
    /// Reads a document and proves its signatures.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read(bytes: &[u8], keys: &[Key], required: usize) -> Result<Self, Refusal> {
        if bytes.len() > LONGEST {
            return Err(Refusal::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NoDocument("the document is no text".into()))?;
        let (body, signatures) = split(text);
        if signatures.is_empty() {
            return Err(Refusal::NotSigned);
        }
        proven(body, &signatures, keys, required)?;
        // Nothing of a document counts, and nothing of it is parsed, before its signature was proven.
        let header = Header::read(body).map_err(Refusal::NoDocument)?;
        Ok(Self { text: text.into(), header, sha256: digest::sha256(body.as_bytes()) })
    }

    /// What is signed: the configuration.
    #[must_use]
    pub fn body(&self) -> &str {
        split(&self.text).0
    }
}

/// A trusted key, as minisign writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key {
    /// Reads the line of a public key; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        PublicKey::from_base64(text.trim()).ok().map(|_| Self(text.trim().into()))
    }

    fn signed(&self, body: &str, signature: &Signature) -> bool {
        PublicKey::from_base64(&self.0).is_ok_and(|key| key.verify(body.as_bytes(), signature, false).is_ok())
    }
}

/// # Errors
/// When fewer than `required` of the keys signed the text.
fn proven(body: &str, signatures: &[String], keys: &[Key], required: usize) -> Result<(), Refusal> {
    let read: Vec<Signature> = signatures.iter().filter_map(|text| Signature::decode(text).ok()).collect();
    if read.is_empty() {
        return Err(Refusal::NotTrusted("the signature cannot be read: minisign writes four lines".into()));
    }
    // Two signatures by one key count once.
    let by = keys.iter().filter(|key| read.iter().any(|signature| key.signed(body, signature))).count();
    match (by, required) {
        (by, required) if by >= required => Ok(()),
        (0, _) => Err(Refusal::NotTrusted(
            "no key of `[remote] keys` made the signature, or the document was changed after it was signed".into(),
        )),
        (by, required) => {
            Err(Refusal::NotTrusted(format!("{by} of the keys signed the document, {required} are needed")))
        }
    }
}

impl Header {
    /// The header of a document that is not signed yet.
    ///
    /// # Errors
    /// What is wrong with `[fleet]`, with its place.
    pub fn of_text(text: &str) -> Result<Self, String> {
        Self::read(split(text).0)
    }

    fn read(body: &str) -> Result<Self, String> {
        let texts = Texts::new(body);
        let root = parse(body, 0).map_err(|problems| Report::of_broken(texts.clone(), problems).to_string())?;
        let Some((_, value)) = root.into_iter().find(|(key, _)| key.name == FLEET) else {
            return Err("the document has no table [fleet] with a `serial`".into());
        };
        let Data::Table(table) = value.data else { return Err("`fleet` must be a table: [fleet]".into()) };
        let session = Session::new(&System, true);
        let header = Self::of(session.section(FLEET, FLEET, value.span, table));
        let (problems, ..) = session.end();
        match header {
            Some(header) if problems.is_empty() => Ok(header),
            _ => Err(Report::new(texts, problems).to_string()),
        }
    }

    fn of(mut section: Section<'_>) -> Option<Self> {
        let serial =
            section.whole::<u64>("serial").doc("The number of the document. It only rises.").at_least(1).need();
        let fleet = section.text("fleet").doc("The fleet that it is for.").need();
        let target = section.text_or_texts("target").doc("The devices that it is for.").get();
        let target = target.map_or_else(|| vec!["*".into()], |all| all.into_iter().map(|text| text.value).collect());
        let rollout =
            section.whole::<u8>("rollout").doc("The share of the devices, in percent.").within(1..=100).or(100);
        let not_before = section
            .text("not_before")
            .doc("It is not taken before this time.")
            .check(|text| {
                let hint = "in quotes, such as \"2026-12-01T06:00:00Z\"";
                crate::platform::clock::parsed(text).is_none().then(|| ("this is no time".into(), Some(hint.into())))
            })
            .get();
        section.end();
        let not_before_ms = not_before.and_then(|text| crate::platform::clock::parsed(&text));
        Some(Self { serial: serial?, fleet: fleet?, target, rollout, not_before_ms })
    }

    /// Whether a document is for a device; else why not.
    ///
    /// # Errors
    /// The reason in words.
    pub fn is_for(&self, who: Who<'_>) -> Result<(), String> {
        if self.fleet != who.fleet {
            return Err(format!("it is for the fleet `{}`, and this device is of `{}`", self.fleet, who.fleet));
        }
        if !self.target.iter().any(|target| hits(target, who)) {
            return Err(format!("it is for {}, and not for this device", self.target.join(", ")));
        }
        let bucket = bucket(who);
        if bucket >= self.rollout {
            return Err(format!("it is for {} % of the devices, and this one comes after {bucket} %", self.rollout));
        }
        Ok(())
    }
}

fn hits(target: &str, who: Who<'_>) -> bool {
    if target.contains('=') {
        return target.split(',').all(|term| {
            let (name, value) = term.split_once('=').unwrap_or((term, ""));
            who.labels.iter().any(|(own, is)| own == name.trim() && is == value.trim())
        });
    }
    glob::Pattern::new(target).is_ok_and(|pattern| pattern.matches(who.device))
}

/// The place of a device in the order of a rollout, from 0 to 99. It is the same for every document of a fleet, so that
/// a rollout which grows only adds devices.
#[must_use]
pub fn bucket(who: Who<'_>) -> u8 {
    let hash = digest::sha256(format!("{}\n{}", who.fleet, who.device).as_bytes());
    let number = u64::from_str_radix(&hash[..12], 16).unwrap_or(0) % 100;
    u8::try_from(number).unwrap_or(0)
}
