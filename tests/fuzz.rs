//! Every parser against mutated and random bytes: no panic, no hang, no lie.
//!
//! Seeded and short in the normal suite; `FOREBAY_FUZZ_SECONDS` (set by `tests/run --long`) runs
//! each target for so long. A failure prints the seed that repeats it (`FOREBAY_FUZZ_SEED`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use forebay::config::{self, Environment};
use forebay::control::document::{Document, Key, split};
use forebay::decode::csv::Layout;
use forebay::decode::{
    About, Binary, CloudEvents, Csv, Encoding, Form, Influx, Json, KeyValue, Ndjson, Nmea, Pattern, Prometheus, SenMl,
    Split, Text, Time, TimeFormat, Type, Unix, Value,
};
use forebay::decode::{Decoder, lines};
use forebay::flow::frame::Payload;
use forebay::flow::record::PayloadKind;
use forebay::hub::fault::Fault;
use forebay::hub::json_batch;
use forebay::platform::protobuf::{self, Message};
use forebay::platform::tls::describe;
use forebay::sink::entra;
use forebay::sink::eventhubs::ConnectionString;
use forebay::sink::eventhubs::is_sound;
use forebay::sink::kafka::{Hash, Scram, read_all};
use forebay::source::file::{Settings, Tail};
use forebay::source::http::unpack;
use forebay::source::serial::{Checksum, Framing};
use forebay::source::serial::{Found, Framer, proven};
use forebay::store::log::body::{self, Checkpoint, Commit};
use forebay::store::log::layout::{FrameHeader, SegmentHeader};
use forebay::store::log::section::{CODEC_ZSTD, Records, decompress};
use forebay::telemetry::Metrics;
use std::time::{Duration, Instant};

