//! The communicator of a program that does not use one.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::error::{Error, Result};

use super::Communicator;

/// One rank that has nobody to talk to, and no rank to name in its errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Communicator for Serial {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn host(&self) -> &str {
        "localhost"
    }

    fn machine(&self) -> u64 {
        0
    }

    fn min(&self, _values: &mut [u64]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _root: usize, _data: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        Ok(mine.to_vec())
    }

    fn split(&self, _color: usize) -> Result<Arc<dyn Communicator + Send + Sync>> {
        Ok(Arc::new(Self))
    }

    fn locate(&self, error: Error) -> Error {
        error
    }
}
