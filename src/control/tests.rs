//! Documents as minisign signed them, and what is remembered of them.

use super::document::{Document, Header, Key, LONGEST, MARK, Refusal, Who, bucket, sealed, split};
use super::ledger::{Decision, Ledger, MOST_STARTS, Mark, State};
use super::trial::Snapshot;
use super::{Restrict, allows, allows_host};

/// Signed by Debian's minisign 0.11.
const SIGNED: &str = include_str!("../../tests/golden/control/document.toml");
const KEY: &str = include_str!("../../tests/golden/control/key.pub");
const STATE: &str = include_str!("../../tests/golden/control/state.json");
/// The public key of minisign's own manual.
const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn read(text: &str) -> Result<Document, Refusal> {
    Document::read(text.as_bytes(), &[Key::parse(OTHER).unwrap(), Key::parse(KEY).unwrap()], 1)
}

fn code(text: &str) -> &'static str {
    read(text).unwrap_err().code()
}

#[test]
fn a_document_that_was_signed_is_read_and_any_change_of_it_is_refused() {
    let document = read(SIGNED).unwrap();
    let target = vec!["site=north".to_string(), "hall-*".into()];
    let header = Header { serial: 1, fleet: "plant-7".into(), target, rollout: 100, not_before_ms: None };
    assert_eq!(document.header, header);
    assert!(document.body().ends_with("linger = \"0s\"\n") && document.sha256.len() == 64);
    assert_eq!(code(&SIGNED.replace("serial = 1", "serial = 2")), "not-trusted");
    assert_eq!(code(&SIGNED.replace("file:doc1", "file:doc2")), "not-trusted", "the trusted comment is signed too");
    assert_eq!(code(&SIGNED.replacen('\n', "\r\n", 1)), "not-trusted");
    assert_eq!(code(document.body()), "not-signed");
    assert_eq!(code(&format!("{}{MARK}\n# nothing\n", document.body())), "not-trusted");
    assert_eq!(code(""), "not-signed");
    assert_eq!(Document::read(&vec![b'#'; LONGEST + 1], &[], 1).unwrap_err().code(), "too-long");
    assert_eq!(Document::read(&[0xff], &[], 1).unwrap_err().code(), "no-document");
    let other = [Key::parse(OTHER).unwrap()];
    assert_eq!(Document::read(SIGNED.as_bytes(), &other, 1).unwrap_err().code(), "not-trusted");
    // Two keys are needed: one signature is not enough, also when it stands there twice.
    let twice = SIGNED.to_string() + &SIGNED[SIGNED.find(MARK).unwrap()..];
    let both = [Key::parse(OTHER).unwrap(), Key::parse(KEY).unwrap()];
    for text in [SIGNED, &twice] {
        let refused = Document::read(text.as_bytes(), &both, 2).unwrap_err().to_string();
        assert!(refused.contains("1 of the keys signed"), "{refused}");
    }
    assert!(Document::read(twice.as_bytes(), &both, 1).is_ok());
    assert!(Key::parse("RWQ").is_none());
}

#[test]
fn a_seal_can_be_taken_off_again() {
    let signature = "untrusted comment: x\nRUQ\ntrusted comment: y\nabc\n";
    let whole = sealed(&sealed("a = 1\n", signature), signature);
    let (body, signatures) = split(&whole);
    assert_eq!((body, signatures.len()), ("a = 1\n", 2));
    assert_eq!(signatures[0].trim_end(), signature.trim_end());
    // The line counts at the beginning of a line alone.
    assert_eq!(split("a = \"# --- forebay minisign ---\"\n").1.len(), 0);
}

#[test]
fn a_document_is_for_some_devices() {
    let labels = [("site".to_string(), "north".to_string()), ("line".into(), "3".into())];
    let who = Who { device: "hall-3", fleet: "plant-7", labels: &labels };
    let is_for = |target: &str, rollout| {
        let target = vec![target.to_string()];
        Header { serial: 1, fleet: "plant-7".into(), target, rollout, not_before_ms: None }.is_for(who)
    };
    for target in ["*", "hall-3", "hall-*", "site=north", "site=north, line=3"] {
        assert_eq!(is_for(target, 100), Ok(()), "{target}");
    }
    for target in ["hall-4", "site=south", "site=north,line=4", "site=", "="] {
        assert!(is_for(target, 100).unwrap_err().contains("not for this device"), "{target}");
    }
    let own = bucket(who);
    assert!(is_for("*", own).is_err() && is_for("*", own + 1).is_ok());
    let other = Header { fleet: "plant-8".into(), ..read(SIGNED).unwrap().header };
    assert!(other.is_for(who).unwrap_err().contains("plant-8"));
    // The devices of a fleet are spread evenly.
    let buckets = (0..1000).map(|n| bucket(Who { device: &format!("d{n}"), ..who }));
    let first = buckets.filter(|bucket| *bucket < 10).count();
    assert!((60..140).contains(&first), "{first}");
}

