//! Where frames come from.
//!
//! A source reads its device, hands frames over and is told when they are safe. It knows
//! nothing of streams, queries or sinks. A new kind is one folder and one row in `KINDS`.

pub mod file;
pub mod http;
pub mod modbus;
pub mod mqtt;
pub mod serial;

use crate::flow::handover::Giver;
use crate::flow::health::Reporter;
use crate::flow::stop::Stop;
use crate::section::{Claim, Same, Section};
use crate::telemetry::Metrics;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

/// Memory for unpacking zstd is bounded by windows of 8 MiB: what levels up to 19 use.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What every source is given.
#[derive(Debug)]
pub struct Context {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Takes its frames.
    pub giver: Giver,
    /// Where its parts stood at the last commit.
    pub positions: Vec<(String, Vec<u8>)>,
    /// When to end.
    pub stop: Stop,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
    /// Where it says how it is.
    pub health: Reporter,
}

/// The future of a source.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The future of a probe: what was found, or what is in the way.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

/// The settings of a source, which can run it.
pub trait Source: Same + Debug + Send + Sync {
    /// Runs until it is asked to stop. It keeps trying whatever happens outside.
    fn run(&self, context: Context) -> Running;

    /// Tries to reach what the source reads; what was found, or what is in the way.
    fn probe(&self) -> Probing<'_>;

    /// A copy that can be tried without a store and disturbs nobody: `forebay tap`.
    ///
    /// # Errors
    /// Why there is none.
    fn for_tap(&self) -> Result<Arc<dyn Source>, &'static str>;

    /// What no other part may have too.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// How many unacknowledged messages the peer allows, where the user says so.
    fn window(&self) -> Option<usize> {
        None
    }
}

/// How a source's messages are read, as its settings say: a source knows no decoders.
pub trait Routes {
    /// Reads the keys of messages in a section; `usual` is the decoder where none is named.
    fn read(&mut self, section: &mut Section<'_>, usual: &'static str) -> Message;
    /// One more route like another, with another decoder.
    fn like(&mut self, route: usize, decoder: &'static str);
}

/// What a source must know of its messages.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// The route: frames say which one they take.
    pub route: usize,
    /// The name of the decoder.
    pub format: &'static str,
    /// The character between values, where the first line names the columns.
    pub header: Option<u8>,
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
