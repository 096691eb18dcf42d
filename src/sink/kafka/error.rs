//! Translates Kafka's error codes into classes of failures, with advice for people.

use crate::sink::{Class, DeliverError};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};

/// The failure that a broker's error code about a topic means.
pub fn from_broker(code: i16, topic: &str, answered: Option<&str>) -> DeliverError {
    let error = code.err().unwrap_or(ResponseError::UnknownServerError);
    let hint = match error {
        ResponseError::UnknownTopicOrPartition => {
            format!("; create the topic `{topic}`, or check its name and the partition")
        }
        ResponseError::TopicAuthorizationFailed => format!("; this user may not write to `{topic}`"),
        ResponseError::UnsupportedCompressionType => "; set another `record_compression`".into(),
        ResponseError::InvalidTimestamp => "; check this machine's clock".into(),
        _ => String::new(),
    };
    let answered = answered.map(|answered| format!(": {answered}")).unwrap_or_default();
    DeliverError { class: class(error), message: format!("the broker says {error}{answered}{hint}") }
}

fn class(error: ResponseError) -> Class {
    match error {
        ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => Class::TooLarge,
        ResponseError::InvalidRecord => Class::Refused,
        ResponseError::UnknownTopicOrPartition
        | ResponseError::InvalidTopicException
        | ResponseError::TopicAuthorizationFailed
        | ResponseError::ClusterAuthorizationFailed
        | ResponseError::SaslAuthenticationFailed
        | ResponseError::UnsupportedSaslMechanism
        | ResponseError::IllegalSaslState
        | ResponseError::UnsupportedCompressionType
        | ResponseError::UnsupportedForMessageFormat
        | ResponseError::UnsupportedVersion
        | ResponseError::InvalidRequiredAcks
        | ResponseError::InvalidTimestamp
        | ResponseError::PolicyViolation => Class::Denied,
        // A leader that moved, missing replicas, or a timeout: the error passes by itself.
        _ => Class::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_class() {
        let class = |code: i16| from_broker(code, "t", None).class;
        assert_eq!([10, 18].map(class), [Class::TooLarge; 2]);
        assert_eq!(class(87), Class::Refused);
        assert_eq!([3, 29, 31, 32, 35, 44, 58, 76].map(class), [Class::Denied; 8]);
        for passing in [-1, 2, 5, 6, 7, 13, 19, 20, 56, 74, 1000] {
            assert_eq!(class(passing), Class::Transient, "{passing}");
        }
        let error = from_broker(3, "readings", Some("no"));
        assert!(error.message.contains("create the topic `readings`"), "{error}");
    }
}
