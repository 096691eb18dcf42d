//! The data that travels between the parts of the agent, without I/O.
//!
//! A *frame* has raw bytes from a device. A *record* is one decoded reading. An *atom* is a group of records that
//! settles together. A *batch* is the unit on the wire.

pub mod batch;
pub mod codec;
pub mod dead_letter;
pub mod frame;
pub mod handover;
pub mod header;
pub mod health;
pub mod hex;
pub mod lane;
pub mod pulse;
pub mod receipt;
pub mod record;
pub mod stop;
