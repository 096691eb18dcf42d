//! The log: segments of frames on disk.
//!
//! `layout` has the fixed headers, `body` the content of a frame, `section` the encoding of records. `walk` reads
//! frames in order and gets past damage, `place` finds their sections. `segment` creates files, `writer` appends,
//! `cold` makes segments of copies, `recover` reads the state at a start.
//!
//! Invariants: at most one frame is unsynced at any time. Bytes behind a segment's end do not exist for any reader.
//! A segment's number is never used twice.

pub mod body;
pub mod cold;
mod frame;
pub mod layout;
pub mod place;
pub mod recover;
pub mod section;
pub mod segment;
pub mod walk;
pub mod writer;
