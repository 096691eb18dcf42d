//! Configurations that are pushed from afar: carriers bring documents, a signature proves them, a trial judges them.
//!
//! Invariants: nothing of a document counts before its signature was proven; a serial never falls; a document that did
//! worse than the one before it is given up and not tried again by itself; each step is on disk before the next begins,
//! so that a power cut at any moment leaves a configuration that works.
//!
//! How it works: `carrier` brings bytes, `document` proves and reads them, `ledger` remembers and decides, `trial`
//! judges. Whoever runs the agent puts them together (`cli::pushed`).

pub mod carrier;
mod difference;
pub mod document;
pub mod ledger;
mod report;
mod settings;
#[cfg(test)]
mod tests;
pub mod trial;

pub use report::Report;
pub use settings::{Mqtt, Restrict, Settings, Web, allows, allows_host};
