//! Reads the answers of brokers, instead of the crate `kafka-protocol`. That crate reserves memory for as many
//! elements as an answer claims to have: a broker that claims 2^31 - 1 ends the process.
//!
//! Invariants: no memory is reserved for bytes that are not there; an answer is taken only when all of its bytes
//! were read. The layouts are those of the protocol guide
//! (<https://kafka.apache.org/protocol#protocol_messages>), for the versions that we ask for.

use kafka_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::Request;

/// A request, with the answer that it gets.
pub trait Asks: Request {
    /// The part of the answer that is used here.
    type Answer: Send;
    /// The first version that has lengths of variable size and tagged fields.
    const FLEXIBLE: i16;

    /// Reads the bytes after the header.
    ///
    /// # Errors
    /// [`Unreadable`] when bytes are missing or lengths make no sense.
    fn read(input: &mut Input<'_>, version: i16) -> Result<Self::Answer, Unreadable>;
}

/// The error for bytes that are not the expected answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Reads an answer: the correlation id in its header, then the answer itself if the id is ours.
///
/// # Errors
/// [`Unreadable`] when the bytes are not this answer. `Ok(None)` when they answer another request.
pub fn read<R: Asks>(bytes: &[u8], id: i32, version: i16) -> Result<Option<R::Answer>, Unreadable> {
    let flexible = version >= R::FLEXIBLE;
    let mut input = Input { bytes, flexible };
    if input.int32().ok() != Some(id) {
        return Ok(None);
    }
    input.tags()?;
    let answer = R::read(&mut input, version)?;
    if input.bytes.is_empty() { Ok(Some(answer)) } else { Err(Unreadable) }
}

/// The bytes of an answer that were not read yet.
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    flexible: bool,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    fn int8(&mut self) -> Result<i8, Unreadable> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    fn int16(&mut self) -> Result<i16, Unreadable> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn int32(&mut self) -> Result<i32, Unreadable> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn int64(&mut self) -> Result<i64, Unreadable> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn varint(&mut self) -> Result<u32, Unreadable> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Unreadable);
            }
        }
        Err(Unreadable)
    }

    /// A length in bytes, or a number of elements; `None` for null.
    fn length(
        &mut self,
        fixed: impl FnOnce(&mut Self) -> Result<i32, Unreadable>,
    ) -> Result<Option<usize>, Unreadable> {
        let length = if self.flexible { i64::from(self.varint()?) - 1 } else { i64::from(fixed(self)?) };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| Unreadable),
        }
    }

    fn text(&mut self) -> Result<Option<String>, Unreadable> {
        let Some(length) = self.length(|input| input.int16().map(i32::from))? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        self.text()?.ok_or(Unreadable)
    }

    /// Reads elements one after the other. An element takes at least one byte, so the memory for them is limited by
    /// the bytes of the answer.
    fn each<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Unreadable>) -> Result<Vec<T>, Unreadable> {
        let count = self.length(Self::int32)?.unwrap_or(0);
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// Reads elements like [`Input::each`], but drops them.
    fn skip<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Unreadable>) -> Result<(), Unreadable> {
        let count = self.length(Self::int32)?.unwrap_or(0);
        for _ in 0..count {
            one(self)?;
        }
        Ok(())
    }

    /// Skips the tagged fields: none of them is used here.
    fn tags(&mut self) -> Result<(), Unreadable> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = usize::try_from(self.varint()?).map_err(|_| Unreadable)?;
            self.take(length)?;
        }
        Ok(())
    }
}

/// The answer to ApiVersions: the versions of each request that a broker supports.
#[derive(Debug)]
pub struct ApiVersions {
    pub error_code: i16,
    /// Each API, with its oldest and its newest version.
    pub apis: Vec<(i16, i16, i16)>,
}

impl Asks for ApiVersionsRequest {
    type Answer = ApiVersions;
    const FLEXIBLE: i16 = 3;

