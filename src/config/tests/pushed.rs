//! A pushed document over a local file.

use super::super::{Options, load_with};
use super::Around;

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn local(more: &str) -> String {
    format!("device = \"d\"\n[remote]\nkeys = [\"{KEY}\"]\nfleet = \"f\"\n{more}")
}

const DOCUMENT: &str = "[fleet]\nserial = 1\nfleet = \"f\"\n[source.p]\nkind = \"file\"\npath = \"/var/log/p\"\n\
                        [sink.p]\nkind = \"directory\"\npath = \"/out\"\n";

/// The names of the parts, or the problems.
fn laid(local: &str, document: &str, around: &Around) -> String {
    let options = Options { pushed: Some(document), ..Options::default() };
    match load_with(local, around, options) {
        Ok((config, _)) => {
            let sources = config.sources.iter().map(|source| source.name.as_str());
            sources.chain(config.sinks.iter().map(|sink| sink.name.as_str())).collect::<Vec<_>>().join(" ")
        }
        Err(report) => report.to_string(),
    }
}

#[test]
fn what_a_document_has_takes_the_place_of_all_of_its_kind() {
    let around = Around::default();
    let parts = "[source.a]\nkind = \"file\"\npath = \"/a\"\n[source.b]\nkind = \"file\"\npath = \"/b\"\n\
                 [sink.d]\nkind = \"directory\"\npath = \"/d\"\n";
    assert_eq!(laid(&local(parts), DOCUMENT, &around), "p p");
    let sources_alone = &DOCUMENT[..DOCUMENT.find("[sink").unwrap()];
    assert_eq!(laid(&local(parts), sources_alone, &around), "p d");
    // A device that waits for its first document needs no parts; with a document it does.
    assert!(load_with(&local(""), &around, Options::default()).is_ok());
    assert!(laid(&local(""), sources_alone, &around).contains("there is no sink"));
    let alone = "device = \"d\"\n".to_string();
    assert!(load_with(&alone, &around, Options::default()).is_err());
}

#[test]
fn a_document_changes_nothing_that_is_the_device_s_own() {
    let around = Around::default();
    for own in ["device = \"x\"", "state = \"/x\"", "memory_max = \"1GiB\"", "include = [\"/x\"]"] {
        let told = laid(&local(""), &format!("{own}\n{DOCUMENT}"), &around);
        assert!(
            told.contains("stands in the local file only") && told.contains("the pushed document: line 1"),
            "{told}"
        );
    }
    for own in [
        "remote]\nfleet = \"x\"",
        "restrict]\nprograms = true",
        "page]\nlisten = \"0.0.0.0:1\"",
        "store]\ncap = \"1TiB\"",
        "secret.x]\nenv = \"X\"",
    ] {
        let told = laid(&local(""), &format!("{DOCUMENT}[{own}\n"), &around);
        assert!(told.contains("stands in the local file only"), "{own}: {told}");
    }
}

#[test]
fn secrets_have_names_and_nothing_of_the_device_is_read() {
    let mut around = Around::default();
    around
        .variables
        .insert("HUB", "Endpoint=sb://h.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=a=;EntityPath=e");
    let sink = |connection: &str| {
        let at = DOCUMENT.find("[sink").unwrap();
        format!("{}[sink.p]\nkind = \"eventhubs\"\nconnection = {connection}\n", &DOCUMENT[..at])
    };
    let named = local("[secret.hub]\nenv = \"HUB\"\n");
    assert_eq!(laid(&named, &sink("{ secret = \"hub\" }"), &around), "p p");
    assert!(laid(&local(""), &sink("{ secret = \"hub\" }"), &around).contains("there is no [secret.hub]"));
    let around_itself = local("[secret.hub]\nsecret = \"hub\"\n");
    assert!(laid(&around_itself, &sink("{ secret = \"hub\" }"), &around).contains("names another secret"));
    for place in ["{ env = \"HUB\" }", "{ file = \"/etc/shadow\" }", "{ credential = \"hub\" }"] {
        let told = laid(&named, &sink(place), &around);
        assert!(told.contains("cannot name") && told.contains("{ secret = \"NAME\" }"), "{told}");
    }
    let literal = laid(&named, &sink("\"Endpoint=sb://h/;SharedAccessKeyName=k;SharedAccessKey=abcdefgh=\""), &around);
    assert!(literal.contains("the place of a secret is wanted") && !literal.contains("abcdefgh"), "{literal}");
    // Other values of the device would show its files, too.
    let path = DOCUMENT.replace("\"/var/log/p\"", "{ file = \"/etc/shadow\", default = \"x\" }");
    assert!(laid(&named, &path, &around).contains("cannot name `file`"));
}

