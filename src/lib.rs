//! Forebay: sensor data from the device to Azure Event Hubs, nothing lost.
//!
//! The modules are listed in the order in which data flows; `docs/design/architecture.md` has the
//! picture. A library only so that tests and benchmarks can reach the parts: its interface
//! promises nothing.

pub mod source;

pub mod decode;

pub mod intake;

pub mod store;

pub mod encode;

pub mod courier;

pub mod sink;

pub mod flow;

pub mod platform;

pub mod telemetry;

pub mod config;

pub mod section;

pub mod monitor;

pub mod dashboard;

pub mod control;

pub mod agent;

#[cfg(feature = "lab")]
pub mod hub;

pub mod cli;
