//! `dijitso make` with real processes: what is killed, stopped, refused, or made by many at once.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/absent.rs"]
mod absent;
mod bench;
mod compmake;
mod disk;
mod jobserver;
mod kills;
mod nodes;
mod options;
mod ranks;
mod signals;

use bench::{Bench, task};
