//! The payload of a blob with a correct digest, as a defective or hostile builder may send it.
#![no_main]

use dijitso::cache::closure::Closure;
use dijitso_fuzz::blob_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let blob = blob_of(payload);
    match Closure::decode(&blob) {
        Ok(Closure::Entries(entries)) => {
            for entry in &entries {
                let name = &entry.signature;
                assert!(
                    !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.'),
                    "{name:?}"
                );
            }
            assert_eq!(
                Closure::Entries(entries).encode().expect("memory"),
                blob,
                "there is one blob for a closure"
            );
        }
        Ok(Closure::Failure(error)) => {
            assert_eq!(Closure::decode(&Closure::failure(&error)), Ok(Closure::Failure(error)));
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});