#[test]
fn serials_only_rise_and_one_document_is_tried_at_a_time() {
    let mut document = read(SIGNED).unwrap();
    let mut state = State::default();
    assert_eq!(state.decide(&document, None), Decision::Take);
    document.header.not_before_ms = Some(1000);
    let early = Decision::Early(1000);
    assert_eq!(state.decide(&document, None), early, "nobody knows the time");
    assert_eq!((state.decide(&document, Some(999)), state.decide(&document, Some(1000))), (early, Decision::Take));
    document.header.not_before_ms = None;
    state.highest = Some(Mark { serial: 1, sha256: document.sha256.clone(), since_ms: 0 });
    assert_eq!(state.decide(&document, None), Decision::Known);
    document.sha256.push('0');
    assert_eq!(state.decide(&document, None), Decision::Twice);
    state.highest.as_mut().unwrap().serial = 7;
    assert_eq!(state.decide(&document, None), Decision::Old(7));
    document.header.serial = 8;
    state.trial = Some(super::ledger::Trial {
        mark: state.highest.clone().unwrap(),
        starts: MOST_STARTS,
        before: Snapshot::default(),
    });
    assert_eq!(state.decide(&document, None), Decision::Busy);
}

#[test]
fn what_is_remembered_survives_and_an_old_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).0;
    assert_eq!((ledger.state.phase(), std::fs::read_dir(dir.path()).unwrap().count()), ("local", 0));
    assert_eq!((ledger.next("a"), ledger.generation("a", 5).unwrap(), ledger.generation("a", 6).unwrap()), (1, 1, 1));
    let document = read(SIGNED).unwrap();
    ledger.begin_trial(&document, Snapshot::default(), 7).unwrap();
    assert_eq!(ledger.generation("b", 8).unwrap(), 2);
    let mut ledger = Ledger::open(dir.path()).0;
    assert_eq!((ledger.state.phase(), ledger.current().unwrap().unwrap()), ("probation", SIGNED.to_string()));
    ledger.give_up("why".into(), 9).unwrap();
    assert_eq!((ledger.state.phase(), ledger.current().unwrap()), ("rolled-back", None));
    assert_eq!(ledger.state.decide(&document, None), Decision::Known, "it is not tried again");

    let next =
        Document { header: Header { serial: 2, ..document.header.clone() }, sha256: "2".into(), ..document.clone() };
    ledger.begin_trial(&next, Snapshot::default(), 10).unwrap();
    ledger.confirm(true).unwrap();
    assert_eq!(Ledger::look(dir.path()).unwrap().phase(), "applied-unconfirmed");
    assert_eq!(ledger.state.decide(&next, None), Decision::Known, "the one that runs is no replay");
    let last = Document { header: Header { serial: 3, ..document.header.clone() }, sha256: "3".into(), ..document };
    ledger.begin_trial(&last, Snapshot::default(), 11).unwrap();
    ledger.confirm(false).unwrap();
    assert_eq!((ledger.state.phase(), ledger.back().unwrap(), ledger.back().unwrap()), ("applied", 2, 0));
    assert!(ledger.back().unwrap_err().to_string().contains("no pushed document"));
    let other = Document { sha256: "other".into(), ..next };
    assert_eq!(ledger.state.decide(&other, None), Decision::Old(3), "going back does not lower the serial");
    // What cannot be written is not so.
    let before = ledger.state.clone();
    let file = dir.path().join("config/state.json.new");
    std::fs::create_dir(&file).unwrap();
    let newer = Document { header: Header { serial: 9, ..other.header.clone() }, ..other };
    assert!(ledger.begin_trial(&newer, Snapshot::default(), 11).is_err() && ledger.state == before);
    std::fs::remove_dir(file).unwrap();
    let text = (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n";
    let (one, other) = (text.clone(), text.replace("10\n", "ten\n"));
    let from = ledger.generation(&one, 12).unwrap();
    let to = ledger.generation(&other, 12).unwrap();
    let changed = Ledger::diff(dir.path(), from, to).unwrap();
    let lines = " 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n@@\n";
    assert_eq!(changed, format!("--- generation {from}\n+++ generation {to}\n{lines}"));
    // What nobody needs is forgotten.
    for n in 0..30 {
        ledger.generation(&format!("{n}"), 12).unwrap();
    }
    let files = std::fs::read_dir(dir.path().join("config")).unwrap().count();
    assert!(files <= 23, "{files}");
    assert!(Ledger::text(dir.path(), 1).is_err() && Ledger::text(dir.path(), 34).unwrap() == "29");

    let state: State = serde_json::from_str(STATE).unwrap();
    assert_eq!((state.phase(), state.generations.len(), state.production.unwrap().serial), ("applied", 2, 1));
    std::fs::write(dir.path().join("config/state.json"), "{").unwrap();
    let error = Ledger::open(dir.path()).1.unwrap().to_string();
    assert!(error.contains("state.json cannot be read"), "{error}");
    assert!(dir.path().join("config/state.json.bad").exists() && Ledger::open(dir.path()).1.is_none());
}

#[test]
fn a_list_of_patterns_allows_what_it_names() {
    let hosts = ["*.example.com".to_string(), "10.0.0.*".into()];
    for (host, allowed) in
        [("a.example.com", true), ("A.Example.com", true), ("a.b.example.com", false), ("10.0.0.7", true)]
    {
        assert_eq!(allows_host(Some(&hosts), host), allowed, "{host}");
    }
    let list = Restrict { hosts: Some(vec!["*.example.com".into(), "plc-?".into()]), ..Restrict::default() }.hosts;
    for (host, allowed) in [("a.example.com", true), ("plc-7", true), ("plc-17", false), ("example.org", false)] {
        assert_eq!(allows(list.as_deref(), host), allowed, "{host}");
    }
    assert!(allows(None, "anything") && !allows(Some(&[]), "anything"));
}
