//! What a Kafka sink is told.

use super::{ClientTls, Entra, Secret};

/// A topic of a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// Host and port of brokers to begin with; the cluster names the others.
    pub brokers: Vec<(String, u16)>,
    /// The topic.
    pub topic: String,
    /// All events of this sink go to one partition.
    pub partition: Option<u32>,
    /// With TLS.
    pub tls: Option<ClientTls>,
    /// As whom.
    pub sasl: Option<Sasl>,
    /// How Kafka compresses what it is sent, besides the bodies.
    pub compression: Compression,
}

/// How to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// The password itself: over TLS only.
    Plain(Login),
    /// SCRAM-SHA-256
    Scram256(Login),
    /// SCRAM-SHA-512
    Scram512(Login),
    /// A token that was made elsewhere.
    OauthBearer(Secret),
    /// A token of Microsoft Entra for this resource.
    Entra(Entra, String),
}

/// Name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// Kafka's own compression of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    None,
    /// gzip, level 6.
    Gzip,
    /// In the framing of snappy-java.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard, level 3.
    Zstd,
}