#[test]
fn what_is_restricted_is_refused_with_its_place() {
    let around = Around::default();
    let restrict =
        "[restrict]\nfiles = [\"/var/log/*\", \"/out\"]\nhosts = [\"*.example.com\"]\nserial = [\"/dev/ttyUSB*\"]\n";
    assert_eq!(laid(&local(restrict), DOCUMENT, &around), "p p");
    let source = |text: &str| format!("{DOCUMENT}[source.q]\n{text}\n");
    for (text, why) in [
        ("kind = \"file\"\npath = \"/etc/*\"", "may not use /etc/*"),
        ("kind = \"file\"\npath = \"/var/log/.?/x\"", "may not use"),
        (
            "kind = \"mqtt\"\nurl = \"mqtts://a.example.com\"\ntopics = [\"a\"]\ntls = { ca = \"/etc/shadow\" }",
            "may not use /etc/shadow",
        ),
        ("kind = \"mqtt\"\nurl = \"mqtt://a.evil.example.com\"\ntopics = [\"a\"]", "may not connect to a.evil"),
        ("kind = \"file\"\npath = \"/var/log/../../etc/x\"", "may not use"),
        ("kind = \"mqtt\"\nurl = \"mqtt://evil.example.org\"\ntopics = [\"a\"]", "may not connect to evil.example.org"),
        (
            "kind = \"modbus\"\ntcp = \"10.0.0.5:502\"\n[[source.q.slave]]\nunit = 1\nregisters = [{ name = \"t\", address = 3, type = \"i16\" }]",
            "may not connect to 10.0.0.5",
        ),
        ("kind = \"serial\"\npath = \"/dev/ttyS0\"\nbaud = 9600", "may not open /dev/ttyS0"),
    ] {
        let told = laid(&local(restrict), &source(text), &around);
        assert!(
            told.contains(why) && told.contains("in [restrict]") && told.contains("the pushed document: line"),
            "{text}: {told}"
        );
    }
    let broker = "kind = \"mqtt\"\nurl = \"mqtt://a.example.com\"\ntopics = [\"a\"]";
    assert_eq!(laid(&local(restrict), &source(broker), &around), "p q p");
    let kafka = DOCUMENT.replace(
        "kind = \"directory\"\npath = \"/out\"",
        "kind = \"kafka\"\nbrokers = [\"k.example.org:9092\"]\ntopic = \"t\"",
    );
    assert!(laid(&local(restrict), &kafka, &around).contains("may not connect to k.example.org"));
    let hook = format!("{DOCUMENT}[alerts]\nwebhook = {{ url = \"https://evil.example.org/x\" }}\n");
    assert!(laid(&local(restrict), &hook, &around).contains("may not connect to evil.example.org"));
    // The local file itself is not restricted.
    let own = local(&format!(
        "{restrict}[source.a]\nkind = \"file\"\npath = \"/etc/a\"\n[sink.d]\nkind = \"directory\"\npath = \"/d\"\n"
    ));
    assert!(load_with(&own, &around, Options::default()).is_ok());
}

#[test]
fn programs_are_for_the_local_file_unless_it_says_otherwise() {
    let around = Around::default();
    let at = DOCUMENT.find("[sink").unwrap();
    let document = format!(
        "{}[sink.p]\nkind = \"eventhubs\"\nnamespace = \"h.servicebus.windows.net\"\nevent_hub = \"e\"\n\
         credential = {{ kind = \"command\", command = [\"/bin/sh\", \"-c\", \"id\"] }}\n",
        &DOCUMENT[..at]
    );
    assert!(laid(&local(""), &document, &around).contains("may not run /bin/sh"));
    assert_eq!(laid(&local("[restrict]\nprograms = true\n"), &document, &around), "p p");
}

#[test]
fn what_is_the_agents_own_is_out_of_reach_and_a_part_may_have_any_name() {
    let around = Around::default();
    let local = local("[secret.hub]\nfile = \"/etc/forebay/hub\"\n");
    for path in [
        "/etc/forebay/*",
        "/etc/forebay/hub",
        "/etc/forebay/../forebay/hub",
        "/etc/*/h?b",
        "/etc/**/hub",
        "/var/lib/forebay/config/*",
        "/var/*/f*/config/state.json",
        "/var/**",
    ] {
        let told = laid(&local, &DOCUMENT.replace("/var/log/p", path), &around);
        assert!(told.contains("it is the agent's own"), "{path}: {told}");
    }
    // The state directory of the command line is out of reach, too.
    let document = DOCUMENT.replace("/var/log/p", "/data/*/config/*");
    let state = Some(std::path::Path::new("/data/forebay"));
    let options = Options { pushed: Some(&document), state, ..Options::default() };
    let told = load_with(&local, &around, options).unwrap_err().to_string();
    assert!(told.contains("it is the agent's own"), "{told}");
    let named = DOCUMENT.replace("source.p", "source.file").replace("sink.p", "sink.env");
    assert_eq!(laid(&local, &named, &around), "file env");
}
