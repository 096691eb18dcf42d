//! Every metric and every log event, in one table each.
//!
//! Metrics are logged once a minute and at the stop (event `status`). `forebay demo` and `forebay bench` read them
//! too.

pub mod event;
pub mod family;
mod histogram;
pub mod log;
pub mod numbers;
pub mod outage;
pub mod people;
pub mod prometheus;
mod reason;
pub mod seldom;

pub use event::{Cause, Event};
pub use histogram::{Distribution, HISTOGRAMS, Histogram};
pub use numbers::{Kind, METRICS, Metric, Metrics};
pub use reason::{REASONS, Reason};