    fn read(input: &mut Input<'_>, _: i16) -> Result<ApiVersions, Unreadable> {
        let error_code = input.int16()?;
        let apis = input.each(|input| Ok((input.int16()?, input.int16()?, input.int16()?)))?;
        Ok(ApiVersions { error_code, apis })
    }
}

/// The answer to SaslHandshake: whether the broker supports a mechanism.
#[derive(Debug)]
pub struct SaslHandshake {
    pub error_code: i16,
    /// The mechanisms that the broker supports.
    pub mechanisms: Vec<String>,
}

impl Asks for SaslHandshakeRequest {
    type Answer = SaslHandshake;
    const FLEXIBLE: i16 = i16::MAX;

    fn read(input: &mut Input<'_>, _: i16) -> Result<SaslHandshake, Unreadable> {
        Ok(SaslHandshake { error_code: input.int16()?, mechanisms: input.each(Input::name)? })
    }
}

/// The answer to SaslAuthenticate: the broker's part of one step of SASL.
#[derive(Debug)]
pub struct SaslAuthenticate {
    pub error_code: i16,
    pub error_message: Option<String>,
    pub auth_bytes: Vec<u8>,
    /// The time until the login ends, in milliseconds; 0 when the login does not end.
    pub session_lifetime_ms: i64,
}

impl Asks for SaslAuthenticateRequest {
    type Answer = SaslAuthenticate;
    const FLEXIBLE: i16 = 2;

    fn read(input: &mut Input<'_>, version: i16) -> Result<SaslAuthenticate, Unreadable> {
        let (error_code, error_message) = (input.int16()?, input.text()?);
        let length = input.length(Input::int32)?.unwrap_or(0);
        let auth_bytes = input.take(length)?.to_vec();
        let session_lifetime_ms = if version >= 1 { input.int64()? } else { 0 };
        input.tags()?;
        Ok(SaslAuthenticate { error_code, error_message, auth_bytes, session_lifetime_ms })
    }
}

/// The answer to Metadata: the brokers, and the partitions with their leaders.
#[derive(Debug)]
pub struct Metadata {
    pub brokers: Vec<Broker>,
    pub topics: Vec<Topic>,
}

/// A broker and its address.
#[derive(Debug)]
pub struct Broker {
    pub node_id: i32,
    pub host: String,
    pub port: i32,
}

/// A topic and its partitions.
#[derive(Debug)]
pub struct Topic {
    pub error_code: i16,
    pub name: String,
    /// The number of each partition, and the id of its leader.
    pub partitions: Vec<(i32, i32)>,
}

impl Asks for MetadataRequest {
    type Answer = Metadata;
    const FLEXIBLE: i16 = 9;

    fn read(input: &mut Input<'_>, version: i16) -> Result<Metadata, Unreadable> {
        if version >= 3 {
            input.int32()?;
        }
        let brokers = input.each(|input| {
            let broker = Broker { node_id: input.int32()?, host: input.name()?, port: input.int32()? };
            if version >= 1 {
                input.text()?;
            }
            input.tags()?;
            Ok(broker)
        })?;
        if version >= 2 {
            input.text()?;
        }
        if version >= 1 {
            input.int32()?;
        }
        let topics = input.each(|input| topic(input, version))?;
        if version >= 8 {
            input.int32()?;
        }
        input.tags()?;
        Ok(Metadata { brokers, topics })
    }
}

fn topic(input: &mut Input<'_>, version: i16) -> Result<Topic, Unreadable> {
    let (error_code, name) = (input.int16()?, input.text()?.unwrap_or_default());
    if version >= 1 {
        input.int8()?;
    }
    let partitions = input.each(|input| {
        input.int16()?;
        let (index, leader) = (input.int32()?, input.int32()?);
        if version >= 7 {
            input.int32()?;
        }
        // The lists of all replicas, of replicas in sync, and of offline replicas.
        for _ in 0..if version >= 5 { 3 } else { 2 } {
            input.skip(Input::int32)?;
        }
        input.tags()?;
        Ok((index, leader))
    })?;
    if version >= 8 {
        input.int32()?;
    }
    input.tags()?;
    Ok(Topic { error_code, name, partitions })
}

