//! `forebay hub`

use super::consumer::{Consumer, Seen};
use super::{fail, runtime};
use crate::hub::fault::{self, Fault};
use crate::hub::{Hub, Settings};
use crate::platform::signals;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The interval at which new events are printed.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:5672")]
    listen: String,
    /// An event hub; may be given several times
    #[arg(long = "hub", default_value = "readings")]
    hubs: Vec<String>,
    /// Partitions of each event hub
    #[arg(long, default_value_t = 4)]
    partitions: u16,
    /// The key of the policy RootManageSharedAccessKey
    #[arg(long, default_value = "SAS_KEY_VALUE")]
    key: String,
    /// Print each record that comes: hub, partition, stream, then the record as JSON
    #[arg(long)]
    print: bool,
    /// The largest message in bytes (Azure: 1048576, Basic tier 262144)
    #[arg(long, default_value_t = 1 << 20)]
    max_message_size: u64,
    /// Throttle as so many throughput units: 1 MB or 1000 events a second each
    #[arg(long)]
    throughput_units: Option<f64>,
    /// Throttle each partition by itself as so many throughput units (Azure: 1)
    #[arg(long)]
    partition_throughput_units: Option<f64>,
    /// Let events go that are older than this, like 90s, 24h, 7d; else only above 256 MiB a partition
    #[arg(long, value_parser = fault::duration)]
    retention: Option<Duration>,
    /// Keep events in this folder, so that they are there after the next start
    #[arg(long)]
    data: Option<PathBuf>,
    /// How far away it is: the time that every byte takes, each way, like 100ms
    #[arg(long, value_parser = fault::duration)]
    latency: Option<Duration>,
    /// What goes wrong, a rule a line: `at N`, `every N` or `chance P`, then busy, drop, lose-answer,
    /// error CONDITION, detach CONDITION, delay TIME, offline TIME
    #[arg(long)]
    script: Option<PathBuf>,
    /// A rule like those of --script; may be given several times
    #[arg(long = "fault", value_name = "RULE", value_parser = Fault::parse)]
    faults: Vec<Fault>,
    /// With TLS: a certificate, PEM; clients trust whoever signed it
    #[arg(long, requires = "key_file")]
    certificate: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, requires = "certificate")]
    key_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut faults = arguments.faults.clone();
    if let Some(path) = &arguments.script {
        let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match read.and_then(|text| Fault::script(&text)) {
            Ok(script) => faults.extend(script),
            Err(error) => return fail(2, format_args!("{}: {error}", path.display())),
        }
    }
    let settings = Settings {
        listen: arguments.listen.clone(),
        hubs: arguments.hubs.clone(),
        partitions: arguments.partitions,
        key: arguments.key.clone(),
        max_message_size: arguments.max_message_size,
        throughput_units: arguments.throughput_units,
        partition_throughput_units: arguments.partition_throughput_units,
        retention: arguments.retention,
        data: arguments.data.clone(),
        latency: arguments.latency,
        faults,
        tls: arguments.certificate.clone().zip(arguments.key_file.clone()),
        ..Settings::default()
    };
    let first = arguments.hubs.first().cloned().unwrap_or_default();
    let done = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let stop = signals::stop_requested()?;
            let hub = Hub::start(settings).await?;
            say!("listening on {}", hub.address());
            say!("status page: {}", hub.page());
            say!("EVENTHUB_CONNECTION='{}'", hub.connection_string(&first));
            let mut stop = std::pin::pin!(stop);
            let mut printer = Printer::default();
            let mut look = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    _ = look.tick(), if arguments.print => printer.print(&hub, &arguments.hubs),
                }
            }
            hub.stop().await;
            Ok(())
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, format_args!("the hub cannot listen on {}: {error}", arguments.listen)),
    }
}

/// Prints the events that arrive.
#[derive(Default)]
struct Printer(BTreeMap<String, Consumer>);

impl Printer {
    fn print(&mut self, hub: &Hub, names: &[String]) {
        for name in names {
            for (partition, event) in self.0.entry(name.clone()).or_default().take(hub, name) {
                let Some((seen, records)) = Seen::of(&event).and_then(|seen| seen.records().map(|r| (seen, r))) else {
                    say!("{name}/{partition} an event of {} bytes that is none of Forebay's", event.message.len());
                    continue;
                };
                let stream = seen.text("stream").unwrap_or("?");
                for record in records {
                    say!("{name}/{partition} {stream} {record}");
                }
            }
        }
    }
}
