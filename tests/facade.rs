//! The facade for hosts in Rust, with the compiler of the system. `tests/rust/run` has the same on ranks of
//! MPI.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dijitso::{Comm, Error, Jit, JitMany, Kind, Origin, Source};

const SQUARE: &str = "double value(double x) { return x * x; }\n";

struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> String {
        self.0.path().join("cache").to_str().unwrap().to_owned()
    }

    fn jit<'a>(&self, name: &str) -> Jit<'a> {
        dijitso::jit(name).param("cache.cache_dir", &self.dir()).param("build.language", "c")
    }

    fn jit_many<'a>(&self, names: &[&str]) -> JitMany<'a> {
        dijitso::jit_many(names).param("cache.cache_dir", &self.dir()).param("build.language", "c")
    }
}

fn value(library: &dijitso::Library, x: f64) -> f64 {
    // SAFETY: the sources of this file define `double value(double)`.
    let function: extern "C" fn(f64) -> f64 = unsafe { library.symbol("value") }.unwrap();
    function(x)
}

#[test]
fn a_closure_runs_on_a_miss_and_knows_what_it_is_asked_for() {
    let cache = Cache::new();
    let calls = Cell::new(0);
    let generate = |source: &mut Source<'_>| {
        calls.set(calls.get() + 1);
        assert_eq!((source.name(), source.generator()), ("square", r#"{"degree":2}"#));
        assert!(source.signature().starts_with("square_"));
        source.code(SQUARE);
        Ok::<(), Error>(())
    };
    let call =
        || cache.jit("square").param("generator.degree", "2").comm(Comm::none()).generate(generate).load();
    let (first, second) = (call().unwrap(), call().unwrap());
    assert_eq!((first.origin(), second.origin(), calls.get()), (Origin::Built, Origin::Memory, 1));
    assert_eq!(value(&second, 3.0), 9.0);
    assert!(first.path().starts_with(cache.0.path()) && first.path().exists());
    // SAFETY: never called.
    let error = unsafe { first.symbol::<extern "C" fn()>("values") }.unwrap_err();
    assert_eq!(error.kind(), Kind::Symbol);
    assert!(error.message().contains("\"values\""), "{error}");
}

#[test]
fn a_text_is_a_key_and_links_to_libraries_whose_headers_it_includes() {
    let cache = Cache::new();
    let one = cache.jit("part").source(SQUARE).header("double value(double);\n").load().unwrap();
    let text =
        format!("#include \"{}.h\"\ndouble twice(double x) {{ return 2 * value(x); }}\n", one.signature());
    let both = cache.jit("whole").source(text).depend_on(&one).load().unwrap();
    // SAFETY: the text defines it so.
    let twice: extern "C" fn(f64) -> f64 = unsafe { both.symbol("twice") }.unwrap();
    assert_eq!(twice(3.0), 18.0);
    let other = cache.jit("part").source(SQUARE.replace('*', "+")).load().unwrap();
    assert_eq!((other.origin(), value(&other, 3.0)), (Origin::Built, 6.0));
    assert_ne!(one.signature(), other.signature());
}

#[test]
fn an_error_has_kind_message_log_path_and_the_cause_in_the_host() {
    let cache = Cache::new();
    let error = cache.jit("bad").source("int f( {\n").load().unwrap_err();
    assert_eq!((error.kind(), error.kind().code(), error.rank()), (Kind::Compile, 30, None));
    assert!(error.log().contains("error:") && error.message().contains("recompile.sh"), "{error:?}");
    assert!(error.path().unwrap().join("recompile.sh").is_file());
    assert_eq!(format!("{error:?}"), format!("{}\n{}", error.message(), error.log()));

    let number = "x".parse::<i32>();
    let error = cache.jit("none").generate(|_| number.clone().map(drop)).load().unwrap_err();
    assert_eq!(error.kind(), Kind::Generate);
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<std::num::ParseIntError>() && error.message().contains(&cause.to_string()));

    for (call, kind, part) in [
        (cache.jit("a").param("build.cxflags", "-O2"), Kind::Params, "build.cxflags"),
        (cache.jit("a").param("build.debug", "perhaps"), Kind::Params, "true or false"),
        (cache.jit("../a").source(SQUARE), Kind::InvalidArgument, "../a"),
        (cache.jit("a").header(SQUARE), Kind::InvalidArgument, "without the text"),
        (
            cache.jit("a").source(SQUARE).generate(|_| Ok::<(), Error>(())),
            Kind::InvalidArgument,
            "both source and generate",
        ),
        (cache.jit("a"), Kind::InvalidArgument, "generate"),
    ] {
        let error = call.load().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(part), "{error}");
    }
}

#[test]
fn a_panic_of_a_closure_goes_on_after_the_call() {
    let cache = Cache::new();
    let generate = |_: &mut Source<'_>| -> Result<(), Error> { std::panic::panic_any(42) };
    let call = || cache.jit("panics").generate(generate).load();
    let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    assert_eq!(payload.downcast_ref::<i32>(), Some(&42));
    // Nothing is left that a later call would wait for.
    let fine = cache.jit("panics").generate(|source| {
        source.code(SQUARE);
        Ok::<(), Error>(())
    });
    assert_eq!(fine.load().unwrap().origin(), Origin::Built);
}

#[test]
fn many_are_built_in_one_call_and_each_has_a_result() {
    let cache = Cache::new();
    let generate = |source: &mut Source<'_>| match source.name() {
        "bad" => Err("no such element"),
        name => {
            source.code(format!("double value(double x) {{ return {} * x; }}\n", &name[1..]));
            Ok(())
        }
    };
    let results = cache.jit_many(&["m1", "bad", "m2"]).generate(generate).load_each().unwrap();
    let values: Vec<Option<f64>> =
        results.iter().map(|result| result.as_ref().ok().map(|library| value(library, 3.0))).collect();
    assert_eq!(values, [Some(3.0), None, Some(6.0)]);
    let error = cache.jit_many(&["m1", "bad"]).generate(generate).load().unwrap_err();
    assert!(error.message().contains("1 of 2 libraries failed: bad: "), "{error}");
    let fine = cache.jit_many(&["m2", "m1"]).generate(generate).load().unwrap();
    let origins: Vec<Origin> = fine.iter().map(dijitso::Library::origin).collect();
    assert_eq!((value(&fine[0], 1.0), origins), (2.0, vec![Origin::Memory; 2]));
}

#[test]
fn a_poll_cancels_a_call_that_waits_for_a_compiler() {
    let cache = Cache::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let slow = cache.jit("slow").param("build.cc", "sh -c 'sleep 60' sh").source(SQUARE);
    let error = slow.poll(move || count.fetch_add(1, Ordering::Relaxed) > 2).load().unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert!(asked.load(Ordering::Relaxed) > 2);
}