/// The answer to Produce: the outcome of a batch.
#[derive(Debug)]
pub struct Produced {
    /// Each topic, with the outcomes of its partitions.
    pub responses: Vec<(String, Vec<Partition>)>,
    pub throttle_time_ms: i32,
}

/// The outcome of the records that were sent to one partition.
#[derive(Debug)]
pub struct Partition {
    pub index: i32,
    pub error_code: i16,
    /// The offset of the batch's first record in the partition; -1 when the batch is not there.
    pub base_offset: i64,
    pub error_message: Option<String>,
}

impl Asks for ProduceRequest {
    type Answer = Produced;
    const FLEXIBLE: i16 = 9;

    fn read(input: &mut Input<'_>, version: i16) -> Result<Produced, Unreadable> {
        let responses = input.each(|input| {
            let name = input.name()?;
            let partitions = input.each(|input| partition(input, version))?;
            input.tags()?;
            Ok((name, partitions))
        })?;
        let throttle_time_ms = if version >= 1 { input.int32()? } else { 0 };
        input.tags()?;
        Ok(Produced { responses, throttle_time_ms })
    }
}

fn partition(input: &mut Input<'_>, version: i16) -> Result<Partition, Unreadable> {
    let (index, error_code, base_offset) = (input.int32()?, input.int16()?, input.int64()?);
    if version >= 2 {
        input.int64()?;
    }
    if version >= 5 {
        input.int64()?;
    }
    let mut error_message = None;
    if version >= 8 {
        input.skip(|input| {
            input.int32()?;
            input.text()?;
            input.tags()
        })?;
        error_message = input.text()?;
    }
    input.tags()?;
    Ok(Partition { index, error_code, base_offset, error_message })
}

