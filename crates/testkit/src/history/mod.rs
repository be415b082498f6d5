//! Histories of operations on files, and a checker that says whether one store can explain them.
//!
//! | file | subject |
//! |---|---|
//! | [`record`] | [`Event`], [`History`]: what was done, when, and what came of it |
//! | [`register`] | [`check`]: whether the events of one path are those of one register |
//! | [`payload`] | [`Payload`]: bytes that name their version, so that mixes are seen |

pub mod payload;
pub mod record;
pub mod register;

pub use payload::{Payload, Torn};
pub use record::{Content, Event, History, Op, Outcome};
pub use register::{Verdict, Violation, check};
