//! Sources: the parts that read devices and hand over frames.
//!
//! A source reads its device, hands frames over and is told when they are safe. It knows
//! nothing of streams, queries or sinks. A new kind is one folder and one row in `KINDS`.

pub mod file;
pub mod http;
pub mod modbus;
pub mod mqtt;
pub mod serial;

use crate::flow::handover::Giver;
use crate::flow::header::{Header, LineBreaks};
use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::section::{Claim, Same, Section};
use crate::telemetry::Metrics;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

/// Everything that a source gets when it starts.
#[derive(Debug)]
pub struct Context {
    /// The name of the source in the configuration.
    pub name: Arc<str>,
    /// Takes the frames of the source.
    pub giver: Giver,
    /// The position of each part of the source at the last commit.
    pub positions: Vec<(String, Vec<u8>)>,
    /// Says when the source has to end.
    pub stop: Stop,
    /// The counters that the source adds to.
    pub metrics: Arc<Metrics>,
    /// Takes the health of the source.
    pub health: Reporter,
    /// The memory that the whole agent may take, in bytes.
    pub memory: u64,
}

/// The future of a source.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The future of a probe: a text about the result, or the reason for the failure.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

/// The settings of a source; they can run the source.
pub trait Source: Same + Debug + Send + Sync {
    /// Runs the source until a stop is requested. The source keeps trying, whatever happens outside.
    fn run(&self, context: Context) -> Running;

    /// Tries to reach the devices, broker or files of the source. Returns a text about the result, or the
    /// reason for the failure.
    fn probe(&self) -> Probing<'_>;

    /// A copy of the settings for `forebay tap`: it works without a store and disturbs nobody. With `whole` it begins
    /// with what is there already, where the source can do so: files.
    ///
    /// # Errors
    /// The reason why this kind of source cannot be tapped.
    fn for_tap(&self, whole: bool) -> Result<Arc<dyn Source>, &'static str>;

    /// Things that no other part of the configuration may use at the same time, and the credentials that end.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// The number of unacknowledged messages that the peer allows, if the user has set it.
    fn window(&self) -> Option<usize> {
        None
    }
}

/// The decoders of a source's messages, as its settings name them. A source itself knows no decoders.
pub trait Routes {
    /// Reads the keys of a section that say how messages are decoded. `usual` is the decoder if none is named.
    fn read(&mut self, section: &mut Section<'_>, usual: &'static str) -> Message;
    /// Adds a route like `route`, but with another decoder.
    fn like(&mut self, route: usize, decoder: &'static str);
}

/// The facts about its messages that a source needs.
#[derive(Debug, Clone)]
pub struct Message {
    /// The number of the route; each frame names its route.
    pub route: usize,
    /// The name of the decoder.
    pub format: &'static str,
    /// Where the line is that names the columns, if there is one.
    pub header: Option<Header>,
    /// Where a line break in quotes does not end a line.
    pub breaks: Option<LineBreaks>,
}

/// A kind of source.
pub struct Kind {
    /// `kind = "NAME"`
    pub name: &'static str,
    /// A sentence for the reference.
    pub doc: &'static str,
    /// Reads the settings.
    pub read: fn(&mut Section<'_>, &mut dyn Routes) -> Option<Arc<dyn Source>>,
}

/// Every kind of source there is.
pub const KINDS: &[Kind] = &[file::KIND, http::KIND, modbus::KIND, mqtt::KIND, serial::KIND];
