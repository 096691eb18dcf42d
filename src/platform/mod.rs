//! The interface to the machine: clock, disk, randomness, signals.
//!
//! Everything that a simulation must be able to replace goes through here. Nothing in this
//! folder knows of streams, sources or sinks.

pub mod clock;
pub mod digest;
pub mod disk;
pub mod http;
pub mod machine;
pub mod memory;
pub mod process;
pub mod protobuf;
pub mod random;
pub mod sas;
pub mod signals;
#[cfg(test)]
pub mod sim;
pub mod stream;
pub mod tls;
pub mod traffic;
pub mod unpack;
pub mod watch;
pub mod websocket;
