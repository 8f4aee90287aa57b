//! The record of an entry with a correct digest. The first byte chooses the length in the footer, which may
//! be wrong.
#![no_main]

use dijitso::cache::record::{self, Invalid};
use dijitso_fuzz::entry_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, record)) = data.split_first() else { return };
    let length = match choice {
        b'0'..=b'9' => Some(u64::from(choice - b'0')),
        b'+' => Some(record.len() as u64 + 1),
        b'*' => Some(u64::MAX - record.len() as u64),
        _ => None,
    };
    match record::open(&entry_of(record, length), "s") {
        Ok(record) => {
            assert_eq!(record.needs().count(), record.dependencies.len() + record.nested.len());
            let again = record::append_record(b"image".to_vec(), &record).expect("memory");
            assert_eq!(record::open(&again, "s"), Ok(record));
        }
        Err(damage) => {
            assert!(matches!(damage, Invalid::Altered | Invalid::Foreign), "{damage:?}");
            assert!(!damage.describe().is_empty());
        }
    }
});