/// What a parser reserves because its input says so must stay far below what the process may have: a
/// request for more fails, and ends the test.
#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 512 << 20);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    /// A seed input with some of its bytes changed, cut or repeated; sometimes just noise.
    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(8) == 0 {
            return (0..self.below(600)).map(|_| u8::try_from(self.next() & 0xff).unwrap()).collect();
        }
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = u8::try_from(self.next() & 0xff).unwrap(),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, [0, 0xff, b'"', b'\n', b'[', b'='][self.below(6)]),
                _ => {
                    let end = (at + self.below(20)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

/// Runs a target on many inputs; at least a thousand.
fn fuzz(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let seconds = std::env::var("FOREBAY_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let first = std::env::var("FOREBAY_FUZZ_SEED").ok().and_then(|s| s.parse().ok());
    let started = Instant::now();
    let mut seed = first.unwrap_or(1);
    while seed < 1000 || started.elapsed() < Duration::from_secs(seconds) {
        let input = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1).mutate(seeds);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        assert!(result.is_ok(), "FOREBAY_FUZZ_SEED={seed} panics on {input:02x?}");
        if first.is_some() {
            return;
        }
        seed += 1;
    }
}

/// The frames of the golden segment.
fn golden() -> Vec<u8> {
    let path = "tests/golden/store-format-1/log/000000000001.seg";
    std::fs::read(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn segment_and_frame_headers() {
    let golden = golden();
    let store: [u8; 16] = golden[16..32].try_into().unwrap();
    let seeds: Vec<Vec<u8>> = golden.chunks(512).map(<[u8]>::to_vec).collect();
    fuzz(&seeds, |input| {
        let _ = SegmentHeader::decode(input);
        if let Some(header) = FrameHeader::decode(&store, input) {
            // What passes its CRC is a header that we wrote.
            assert_eq!(header.encode(&store), input[..48]);
        }
    });
}

#[test]
fn directories_and_sections() {
    let golden = golden();
    let store: [u8; 16] = golden[16..32].try_into().unwrap();
    let mut seeds: Vec<Vec<u8>> = golden.chunks(512).map(|sector| sector[48..].to_vec()).collect();
    seeds.push(body::encode(&store, &Commit::default(), &[b"section"]).unwrap());
    fuzz(&seeds, |input| {
        let _ = body::decode::<Commit>(&store, input);
        let _ = body::decode::<Checkpoint>(&store, input);
        let _ = postcard::from_bytes::<Commit>(input);
        let _ = Records::new(input).count();
        let _ = decompress(CODEC_ZSTD, input, 100_000);
    });
}

fn formats() -> Vec<Decoder> {
    vec![
        Decoder::new(Json),
        Decoder::new(Ndjson),
        Decoder::new(Csv::default()),
        Decoder::new(Csv {
            delimiter: b';',
            columns: Some(vec!["a".into(), "b".into()]),
            decimal_comma: true,
            null: vec!["NAN".into()],
            trim: true,
            comment: Some("#".into()),
            ..Csv::default()
        }),
        Decoder::new(Csv { skip_rows: 1, skip_after_header: 1, comment: Some("#".into()), ..Csv::default() }),
        Decoder::new(Csv { layout: Layout::Spaced, delimiter: b' ', header_rows: 2, units: true, ..Csv::default() }),
        Decoder::new(Csv { layout: Layout::Fixed(vec![3, 1, 5]), delimiter: b' ', ..Csv::default() }),
        Decoder::new(CloudEvents),
        Decoder::new(Prometheus),
        Decoder::new(Value),
        Decoder::new(Pattern::new(&["(?<a>[0-9.]+) %{WORD:b}", "%{DATA:x}=%{NUMBER:t}"]).unwrap()),
        Decoder::new(Form),
        Decoder::new(SenMl),
        Decoder::new(Nmea),
        Decoder::new(KeyValue::default()),
        Decoder::new(KeyValue { separator: Some('|'), assign: ':' }),
        Decoder::new(Influx(Unix::Nanos)),
        Decoder::new(Text),
        Decoder::new(Binary),
    ]
}

#[test]
fn decoders() {
    let seeds = [
        "{\"a\":{\"x\":[[1,2],[3,nan,],4]},\"b\":7}\n{\"t\":\"24:00,5\"}",
        "\u{feff}[{\"a\":1,\"t\":0},Infinity]",
        "{\"a\":[1,2.5e3,\"x\\u00e4\"],\"b\":null,\"t\":1714564800.5}",
        "21.5 C\r\nsecond\n",
        "[[[[[[1]]]]]]",
        "1,\"x \"\"y\"\"\",3",
        "$GPRMC,123519.25,A,4807.038,N,01131.000,W,022.4,084.4,230394,003.1,W*51",
        "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
        "[{\"bn\":\"a\",\"bt\":1.7e9,\"bv\":1,\"v\":2},{\"n\":\"b\",\"t\":-5,\"vb\":true,\"u\":\"C\"}]",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"time\":\"2026-05-01T12:00:00Z\",\"data\":{\"t\":1}}",
        "\n\u{15}\n\u{6}\n\u{1}a\u{12}\u{1}b\u{12}\u{b}\t........\u{10}\u{1}",
        "tempf=71.2&dateutc=2024-05-01+12%3A00%3A00&x=%c3%a4&=",
        "temp=21.50, ok=true place=\"hall 1\"",
        "m,a=b\\ c f=1i,g=\"x\\\"y\",h=t 1465839830100400200",
    ]
    .map(|s| s.as_bytes().to_vec());
    let formats = formats();
    let mut n = 0;
    fuzz(&seeds, |input| {
        n += 1;
        let mut decoder = formats[n % formats.len()].clone();
        if n % 3 == 0 && decoder.format.has_members() {
            decoder.fields = vec![("a".into(), "a".into()), ("f".into(), "fields.f".into())];
            decoder.types = vec![("a".into(), Type::Float)];
            decoder.attributes = vec![("x".into(), "a.0".into())];
        }
        if n % 5 == 0 && decoder.format.has_members() {
            let format =
                [TimeFormat::Rfc3339, TimeFormat::Unix(Unix::Seconds), TimeFormat::Custom("%d.%m.%Y %H:%M".into())];
            let time = Time::new("t", format[n % 3].clone(), jiff::tz::TimeZone::UTC);
            decoder.time = Some(Time { gps_rollover: n % 2 == 0, may_miss: n % 4 == 0, ..time });
        }
        if n % 7 == 0 && decoder.format.has_members() {
            let (at, names) = (["", "a", "*", "a.*"][n % 4].into(), vec!["time".into(), "value".into()]);
            let keep = vec![("b".into(), "b".into())];
            decoder.split = Some(Split { at, keep, names, name: Some("series".into()) });
        }
        decoder.lenient = n % 2 == 0;
        decoder.encoding = [Encoding::Utf8, Encoding::Latin1, Encoding::Windows1252][n % 3];
        if n % 11 == 0 && decoder.format.has_members() {
            (decoder.members, decoder.prefix) = (vec!["x".into(), "a".into()], "p.".into());
        }
        let attributes = [("x".into(), "7".into())];
        let now = Some(1_714_564_800_000_000);
        let header: Option<&[u8]> = Some(b"a,b,\"c,d\"\nV,A,\n");
        let about = About { header, arrival_us: now, before_us: now, attributes: &attributes };
        let readings = decoder.decode(input, &about);
        // What is made is JSON; what stays verbatim is what the decoder says that it is.
        if let Ok(readings) = readings {
            for record in readings.into_iter().flatten() {
                let payload = record.payload.as_deref().unwrap_or(input);
                match record.kind {
                    PayloadKind::Json => assert!(serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok()),
                    PayloadKind::Text => assert!(std::str::from_utf8(payload).is_ok()),
                    PayloadKind::Bytes => {}
                }
            }
        } else if decoder.time.is_none()
            && decoder.fields.is_empty()
            && decoder.members.is_empty()
            && decoder.split.is_none()
            && decoder.format.name() == "json"
        {
            assert!(serde_json::from_slice::<serde_json::Value>(input).is_err());
        }
        if let Some(header) = decoder.format.header()
            && let Some(line) = header.locate(input, header.before)
        {
            assert!(header.values(input, line.end).is_none_or(|values| (line.end..=input.len()).contains(&values)));
        }
        let joined: usize = lines(input).map(<[u8]>::len).sum();
        assert!(joined <= input.len());
    });
}

struct Nothing;

impl Environment for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        Some("Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=e".into())
    }

    fn file(&self, _path: &std::path::Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn files(&self, pattern: &str) -> Result<Vec<std::path::PathBuf>, String> {
        Ok(vec![pattern.into()])
    }

    fn host_name(&self) -> String {
        "host".into()
    }
}

#[test]
fn configurations() {
    let dir = format!("{}/configs", env!("CARGO_MANIFEST_DIR"));
    let seeds: Vec<Vec<u8>> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    fuzz(&seeds, |input| {
        let text = String::from_utf8_lossy(input);
        if let Err(report) = config::load(&text, &Nothing) {
            assert!(!report.problems().is_empty());
            assert!(report.to_string().contains("line "));
        }
    });
}

#[test]
fn connection_strings() {
    let seeds = [b"Endpoint=sb://ns.servicebus.windows.net:1/;SharedAccessKeyName=k;SharedAccessKey=s=;EntityPath=e;UseDevelopmentEmulator=true".to_vec()];
    fuzz(&seeds, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(parsed) = ConnectionString::parse(&text) {
            assert!(!parsed.endpoint.host.is_empty());
        }
    });
}

#[test]
fn serial_framers_and_checksums() {
    let rules = [
        Framing::Line,
        Framing::Delimiter(b"\r\r".to_vec()),
        Framing::Fixed(7),
        Framing::Length { bytes: 1, big_endian: true },
        Framing::Length { bytes: 2, big_endian: false },
        Framing::Length { bytes: 4, big_endian: true },
        Framing::Cobs,
        Framing::Slip,
        Framing::Markers { start: 2, end: 3, escape: Some(0x10) },
        Framing::Idle(Duration::from_millis(5)),
    ];
    let sums = [Checksum::NmeaXor, Checksum::Crc16Modbus, Checksum::Crc16Ccitt, Checksum::Sum8];
    let seeds: [&[u8]; 5] = [
        b"$HEHDT,90,T*08\r\n$HEHDT,90,T*08\r\n",
        b"\x02a\x10\x03b\x03\x02c\x03\r\r",
        b"\xc0a\xdb\xdcb\xc0\x03ab\0\x01\0",
        b"\x05hello\0\x05hello\0\0\0\x02hi",
        b"\x01\x03\0\0\0\x01\x84\x0a",
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let mut n = 0;
    fuzz(&seeds, |input| {
        n += 1;
        let rule = &rules[n % rules.len()];
        let most = 1 + n % 40;
        let (mut whole, mut cut) = (Framer::new(rule.clone(), most), Framer::new(rule.clone(), most));
        let (mut all, mut again) = (Vec::new(), Vec::new());
        whole.push(input, &mut all);
        for piece in input.chunks(1 + n % 5) {
            cut.push(piece, &mut again);
        }
        all.extend(whole.reset());
        again.extend(cut.reset());
        let shape = |list: &[Found]| {
            let mut garbage = 0;
            let mut frames = Vec::new();
            for found in list {
                match found {
                    Found::Garbage(bytes) => garbage += bytes,
                    Found::Frame(bytes) => {
                        assert!(!bytes.is_empty() || matches!(rule, Framing::Length { .. }));
                        assert!(bytes.len() <= most, "{rule:?}: {} of {most}", bytes.len());
                        frames.push(bytes.clone());
                    }
                    Found::TooLong { length, .. } => assert!(*length > 0),
                }
            }
            (garbage, frames)
        };
        assert_eq!(shape(&all), shape(&again), "{rule:?}: however the bytes are cut");
        if let Some(good) = proven(sums[n % sums.len()], input) {
            assert!(good.len() <= input.len());
        }
    });
}

#[test]
fn scripts_and_batches_of_the_hub() {
    let seeds = ["at 3 busy\nevery 5 delay 20ms\nchance 0.25 drop # now and then\nat 9 error amqp:x"];
    fuzz(&seeds.map(|seed| seed.as_bytes().to_vec()), |input| {
        if let Ok(faults) = Fault::script(&String::from_utf8_lossy(input)) {
            assert!(faults.iter().filter_map(|fault| fault.of(u64::MAX)).count() <= faults.len());
        }
    });
    let seeds = [r#"[{"Body":"text1","UserProperties":{"a":"b","n":7,"x":null,"y":[true]}},{"Body":"text2"}]"#];
    fuzz(&seeds.map(|seed| seed.as_bytes().to_vec()), |input| drop(json_batch(input)));
}

/// What brokers and hubs answer: lengths that are far larger than what is there reserve nothing.
#[test]
fn answers_of_kafka_and_of_amqp() {
    let kafka: [&[u8]; 4] = [
        &[0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 12],
        &[0, 0, 0, 7, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        b"\0\0\0\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x03\0\x06broker\0\0\x23\x84\xff\xff\xff\xff\0\0\0\x03\0\0\0\x01\0\0\0\x01r\0\0\0\0\x01",
        b"\0\0\0\x07\0\x02\x09readings\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0",
    ];
    fuzz(&kafka.map(<[u8]>::to_vec), read_all);
    let amqp: [&[u8]; 6] = [
        // open, a list, a map, an array of texts, a text, binary: with lengths and counts of four bytes.
        &[0, 0x53, 0x10, 0xc0, 6, 2, 0xa1, 1, b'a', 0xa1, 0],
        &[0xd0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x40],
        &[0xd1, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xfe, 0xa1, 1, b'a', 0x40],
        &[0xf0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xa1, 1, b'a'],
        &[0xb1, 0x7f, 0xff, 0xff, 0xff, b'a'],
        &[0xb0, 0xff, 0xff, 0xff, 0xff, b'a'],
    ];
    fuzz(&amqp.map(<[u8]>::to_vec), |bytes| {
        if !is_sound(bytes) {
            return;
        }
        drop(serde_amqp::from_slice::<fe2o3_amqp_types::primitives::Value>(bytes));
        drop(serde_amqp::from_slice::<fe2o3_amqp_types::performatives::Open>(bytes));
        drop(serde_amqp::from_slice::<fe2o3_amqp_types::performatives::Attach>(bytes));
        drop(serde_amqp::from_slice::<fe2o3_amqp_types::messaging::DeliveryState>(bytes));
    });
}

#[test]
fn packed_bodies() {
    let seeds = vec![
        vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x33, 0xe4, 2, 0, 0x53, 0xfc, 0x51, 0x67, 2, 0, 0, 0],
        zstd::encode_all(&b"1\n2\n3\n"[..], 1).unwrap(),
        b"\x78\x9c\x33\xe4\x02\x00\x00\x6d\x00\x3c".to_vec(),
        b"\x06\x141\n2\n3\n".to_vec(),
    ];
    fuzz(&seeds, |input| {
        for coding in ["gzip", "zstd", "deflate", "snappy"] {
            if let Ok(body) = unpack(bytes::Bytes::copy_from_slice(input), Some(coding), 1000) {
                assert!(body.len() <= 1000);
            }
        }
    });
}

/// Packed, UTF-16 and plain files: what is read ends, and a plain file is read as it is.
#[test]
fn files_of_every_kind() {
    let text = "21.5;ok\nWärme 😀\n\nlast";
    let utf16 =
        |order: fn(u16) -> [u8; 2]| "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let seeds = [
        text.into(),
        format!("\u{feff}{text}").into(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        gzip.finish().unwrap(),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut settings = Settings::new(path.to_str().unwrap());
    (settings.unterminated_after, settings.done_after, settings.max_line) = (Some(Duration::ZERO), Duration::ZERO, 100);
    fuzz(&seeds, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let mut tail = Tail::new(settings.clone(), &[], Metrics::new());
        let (mut seen, mut length) = (Vec::new(), 0);
        loop {
            // The first look has the frame that notes the first start.
            let frames = tail.poll(0);
            if frames.is_empty() {
                break;
            }
            for frame in frames {
                match frame.payload {
                    Payload::Lines(block) => seen.extend_from_slice(&block),
                    Payload::TooLarge { length: more, .. } => length += more,
                    _ => {}
                }
            }
        }
        let is_marked = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"]
            .iter()
            .any(|mark| bytes.starts_with(mark));
        if !is_marked && length == 0 {
            assert_eq!(seen, bytes);
        }
    });
}

/// What a server says while it is told who we are, and what its certificate says of it.
#[test]
fn challenges_tokens_and_certificates() {
    let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=16".to_vec();
    fuzz(&[challenge.clone(), b"r=,s=,i=".to_vec()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut scram = Scram::new(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into());
        // Work that a server may ask for is bounded; here it would only take time.
        let is_cheap = text.split(',').filter_map(|part| part.strip_prefix("i=")).all(|count| count.len() < 4);
        if is_cheap && scram.answer(&text).is_err() {
            assert!(scram.verify("v=").is_err(), "nothing was proven");
        }
        assert!(scram.verify(&text).is_err());
    });
    let tokens = [
        b"{\"access_token\":\"e30.eyJleHAiOjUwMDB9.x\",\"expires_in\":\"3599\"}".to_vec(),
        b"e30.eyJleHAiOjUwMDB9.x\n".to_vec(),
    ];
    fuzz(&tokens, |bytes| {
        if let Some((token, _)) = entra::read(&String::from_utf8_lossy(bytes), 1000) {
            assert!(!token.is_empty() && !token.contains(char::is_whitespace));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout /dev/null \
                  -outform DER -out c.der -subj /CN=x -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let certificate = std::fs::read(dir.path().join("c.der")).unwrap();
    let described = describe(&certificate.clone().into()).unwrap();
    assert_eq!(described.names, ["localhost"]);
    fuzz(&[certificate], |bytes| drop(describe(&bytes.to_vec().into())));
}

/// A document is taken apart before anybody has proven it, and the headers and the tables of one that was signed by
/// mistake must do no harm.
#[test]
fn pushed_documents() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/control");
    let signed = std::fs::read(root.join("document.toml")).unwrap();
    let key = Key::parse(&std::fs::read_to_string(root.join("key.pub")).unwrap()).unwrap();
    let local = format!(
        "device = \"d\"\n[remote]\nkeys = [\"{}\"]\nfleet = \"f\"\n",
        "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
    );
    let keys = [key];
    let good = Document::read(&signed, &keys, 1).unwrap();
    fuzz(std::slice::from_ref(&signed), |input| {
        if let Ok(read) = Document::read(input, &keys, 1) {
            // What passes is what was signed; lines behind the four of a signature say nothing.
            assert_eq!((read.body(), &read.sha256), (good.body(), &good.sha256));
        }
        if let Ok(text) = std::str::from_utf8(input) {
            let (body, signatures) = split(text);
            assert!(text.starts_with(body) && (signatures.is_empty() || body.len() < text.len()));
            let options = config::Options { pushed: Some(text), ..config::Options::default() };
            let _ = config::load_with(&local, &Nothing, options);
            let _ = config::effective(&local, &Nothing, options);
        }
    });
}

#[test]
fn messages_of_protocol_buffers() {
    let inner = Message::default().varint(1, 150).text(2, "testing");
    let seed = Message::default().fixed(1, 7).message(3, &inner).varint(2, u64::MAX).into_bytes();
    fuzz(&[seed], |input| {
        if let Some(fields) = protobuf::fields(input) {
            assert!(fields.len() <= input.len());
            for (field, _) in fields {
                assert!(protobuf::bytes_of(input, field).is_none_or(|bytes| bytes.len() < input.len()));
            }
        }
    });
}
