//! Ranks of one host: which they are, and the memory that they share. Knows nothing of MPI.

#[cfg(feature = "mpi")]
pub mod barrier;
pub mod hosts;
#[cfg(feature = "mpi")]
pub mod memory_file;
#[cfg(feature = "mpi")]
pub mod shared;
