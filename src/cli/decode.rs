//! `forebay decode SOURCE < MESSAGE`

use super::fail;
use super::place::SourcePlace;
use super::tap::show;
use crate::flow::frame::{Frame, Payload};
use crate::intake::Preview;
use crate::platform::clock::Clock;
use crate::telemetry::Metrics;
use bytes::Bytes;
use std::io::Read;
use std::process::ExitCode;

/// The most bytes that are read.
const MOST: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourcePlace,
    /// The input has a message on each line; without it the input is one message
    #[arg(long)]
    lines: bool,
    /// The key of the messages, such as an MQTT topic
    #[arg(long, default_value = "stdin")]
    key: String,
    /// Which subscription of an MQTT source, or content type of an HTTP source without `decoder`, counted from 0
    #[arg(long, default_value_t = 0)]
    route: usize,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let rule = match arguments.source.load() {
        Ok((_, rule)) => rule,
        Err(code) => return code,
    };
    let routes = rule.routes.len();
    if arguments.route >= routes {
        return fail(2, format_args!("--route {}: the source has {routes}, counted from 0", arguments.route));
    }
    let mut message = Vec::new();
    match std::io::stdin().take(MOST + 1).read_to_end(&mut message) {
        Ok(length) if length as u64 > MOST => {
            return fail(2, format_args!("the standard input has more than {MOST} bytes: give a part of it"));
        }
        Ok(_) => {}
        Err(error) => return fail(2, format_args!("the standard input cannot be read: {error}")),
    }
    let mut preview = Preview::new(rule, Metrics::new());
    let message = Bytes::from(message);
    let mut frames = Vec::new();
    if arguments.lines {
        let lines = crate::decode::lines(&message).filter(|line| !line.is_empty());
        frames.extend(lines.map(|line| Payload::One(message.slice_ref(line))));
    } else {
        frames.push(Payload::One(message));
    }
    let mut shown = 0;
    for payload in frames {
        let frame = Frame { route: arguments.route, ..Frame::new(arguments.key.as_str(), payload) };
        for (stream, record) in preview.records(frame, &Clock::system()) {
            shown += 1;
            if !show(stream, shown, &record) {
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}
