//! The inputs of a build as one value. Modules of one kind have the same inputs, often hundreds of headers, so a
//! process reads and checks each set once.
//!
//! ```text
//! inputs   := u64 count  input*
//! input    := bytes path  u64 size  u64 mtime  optional ctime  optional inode  bytes identity
//! optional := u32 0 | u32 1 u64
//! ```

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::{Reader, Writer};
use crate::sync::lock;

use super::{Input, InputsState, MEMO_TTL, generation, state_of};

/// Encodes inputs. No inputs are no bytes.
#[must_use]
pub fn encode(inputs: &[Input]) -> Vec<u8> {
    let mut writer = Writer::default();
    if inputs.is_empty() {
        return writer.finish();
    }
    writer.u64(inputs.len() as u64);
    let optional = |writer: &mut Writer, value: Option<u64>| {
        writer.u32(u32::from(value.is_some()));
        value.into_iter().for_each(|value| writer.u64(value));
    };
    for input in inputs {
        writer.bytes(input.path.as_bytes());
        writer.u64(input.size);
        writer.u64(input.mtime.cast_unsigned());
        optional(&mut writer, input.ctime.map(i64::cast_unsigned));
        optional(&mut writer, input.inode);
        writer.bytes(input.identity.as_bytes());
    }
    writer.finish()
}

/// Decodes inputs; `None` if they are damaged.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<Input>> {
    fn optional(reader: &mut Reader<'_>) -> Option<Option<u64>> {
        match reader.u32()? {
            0 => Some(None),
            1 => reader.u64().map(Some),
            _ => None,
        }
    }
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    let count = reader.u64()?;
    let mut inputs = Vec::new();
    for _ in 0..count {
        inputs.push(Input {
            path: reader.text()?.to_owned(),
            size: reader.u64()?,
            mtime: reader.u64()?.cast_signed(),
            ctime: optional(&mut reader)?.map(u64::cast_signed),
            inode: optional(&mut reader)?,
            identity: reader.text()?.to_owned(),
        });
    }
    (reader.at_end() && count > 0).then_some(inputs)
}

/// The inputs of a build.
#[derive(Debug, Default)]
pub struct InputSet {
    inputs: Vec<Input>,
    /// The result of the last check, if none had changed.
    checked: Mutex<Option<Checked>>,
}

#[derive(Clone, Debug)]
struct Checked {
    /// The time at which the first of them was read.
    at: Instant,
    generation: u64,
    state: InputsState,
}

/// The number of sets that are remembered. If there are more, all are forgotten.
const MOST: usize = 64;

/// The sets that this process has read, by the digests of their bytes.
static SETS: LazyLock<Mutex<HashMap<u128, Arc<InputSet>, FixedState>>> = LazyLock::new(Mutex::default);

impl InputSet {
    /// Returns the set in these bytes; `None` if they are damaged.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Arc<Self>> {
        static NONE: LazyLock<Arc<InputSet>> = LazyLock::new(Arc::default);
        if bytes.is_empty() {
            return Some(Arc::clone(&NONE));
        }
        let key = xxh3_128(bytes);
        if let Some(set) = lock(&SETS).get(&key) {
            return Some(Arc::clone(set));
        }
        let set = Arc::new(Self { inputs: decode(bytes)?, checked: Mutex::default() });
        let mut sets = lock(&SETS);
        if sets.len() >= MOST {
            sets.clear();
        }
        sets.insert(key, Arc::clone(&set));
        Some(set)
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Returns the state of the files, as this process saw them at most [`MEMO_TTL`] ago.
    #[must_use]
    pub fn state(&self) -> InputsState {
        if self.inputs.is_empty() {
            return InputsState::Same;
        }
        let (now, generation) = (Instant::now(), generation());
        let fresh = |checked: &&Checked| {
            checked.generation == generation && now.saturating_duration_since(checked.at) < MEMO_TTL
        };
        if let Some(checked) = lock(&self.checked).as_ref().filter(fresh) {
            return checked.state.clone();
        }
        let (at, state) = state_of(&self.inputs, now);
        let unchanged = !matches!(state, InputsState::Changed(_));
        *lock(&self.checked) = unchanged.then(|| Checked { at, generation, state: state.clone() });
        state
    }
}

impl PartialEq for InputSet {
    fn eq(&self, other: &Self) -> bool {
        self.inputs == other.inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    #[test]
    fn a_set_is_checked_once_a_second_in_a_process_and_after_every_callback() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("header.h");
        fs::write(&path, "1").unwrap();
        let bytes = encode(&[Input::of(&path).unwrap()]);
        let set = InputSet::read(&bytes).unwrap();
        assert_eq!(set.state(), InputsState::Same);
        fs::write(&path, "22").unwrap();
        crate::inputs::invalidate();
        let again = InputSet::read(&bytes).unwrap();
        assert!(Arc::ptr_eq(&set, &again), "it is read once");
        assert!(matches!(again.state(), InputsState::Changed(why) if why.contains("header.h")));
        fs::remove_file(&path).unwrap();
        crate::inputs::invalidate();
        assert!(matches!(set.state(), InputsState::Gone { count: 1, .. }));
    }

    proptest! {
        #[test]
        fn inputs_come_back_and_damage_is_noticed(
            texts in prop::collection::vec((any::<String>(), any::<String>()), 0..4),
            numbers in any::<(u64, i64, Option<i64>, Option<u64>)>(),
            at in any::<prop::sample::Index>(),
        ) {
            let (size, mtime, ctime, inode) = numbers;
            let input = |(path, identity)| Input { path, size, mtime, ctime, inode, identity };
            let inputs: Vec<Input> = texts.into_iter().map(input).collect();
            let bytes = encode(&inputs);
            prop_assert_eq!(decode(&bytes), Some(inputs.clone()));
            if !bytes.is_empty() {
                let cut = at.index(bytes.len());
                prop_assert!(cut == 0 || decode(&bytes[..cut]).is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
