//! Forebay: sensor data from the device to Azure Event Hubs, nothing lost.
//!
//! The modules are listed in the order in which data flows; `docs/architecture.md` has the
//! picture. A library only so that tests and benchmarks can reach the parts: its interface
//! promises nothing.

pub mod store;

pub mod flow;
pub mod platform;
pub mod telemetry;