/// For the fuzzer: reads the bytes as every answer, in every version that we ask for.
pub fn read_all(bytes: &[u8]) {
    let id = bytes.first_chunk().map_or(0, |first| i32::from_be_bytes(*first));
    let _ = read::<ApiVersionsRequest>(bytes, id, 0);
    (0..=1).for_each(|version| drop(read::<SaslHandshakeRequest>(bytes, id, version)));
    (0..=2).for_each(|version| drop(read::<SaslAuthenticateRequest>(bytes, id, version)));
    (0..=9).for_each(|version| drop(read::<MetadataRequest>(bytes, id, version)));
    (3..=9).for_each(|version| drop(read::<ProduceRequest>(bytes, id, version)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{
        ApiVersionsResponse, BrokerId, MetadataResponse, ProduceResponse, ResponseHeader, SaslAuthenticateResponse,
        SaslHandshakeResponse, TopicName,
    };
    use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    /// As another implementation writes it.
    fn written<T: Encodable + HeaderVersion>(answer: &T, version: i16) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(7);
        header.encode(&mut bytes, T::header_version(version)).unwrap();
        answer.encode(&mut bytes, version).unwrap();
        bytes.to_vec()
    }

    fn metadata(version: i16) -> Vec<u8> {
        let broker =
            MetadataResponseBroker::default().with_node_id(BrokerId(3)).with_host(text("broker")).with_port(9092);
        let partition = MetadataResponsePartition::default()
            .with_partition_index(1)
            .with_leader_id(BrokerId(3))
            .with_replica_nodes(vec![BrokerId(3), BrokerId(4)])
            .with_isr_nodes(vec![BrokerId(3)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text("readings"))))
            .with_partitions(vec![partition.clone(), partition.with_partition_index(2)]);
        written(&MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]), version)
    }

    fn produced(version: i16) -> Vec<u8> {
        let error = BatchIndexAndErrorMessage::default().with_batch_index(4);
        let mut partition = PartitionProduceResponse::default().with_index(2).with_error_code(87).with_base_offset(99);
        if version >= 8 {
            partition = partition.with_record_errors(vec![error]).with_error_message(Some(text("bad")));
        }
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(text("readings")))
            .with_partition_responses(vec![partition]);
        written(&ProduceResponse::default().with_responses(vec![topic]).with_throttle_time_ms(50), version)
    }

    #[test]
    fn answers_are_read_in_every_version_as_another_implementation_writes_them() {
        for version in 0..=9 {
            let read = read::<MetadataRequest>(&metadata(version), 7, version).unwrap().unwrap();
            assert_eq!(
                (read.brokers[0].node_id, read.brokers[0].host.as_str(), read.brokers[0].port),
                (3, "broker", 9092)
            );
            assert_eq!((read.topics[0].name.as_str(), &read.topics[0].partitions), ("readings", &vec![(1, 3), (2, 3)]));
        }
        for version in 3..=9 {
            let read = read::<ProduceRequest>(&produced(version), 7, version).unwrap().unwrap();
            let (topic, partitions) = &read.responses[0];
            let told = (partitions[0].index, partitions[0].error_code, partitions[0].base_offset);
            assert_eq!((topic.as_str(), told, read.throttle_time_ms), ("readings", (2, 87, 99), 50));
            assert_eq!(partitions[0].error_message.as_deref(), (version >= 8).then_some("bad"));
        }
        for version in 0..=2 {
            let mut answer = SaslAuthenticateResponse::default().with_auth_bytes("proof".into());
            if version >= 1 {
                answer = answer.with_session_lifetime_ms(5000);
            }
            let read = read::<SaslAuthenticateRequest>(&written(&answer, version), 7, version).unwrap().unwrap();
            let life = if version >= 1 { 5000 } else { 0 };
            assert_eq!((&read.auth_bytes[..], read.session_lifetime_ms), (&b"proof"[..], life));
        }
        let answer = SaslHandshakeResponse::default().with_error_code(33).with_mechanisms(vec![text("PLAIN")]);
        let handshake = read::<SaslHandshakeRequest>(&written(&answer, 1), 7, 1).unwrap().unwrap();
        assert_eq!((handshake.error_code, &handshake.mechanisms), (33, &vec!["PLAIN".to_string()]));
        let api = ApiVersion::default().with_api_key(3).with_min_version(0).with_max_version(12);
        let answer = written(&ApiVersionsResponse::default().with_api_keys(vec![api]), 0);
        assert_eq!(read::<ApiVersionsRequest>(&answer, 7, 0).unwrap().unwrap().apis, [(3, 0, 12)]);
        assert!(read::<ApiVersionsRequest>(&answer, 8, 0).unwrap().is_none(), "of another request");
    }

    #[test]
    fn an_answer_that_says_it_has_more_than_it_has_is_none() {
        let mut versions = vec![0, 0, 0, 7, 0, 0, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(read::<ApiVersionsRequest>(&versions, 7, 0).err(), Some(Unreadable));
        versions.truncate(6);
        versions.extend([0xff; 4]);
        assert!(read::<ApiVersionsRequest>(&versions, 7, 0).unwrap().unwrap().apis.is_empty(), "null");
        for (version, answer) in [(8, metadata(8)), (9, metadata(9)), (8, produced(8)), (9, produced(9))] {
            for at in 4..answer.len() {
                for bad in [0x7f, 0xff] {
                    let mut bytes = answer.clone();
                    bytes[at] = bad;
                    let _ = (read::<MetadataRequest>(&bytes, 7, version), read::<ProduceRequest>(&bytes, 7, version));
                    read_all(&bytes[..at]);
                }
            }
        }
        let mut longer = metadata(9);
        longer.push(0);
        assert_eq!(read::<MetadataRequest>(&longer, 7, 9).err(), Some(Unreadable), "bytes that nobody wrote");
    }
}
