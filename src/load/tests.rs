use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{Image, Loader, System};
use crate::error::{Kind, Result};

fn build(dir: &Path, name: &str, code: &str) -> PathBuf {
    let (source, library) = (dir.join(name).with_extension("cpp"), dir.join(name).with_extension("so"));
    std::fs::write(&source, code).unwrap();
    let command =
        std::process::Command::new("c++").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(command.unwrap().success());
    library
}

fn value(image: &Arc<dyn Image>) -> i32 {
    let address = image.symbol("value").unwrap();
    // SAFETY: all functions of these tests are `int value()`.
    let function = unsafe { std::mem::transmute::<*const c_void, extern "C" fn() -> i32>(address) };
    function()
}

fn refusal(result: Result<Arc<dyn Image>>) -> String {
    let Err(error) = result else { panic!("loaded") };
    assert_eq!(error.kind(), Kind::Load);
    error.message().to_owned()
}

const HEALTHY: &str = "extern \"C\" int value() { return 42; }\n";

/// Without a guard the exception unwinds through the dynamic loader into Rust, which ends the program.
#[test]
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn an_initialiser_that_throws_is_an_error_and_the_loader_works_on() {
    let dir = tempfile::tempdir().unwrap();
    let thrower = |what: &str| {
        format!(
            "#include <stdexcept>\n#include <string>\n\
             struct Own : std::out_of_range {{ Own() : std::out_of_range(\"own\") {{}} }};\n\
             struct Both : std::string, std::runtime_error {{\n\
               Both() : std::runtime_error(\"both\") {{}}\n}};\n\
             struct Thrower {{ Thrower() {{ throw {what}; }} }};\nstatic Thrower thrower;\n{HEALTHY}"
        )
    };
    let cases = [
        ("std::runtime_error(\"no mesh\")", "std::runtime_error: no mesh"),
        ("Own()", "Own: own"),
        ("Both()", "Both"),
        ("7", "int"),
    ];
    for (round, (what, says)) in cases.into_iter().enumerate() {
        let library = build(dir.path(), &format!("thrower{round}"), &thrower(what));
        let message = refusal(System.load(&library));
        assert!(message.contains("threw") && message.ends_with(says), "{says}: {message}");

        // The lock of the loader is free: another thread loads, and finds symbols.
        let healthy = build(dir.path(), &format!("healthy{round}"), HEALTHY);
        let (done, wait) = channel();
        std::thread::spawn(move || done.send(value(&System.load(&healthy).unwrap())));
        assert_eq!(wait.recv_timeout(Duration::from_secs(20)), Ok(42));

        // A library that is initialised in part is never returned, by any name.
        let again = refusal(System.load(&library));
        assert!(again.contains(says) && again.contains("start the program again"), "{again}");
        let other = dir.path().join(format!("other{round}.so"));
        std::fs::hard_link(&library, &other).unwrap();
        assert!(refusal(System.load(&other)).contains(says));
    }
    // SAFETY: the function of the C++ runtime, if this program has one.
    let uncaught = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_ZSt19uncaught_exceptionsv".as_ptr()) };
    if !uncaught.is_null() {
        // SAFETY: as above: `int std::uncaught_exceptions()`.
        let uncaught = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> i32>(uncaught) }();
        assert_eq!(uncaught, 0);
    }
}

/// Refuses all threads that load one library at the same time, also those that wait for the loader.
#[test]
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn no_thread_gets_a_library_that_is_initialised_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let code = format!(
        "#include <unistd.h>\nstruct A {{ A() {{ usleep(100000); throw 1; }} }};\nstatic A a;\n{HEALTHY}"
    );
    let library = build(dir.path(), "slow", &code);
    let (done, wait) = channel();
    for _ in 0..8 {
        let (library, done) = (library.clone(), done.clone());
        std::thread::spawn(move || done.send(refusal(System.load(&library))));
    }
    for _ in 0..8 {
        let message = wait.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(message.contains("threw int"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_library_is_refused_with_the_loaders_message() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.so");
    std::fs::write(&text, "text").unwrap();
    for _ in 0..2 {
        let message = refusal(System.load(&text));
        assert!(message.contains("file too short") || message.contains("ELF"), "{message}");
    }
    let message = refusal(System.load(Path::new("/a\0b")));
    assert!(message.contains("nul"), "{message}");
}
