//! Makes the nodes of a plan: in parallel on the threads of this process, and on the ranks of a communicator.
//!
//! Threads take nodes from one schedule, each as soon as it is free. The thread of the host runs callbacks that
//! may run nowhere else; the others run commands and wait for compilers. A node that another program is making
//! is tried again later, and its thread goes on with another.

#![forbid(unsafe_code)]

mod admission;
mod agreed;
mod alone;
mod attempt;
mod deal;
mod load;
mod making;
mod news;
mod node_attempt;
mod options;
mod overview;
mod ranks;
mod send;

pub use alone::make;
pub use load::{library, load_libraries, need_result, result};
pub use options::{
    MakeEvent, MakeEventKind, MakeObserver, MakeOptions, MakeProgress, MakeReport, Unobserved, WaitReason,
};
pub use ranks::{make_on, refuse_on};
