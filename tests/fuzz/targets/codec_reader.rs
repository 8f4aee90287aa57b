//! A sequence of fields: the first bytes choose their kinds, the rest is their data.
#![no_main]

use dijitso::codec::{Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let Some((kinds, input)) = rest.split_at_checked(usize::from(*count)) else { return };
    let mut reader = Reader::new(input);
    let mut writer = Writer::default();
    let mut plain = Vec::new();
    for kind in kinds {
        let read = match kind % 5 {
            0 => reader.u32().map(|value| writer.u32(value)),
            1 => reader.u64().map(|value| writer.u64(value)),
            2 => reader.bytes().map(|value| writer.bytes(value)),
            3 => reader.text().map(|value| writer.bytes(value.as_bytes())),
            _ => reader.take(usize::from(kind / 5)).map(|value| {
                plain.extend_from_slice(std::mem::take(&mut writer).finish().as_slice());
                plain.extend_from_slice(value);
            }),
        };
        if read.is_none() {
            return;
        }
    }
    plain.extend_from_slice(&writer.finish());
    assert_eq!(plain, input[..plain.len()], "what was read is what is written");
    assert_eq!(reader.at_end(), plain.len() == input.len());
});
