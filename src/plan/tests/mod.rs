//! Plans made with a fake compiler and a fake loader.

mod alone;
mod dynamic;
mod fakes;
mod ranks;
mod recorded;
