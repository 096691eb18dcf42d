//! Encodes events as Kafka records, and chooses the partition of a key.

use super::Compression;
use crate::flow::batch::{Batch, Event};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use kafka_protocol::records::{
    self, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use std::io::Write;

/// An event takes fewer bytes than this besides its body and its key; device and stream names are
/// limited by `check`.
pub const HEADERS_BYTES: usize = 1024;
/// The only version of record batches that brokers from 4.0 on take.
const BATCH_VERSION: i8 = 2;
/// snappy-java's framing: its magic, version and lowest compatible version.
const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
/// The size of a block in snappy-java's framing, in bytes before compression.
const SNAPPY_BLOCK: usize = 32 << 10;

/// Encodes a batch as one record batch of Kafka.
///
/// # Errors
/// No error is known: encoding and compression work in memory.
pub fn encode(batch: &Batch, key: Option<&str>, time_ms: i64, compression: Compression) -> Result<Bytes, String> {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    let records: Vec<Record> =
        (0..).zip(&batch.events).map(|(at, event)| record(event, key.clone(), at, time_ms)).collect();
    let options = RecordEncodeOptions { version: BATCH_VERSION, compression: number(compression) };
    let mut out = BytesMut::new();
    let packer = |text: &mut BytesMut, out: &mut BytesMut, _| pack(compression, text, out).map_err(Into::into);
    RecordBatchEncoder::encode_with_custom_compression(&mut out, &records, &options, Some(packer))
        .map_err(|error| error.to_string())?;
    Ok(out.freeze())
}

fn number(compression: Compression) -> records::Compression {
    match compression {
        Compression::None => records::Compression::None,
        Compression::Gzip => records::Compression::Gzip,
        Compression::Snappy => records::Compression::Snappy,
        Compression::Lz4 => records::Compression::Lz4,
        Compression::Zstd => records::Compression::Zstd,
    }
}

fn record(event: &Event, key: Option<Bytes>, at: i32, time_ms: i64) -> Record {
    let about = &event.envelope;
    let mut headers = vec![("content-type", about.content_type.to_string())];
    headers.extend(about.content_encoding.map(|encoding| ("content-encoding", encoding.to_string())));
    headers.extend(about.properties().map(|(name, value)| (name, value.to_string())));
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(at),
        // The encoder takes the sequence of the batch from its first record.
        sequence: NO_SEQUENCE + at,
        timestamp: time_ms,
        key,
        value: Some(event.body.clone()),
        headers: headers.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect(),
    }
}

fn pack(compression: Compression, text: &[u8], out: &mut BytesMut) -> std::io::Result<()> {
    match compression {
        Compression::None => out.put_slice(text),
        Compression::Gzip => {
            let mut packer = GzEncoder::new(out.writer(), flate2::Compression::new(6));
            packer.write_all(text)?;
            packer.finish()?;
        }
        Compression::Snappy => {
            out.put_slice(SNAPPY_MAGIC);
            for block in text.chunks(SNAPPY_BLOCK) {
                let packed = snap::raw::Encoder::new().compress_vec(block).map_err(std::io::Error::other)?;
                out.put_u32(u32::try_from(packed.len()).map_err(std::io::Error::other)?);
                out.put_slice(&packed);
            }
        }
        Compression::Lz4 => {
            let mut packer = lz4_flex::frame::FrameEncoder::new(out.writer());
            packer.write_all(text)?;
            packer.finish().map_err(std::io::Error::other)?;
        }
        Compression::Zstd => out.put_slice(&zstd::bulk::compress(text, 3)?),
    }
    Ok(())
}

/// The partition that Kafka's own clients choose for a key, when the topic has `partitions` of them.
pub fn partition_of(key: &str, partitions: usize) -> usize {
    let positive = murmur2(key.as_bytes()) & 0x7fff_ffff;
    usize::try_from(positive).unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

/// Murmur2 with Kafka's seed (org.apache.kafka.common.utils.Utils).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = word.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M) ^ mix(word);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafkas_own_clients_put_them() {
        // From Kafka's UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
        }
        assert_eq!(partition_of("abc", 0), 0);
        assert_eq!(partition_of("abc", 10), 7);
    }
}
