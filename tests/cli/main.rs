//! The command `dijitso`, one module a subject.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/absent.rs"]
mod absent;
mod bundle;
mod checkout;
mod clean;
mod cluster;
mod config;
#[path = "../common/entries.rs"]
mod entries;
mod files;
mod grep;
mod help;
mod home;
mod large;
mod maintenance;
mod make;
mod output;
mod plan;
mod plan_files;
mod plan_upkeep;
mod results;
#[path = "../../src/elf/sample.rs"]
mod sample;
mod select;
mod show;
mod terminal;

use home::{Home, LIMIT, OTHER, POISSON, SOURCE, code, ended, entry, lines, text, with_all_kinds};
