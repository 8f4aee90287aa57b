//! Ranks of one host: which they are, and the memory that they share. Knows nothing of MPI.

pub mod barrier;
pub mod hosts;
pub mod memory_file;
pub mod shared;
