//! Brokers that lie: nothing is accepted that was not told of the batch that was sent.

use super::Compression;
use super::*;
use crate::flow::batch::{Envelope, Event};
use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{BrokerId, MetadataResponse, ProduceResponse, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is wrong with what a broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    No,
    OtherTopic,
    OtherPartition,
    NoTopic,
    NoPartition,
    TwoPartitions,
    NegativeOffset,
    OtherNumber,
    Longer,
    Huge,
    HugeMetadata,
    HugeVersions,
}

fn put<T: Encodable + HeaderVersion>(id: i32, version: i16, answer: &T) -> BytesMut {
    let mut out = BytesMut::new();
    ResponseHeader::default().with_correlation_id(id).encode(&mut out, T::header_version(version)).unwrap();
    answer.encode(&mut out, version).unwrap();
    out
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn produced(lie: Lie) -> ProduceResponse {
    let partition = PartitionProduceResponse::default()
        .with_index(i32::from(lie == Lie::OtherPartition))
        .with_base_offset(if lie == Lie::NegativeOffset { -1 } else { 42 });
    let partitions = match lie {
        Lie::NoPartition => Vec::new(),
        Lie::TwoPartitions => vec![partition.clone(), partition.with_index(1).with_error_code(6)],
        _ => vec![partition],
    };
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(text(if lie == Lie::OtherTopic { "other" } else { "readings" })))
        .with_partition_responses(partitions);
    ProduceResponse::default().with_responses(if lie == Lie::NoTopic { Vec::new() } else { vec![topic] })
}

async fn serve(mut stream: TcpStream, port: u16, lie: Lie) -> std::io::Result<()> {
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap();
        let mut request = vec![0; length];
        stream.read_exact(&mut request).await?;
        let mut head = &request[..];
        let (api, version, id) = (head.get_i16(), head.get_i16(), head.get_i32());
        let huge = |flexible: bool| {
            let mut out = BytesMut::new();
            out.put_i32(id);
            // After the tags of a newer header, the time to wait that newer metadata begins with.
            if flexible {
                out.put_bytes(0, 5);
                out.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x07]);
            } else {
                out.put_bytes(0, 2);
                out.put_i32(i32::MAX);
            }
            out
        };
        let mut out = match (api, lie) {
            (18, Lie::HugeVersions) => huge(false),
            (18, _) => {
                let mut out = BytesMut::new();
                out.put_i32(id);
                out.put_i16(0);
                out.put_i32(2);
                for (key, newest) in [(0, PRODUCE), (3, METADATA)] {
                    out.put_i16(key);
                    out.put_i16(3);
                    out.put_i16(newest);
                }
                out
            }
            (3, Lie::HugeMetadata) => huge(true),
            (3, _) => {
                let broker = MetadataResponseBroker::default()
                    .with_node_id(BrokerId(1))
                    .with_host(text("127.0.0.1"))
                    .with_port(port.into());
                let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
                let topic = MetadataResponseTopic::default()
                    .with_name(Some(TopicName(text("readings"))))
                    .with_partitions(vec![partition]);
                put(id, version, &MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]))
            }
            (_, Lie::Huge) => huge(true),
            (_, Lie::OtherNumber) => put(id.wrapping_add(1), version, &produced(lie)),
            _ => put(id, version, &produced(lie)),
        };
        if lie == Lie::Longer && api == 0 {
            out.put_u8(0);
        }
        stream.write_u32(u32::try_from(out.len()).unwrap()).await?;
        stream.write_all(&out).await?;
    }
}

fn batch() -> Batch {
    let envelope = Envelope {
        device: "d".into(),
        store: "s".into(),
        stream: "readings".into(),
        epoch: 1,
        lane: crate::flow::lane::LaneId::WHOLE,
        first: 1,
        last: 1,
        count: 1,
        after: 0,
        generation: 1,
        in_flight: false,
        unset: None,
        content_type: "application/x-ndjson",
        content_encoding: None,
    };
    Batch {
        key: Some("k".into()),
        channel: "w".into(),
        events: vec![Event { envelope, body: "{}\n".into(), arrival_ms: None }],
    }
}

#[tokio::test]
async fn only_what_a_broker_says_of_our_batch_counts() {
    use Lie::*;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lies, lie) = tokio::sync::watch::channel(No);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, port, *lie.borrow()));
        }
    });
    let settings = Settings {
        brokers: vec![("127.0.0.1".into(), port)],
        topic: "readings".into(),
        partition: None,
        tls: None,
        sasl: None,
        compression: Compression::None,
    };
    for lie in [
        OtherTopic,
        OtherPartition,
        NoTopic,
        NoPartition,
        TwoPartitions,
        NegativeOffset,
        OtherNumber,
        Longer,
        Huge,
        HugeMetadata,
        HugeVersions,
    ] {
        lies.send_replace(lie);
        let kafka = Kafka::new(settings.clone(), Metrics::new());
        let error = kafka.deliver(&batch()).await.map(drop).expect_err(&format!("{lie:?}"));
        assert_eq!(error.class, Class::Transient, "{lie:?}: {error}");
        // An honest broker in its place has it at once.
        lies.send_replace(No);
        kafka.deliver(&batch()).await.map_or_else(|error| panic!("after {lie:?}: {error}"), drop);
    }
}
