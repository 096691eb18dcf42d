//! The whole agent against real brokers, real files, the local hub and Microsoft's client.
//!
//! One binary. Each test has its own folder, ports and processes; nothing waits for a fixed time:
//! `until` looks again until a deadline that only a failure reaches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod buffer;
mod cli;
mod clients;
mod clock;
mod disk;
mod doctor;
mod entra;
mod faults;
mod files;
mod formats;
mod gateway;
mod http;
mod kafka;
mod kill;
mod letters;
mod modbus;
mod mqtt;
mod mqtt_more;
mod page;
mod reload;
mod remote;
mod rig;
mod rollout;
mod serial;
mod sessions;
mod tap;
mod told;
mod transports;
mod ways;
