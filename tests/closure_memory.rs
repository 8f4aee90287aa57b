//! A library that travels between ranks is in memory once, on the sender and on the rank that publishes it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/entries.rs"]
mod entries;
#[path = "../src/elf/sample.rs"]
mod sample;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dijitso::cache::{Cache, EntryFiles, Lookup, Verify};
use dijitso::jit::query::{read_binary, write_binary};
use dijitso::params::Params;
use dijitso::params::resolved::CacheParams;

use entries::Contents;
use sample::sample;

/// The allocator of the system, which knows how much of it is in use, and how much ever was.
struct Measuring;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(size: usize) {
    let used = USED.fetch_add(size, SeqCst) + size;
    MOST.fetch_max(used, SeqCst);
}

// SAFETY: the allocator of the system does it all.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), SeqCst);
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }

    /// Counted as if the block were copied, which it may be.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        USED.fetch_sub(layout.size(), SeqCst);
        // SAFETY: promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// Returns the result of `body`, and the peak of memory that it added.
fn measured<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let before = USED.load(SeqCst);
    MOST.store(before, SeqCst);
    let value = body();
    (value, MOST.load(SeqCst) - before)
}

const MIB: usize = 1 << 20;

fn params(root: &Path) -> CacheParams {
    let mut params = Params::new().unwrap();
    params.set("cache.cache_dir", root.to_str().unwrap()).unwrap();
    (*params.resolve().unwrap().cache).clone()
}

fn entry(signature: &str, needs: &[&str], size: usize) -> EntryFiles {
    let [header, source, log] = [(b'h', 2), (b's', 1), (b'l', 1)].map(|(byte, size)| vec![byte; size * MIB]);
    let image = sample(&vec![7; size]);
    entries::entry(signature, needs, Contents { image, header, source, log })
}

/// One test, since the allocator is that of all threads.
#[test]
fn a_closure_is_in_memory_once_where_it_is_sent_and_where_it_is_published() {
    const LITTLE: usize = MIB / 4;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (params(&dir.path().join("from")), params(&dir.path().join("to")));
    let cache = Cache::new(&from.cache_dir, &from);
    for files in [entry("b", &[], 2 * MIB), entry("a", &["b"], 4 * MIB)] {
        assert!(cache.publish(&files).unwrap());
    }

    let (blob, held) = measured(|| read_binary(&from, "a").unwrap());
    assert!(blob.len() > 14 * MIB && held < blob.len() + LITTLE, "{held} bytes for {}", blob.len());

    let ((), held) = measured(|| write_binary(&to, "a", &blob).unwrap());
    assert!(held < LITTLE, "{held} bytes beside the {} that were received", blob.len());

    let received = Cache::new(&to.cache_dir, &to);
    assert!(matches!(received.lookup("a", Verify::ForLink).unwrap(), Lookup::Hit(order) if order.len() == 2));
}
