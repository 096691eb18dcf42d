//! What travels between the parts; no I/O.
//!
//! A *frame* is raw from a device, a *record* is decoded, an *atom* is what settles together, a
//! *batch* is the unit on the wire.

pub mod batch;
pub mod codec;
pub mod dead_letter;
pub mod frame;
pub mod handover;
pub mod health;
pub mod hex;
pub mod lane;
pub mod receipt;
pub mod record;
pub mod stop;
