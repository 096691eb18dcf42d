//! The log: segments of frames on disk.
//!
//! `layout` has the fixed headers, `body` what is inside a frame, `section` how records are kept,
//! `walk` reads frames in order and gets past damage, `place` finds their sections, `segment` makes
//! files, `writer` appends, `cold` makes segments of copies, `recover` opens.
//!
//! Invariants: at most one frame is unsynced at any time; bytes behind a segment's end do not
//! exist for any reader; a segment's number is never used twice.

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
