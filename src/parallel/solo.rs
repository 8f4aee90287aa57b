//! The communicator of a process that is alone.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

use super::Communicator;

/// One rank that communicates with no other. Its errors name no rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Communicator for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn host(&self) -> &str {
        ""
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

    fn broadcast_in_groups(&self, _leaders: &[usize], _data: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        Ok(mine.to_vec())
    }

    fn locate(&self, error: Error) -> Error {
        error
    }
}
