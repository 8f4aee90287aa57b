use super::*;
use crate::cache::tests::cache;
use proptest::prelude::*;

#[test]
fn what_is_counted_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.count(Event::Build, "a", 7, 0);
    assert!(!cache.layout().root().exists(), "nothing is made for the sake of counting");
    cache.ensure_dirs().unwrap();
    for (event, ms, memory) in [
        (Event::Build, 1500, 0),
        (Event::Hit, 1500, 3),
        (Event::Hit, 1500, 0),
        (Event::Failure, 0, 1),
        (Event::Received, 0, 0),
        (Event::Waited, 0, 0),
        (Event::Memory, 0, 5),
    ] {
        cache.count(event, "a", ms, memory);
    }
    let usage = cache.stats();
    let expected = Counts {
        memory_hits: 9,
        disk_hits: 2,
        builds: 1,
        failures: 1,
        received: 1,
        waited: 1,
        compiling_ms: 1500,
        saved_ms: 3000,
    };
    assert_eq!((usage.total(), usage.torn, usage.hosts.len()), (expected, 0, 1));
    assert!(usage.since > 0 && expected.misses() == 4);
    assert_eq!(cache.reset_stats().unwrap(), 1);
    assert_eq!(cache.stats(), Stats::default());
}

#[test]
fn a_torn_line_costs_itself_and_no_other() {
    let line = |signature: &str| Line::new(Event::Hit, signature, 1, 0).to_bytes();
    let whole = line("a");
    for cut in 1..whole.len() - 1 {
        let (lines, torn) = parse(&[&whole[..cut], &line("b"), &line("c")].concat());
        let read: Vec<&str> = lines.iter().map(|line| &*line.s).collect();
        assert_eq!((read, torn), (vec!["b", "c"], 1), "cut at {cut}");
    }
}

/// Each host has a file, and those of one host do not disturb each other, also while the file is moved away.
#[test]
fn many_at_once_lose_nothing_and_count_nothing_twice() {
    const EACH: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    cache.count(Event::Hit, "a_0123456789abcdef0123456789abcdef", 2, 1);
                }
            });
        }
    });
    let total = cache.stats().total();
    assert_eq!((total.disk_hits, total.memory_hits, total.saved_ms), (8 * EACH, 8 * EACH, 16 * EACH));
    assert!(cache.stats_files().len() > 2, "it was moved away");
    let later = SystemTime::now() - 2 * SETTLED;
    for (_, path) in cache.stats_files() {
        std::fs::File::open(path).unwrap().set_modified(later).unwrap();
    }
    cache
        .compact(&cache.open_or_make().unwrap(), &host_key(), &cache.layout().stats_file(&host_key()))
        .unwrap();
    assert_eq!(cache.stats_files().len(), 2, "one with sums, and the last one");
    assert_eq!(cache.stats().total(), total);
}

/// A process that dies after it has written a sum and before it has removed what is in it.
#[test]
fn a_file_that_a_sum_stands_for_is_not_counted_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    cache.count(Event::Build, "a", 10, 0);
    let key = host_key();
    let live = cache.layout().stats_file(&key);
    let part = cache.layout().stats_file(&format!("{key}~1"));
    std::fs::rename(&live, &part).unwrap();
    let settle = || {
        let time = SystemTime::now() - 2 * SETTLED;
        for (_, path) in cache.stats_files() {
            std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
    };
    settle();
    let kept = std::fs::read(&part).unwrap();
    cache.count(Event::Build, "b", 20, 0);
    cache.compact(&cache.open_or_make().unwrap(), &key, &live).unwrap();
    assert!(!part.exists());
    let expected = cache.stats();
    assert_eq!((expected.total().builds, expected.total().compiling_ms), (2, 30));
    std::fs::write(&part, kept).unwrap();
    assert_eq!(cache.stats(), expected);
    // It is summed up once more, and that counts once as well.
    for _ in 0..2 {
        settle();
        cache.compact(&cache.open_or_make().unwrap(), &key, &live).unwrap();
    }
    assert_eq!(cache.stats().total(), expected.total());
}

#[test]
fn a_cache_that_cannot_be_written_is_not_counted_in_and_nothing_fails() {
    use crate::fsutil::faults::{Op, Rule, with};
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    let root = cache.layout().root().to_owned();
    with(vec![Rule { root, ops: &[Op::Create, Op::Write], errno: libc::EROFS }], || {
        cache.count(Event::Hit, "a", 1, 0);
        cache.note_use("a", RENEWED);
    });
    assert_eq!(cache.stats(), Stats::default());
    assert!(!cache.layout().atime("a").exists());
    // A pipe or a directory in the place of the file.
    std::fs::create_dir_all(cache.layout().stats_file(&host_key())).unwrap();
    cache.count(Event::Hit, "a", 1, 0);
    assert_eq!(cache.stats().total(), Counts::default());
}

#[test]
fn counting_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let on = cache(dir.path());
    on.ensure_dirs().unwrap();
    let params = crate::params::resolved::CacheParams { stats: false, ..on.layout().params().clone() };
    Cache::new(on.layout().root(), &params).count(Event::Hit, "a", 1, 0);
    assert!(!on.layout().stats().exists());
}

#[test]
fn a_use_is_noted_once_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.ensure_dirs().unwrap();
    cache.note_use("a", RENEWED);
    let path = cache.layout().atime("a");
    let set = |time: SystemTime| std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
    let time = || path.metadata().unwrap().modified().unwrap();
    let before = SystemTime::now() - Duration::from_secs(1800);
    set(before);
    cache.note_use("a", RENEWED);
    assert_eq!(time(), before);
    cache.note_use("a", Duration::from_secs(60));
    assert!(time() > before);
    set(before - RENEWED);
    cache.note_use("a", RENEWED);
    assert!(time() > before);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&data);
    }

    #[test]
    fn any_line_is_read_back(
        ms in any::<u64>(), m in any::<u64>(), s in "[a-z\"\\\\\u{e9}\n]{0,20}", which in 0..6_usize
    ) {
        let event = [Event::Hit, Event::Build, Event::Failure, Event::Received, Event::Waited, Event::Memory];
        let line = Line::new(event[which], &s, ms, m);
        let bytes = line.to_bytes();
        prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(parse(&bytes), (vec![line.clone()], 0));
        // No sum overflows.
        let mut usage = Stats::default();
        usage.merge("h", &[line.clone(), line], &mut HashSet::new());
        let _ = usage.total().misses();
    }

    #[test]
    fn no_cut_makes_another_line(at in any::<prop::sample::Index>(), ms in any::<u64>()) {
        let bytes = Line::new(Event::Build, "form_1", ms, 7).to_bytes();
        // The line without its end is whole.
        let cut = at.index(bytes.len() - 1);
        prop_assert!(parse(&bytes[..cut]).0.is_empty());
    }
}
