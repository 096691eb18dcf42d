//! `[sink.NAME]` with `kind = "kafka"`

use super::mqtt::Tls;
use super::{Begin, Drain, Format, PartitionBy, Reference};
use crate::config::value::{Bytes, Codec, Compression, Span};
use serde::Deserialize;
use toml::Spanned;

/// A topic of a Kafka cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// `host:port`, some of the cluster's.
    pub brokers: Option<Spanned<Vec<Spanned<String>>>>,
    /// The topic.
    pub topic: Option<Spanned<String>>,
    /// A fixed partition.
    pub partition: Option<Spanned<u32>>,
    /// What decides the partition.
    pub partition_by: Option<Spanned<PartitionBy>>,
    /// The attribute that does.
    pub partition_attribute: Option<Spanned<String>>,
    /// What goes first after an outage.
    pub drain: Option<Spanned<Drain>>,
    /// With TLS.
    pub tls: Option<Spanned<Tls>>,
    /// As whom.
    pub sasl: Option<Spanned<Sasl>>,
    /// Kafka's own compression, besides that of the bodies.
    pub record_compression: Option<Spanned<Compression>>,
    /// `ndjson`.
    pub format: Option<Spanned<Format>>,
    /// `gzip` or `none`.
    pub compression: Option<Spanned<Codec>>,
    /// Common to all sinks.
    pub from: Option<Spanned<Vec<Spanned<String>>>>,
    /// Common to all sinks.
    pub begin: Option<Spanned<Begin>>,
    /// Common to all sinks.
    pub linger: Option<Spanned<Span>>,
    /// Common to all sinks.
    pub max_behind: Option<Spanned<Bytes>>,
    /// Common to all sinks.
    pub give_up_after: Option<Spanned<Span>>,
}

/// `sasl = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sasl {
    /// How.
    pub mechanism: Option<Spanned<Mechanism>>,
    /// Who.
    pub username: Option<Spanned<String>>,
    /// For PLAIN and SCRAM.
    pub password: Option<Spanned<Reference>>,
    /// For OAUTHBEARER.
    pub token: Option<Spanned<Reference>>,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// PLAIN
    Plain,
    /// SCRAM-SHA-256
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// OAUTHBEARER
    OauthBearer,
}
