//! Defects of the original that only whole programs, a real compiler or the real loader can show, and the
//! table of all of them, `docs/defects.md`.
//!
//! Child processes run the ignored test `child_process`.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/absent.rs"]
mod absent;
#[path = "../common/child.rs"]
mod child;
mod command;
mod environment;
mod forks;
#[path = "../../src/elf/sample.rs"]
mod sample;
mod table;

use std::ffi::{CStr, CString, c_char, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use sample::sample;

use dijitso::capi;
use dijitso::error::{Error, Kind, Result};
use dijitso::jit::CommState;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Origin, Request, Session, Source};
use dijitso::load::{Image, Loader, System};
use dijitso::parallel::Communicator;
use dijitso::parallel::threads::run;
use dijitso::params::Params;
use dijitso::process::SystemRunner;

const PART: &str = "DIJITSO_TEST_REGRESSIONS_PART";

/// A text in which formatters of several languages find placeholders.
const CURLY: &str = "100 % %s%n {} {0} %d";

const HEALTHY: &str = "extern \"C\" int value() { return 42; }\n";

/// The command of a child process that runs `part` in a directory, without any setting of the user.
fn start(part: &str, dir: &Path, stdin: Stdio) -> Command {
    let mut command = child::command("child_process");
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DIJITSO") || ["CXX", "CC", "VIRTUAL_ENV", "CONDA_PREFIX"].contains(&&*name) {
            command.env_remove(&*name);
        }
    }
    command.env(PART, part).env("HOME", home(dir)).env("XDG_RUNTIME_DIR", home(dir)).stdin(stdin);
    command
}

/// Beside the directory, which stays empty.
fn home(dir: &Path) -> PathBuf {
    dir.with_file_name("home")
}

/// An empty directory to be in, with a home directory beside it.
fn places() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("here");
    fs::create_dir(&here).unwrap();
    fs::create_dir(home(&here)).unwrap();
    (dir, here)
}

fn succeeded(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
#[ignore = "the child process of other tests"]
fn child_process() {
    let part = std::env::var(PART).expect("another test starts this one");
    match part.as_str() {
        "defaults" => defaults(),
        "quiet" => quiet(),
        "stdin" => command::stdin(),
        "forks" => forks::forks(),
        "empty" => environment::empty(),
        "no null device" => environment::no_null_device(),
        _ => panic!("no such part: {part}"),
    }
}

fn params(settings: &[(&str, &str)]) -> Params {
    let mut params = Params::new().unwrap();
    params.set("build.cxxflags_opt", "-O0").unwrap();
    for (key, value) in settings {
        params.set(key, value).unwrap();
    }
    params
}

/// A shell command that writes a minimal library.
fn writes_library() -> String {
    let text: String = sample(b"").iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("for last; do :; done; printf '{text}' > \"$last\"")
}

/// A compiler that is a shell script and gets the words of the command as `"$@"`.
fn script(script: &str) -> String {
    shell_words::join(["sh", "-c", script, "compiler"])
}

fn generator<'a>(code: &'a str) -> Callbacks<'a> {
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(code.as_bytes().to_vec());
        Ok(())
    };
    Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() }
}

fn jit(session: &Session, name: &str, params: &Params, code: &str) -> Result<Library> {
    let params = params.resolve().unwrap();
    session.jit(Ok(Request { name, params: &params }), &mut generator(code))
}

fn call(address: *const c_void) -> i32 {
    // SAFETY: all functions of these tests are `int f()`.
    let function = unsafe { std::mem::transmute::<*const c_void, extern "C" fn() -> i32>(address) };
    function()
}

// --- the C interface, as a host sees it ------------------------------------------------------------------------------

fn no_communicator() -> dijitso::parallel::mpi::RawComm {
    dijitso::parallel::mpi::RawComm::NULL
}

/// Sets the code that it is given, or fails with the reason that it is given, which begins with `!`.
unsafe extern "C" fn generate(
    text: *mut c_void,
    _name: *const c_char,
    _signature: *const c_char,
    _json: *const c_char,
    source: *mut capi::source::dijitso_source,
) -> i32 {
    let text = text.cast::<c_char>();
    // SAFETY: a string of the test that calls, and the handle that came with the call.
    unsafe {
        let bytes = CStr::from_ptr(text).to_bytes();
        if bytes.starts_with(b"!") {
            capi::source::dijitso_source_set_error(source, text);
            return 7;
        }
        capi::source::dijitso_source_set_code(source, text, bytes.len())
    }
}

/// One call of `dijitso_jit`: what `value()` of the library gives and its path, or message and log of the
/// error.
fn jit_in_c(
    params: *const capi::params::dijitso_params,
    name: &CStr,
    text: &CStr,
) -> std::result::Result<(i32, String), (String, String)> {
    let mut library = std::ptr::null_mut();
    let mut error = std::ptr::null_mut();
    let callbacks = capi::callbacks::dijitso_callbacks {
        struct_size: size_of::<capi::callbacks::dijitso_callbacks>(),
        user_data: text.as_ptr().cast_mut().cast(),
        generate: Some(generate),
        send: None,
        receive: None,
        wait: None,
        poll: None,
    };
    let string = |text: *const c_char| {
        // SAFETY: a string that lives as long as the handle from which it was asked for.
        unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
    };
    // SAFETY: all pointers are valid or NULL where that is allowed; handles are freed once, after their last
    // use.
    unsafe {
        let comm = no_communicator();
        let status = capi::jit::dijitso_jit(
            name.as_ptr(),
            params,
            &raw const callbacks,
            comm,
            &raw mut library,
            &raw mut error,
        );
        if status != 0 {
            let message = string(capi::error::dijitso_error_message(error));
            let log = string(capi::error::dijitso_error_log(error));
            capi::error::dijitso_error_free(error);
            return Err((message, log));
        }
        let mut value = None;
        let symbol = c"value".as_ptr();
        let found =
            capi::library::dijitso_library_symbol(library, symbol, &raw mut value, std::ptr::null_mut());
        assert_eq!(found, 0);
        let path = string(capi::library::dijitso_library_path(library));
        // The code stays: libraries are never unloaded.
        capi::library::dijitso_library_free(library);
        Ok((call(value.unwrap() as *const c_void), path))
    }
}

// --- defaults --------------------------------------------------------------------------------------------------------

/// Defect C1 of the original: default parameters could not be had at all.
#[test]
fn c1_the_default_parameters_need_no_argument_and_no_set_up() {
    let (_dir, here) = places();
    succeeded(&start("defaults", &here, Stdio::null()).output().unwrap());
    assert!(home(&here).join(".cache/dijitso/lib").is_dir());
    assert_eq!(entries(&here), 0);
}

fn defaults() {
    let expected = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/dijitso");
    let resolved = Params::new().unwrap().resolve().unwrap();
    assert_eq!(resolved.cache.cache_dir, expected);
    let code = CString::new(HEALTHY).unwrap();
    let (value, path) = jit_in_c(std::ptr::null(), c"defaults", &code).unwrap();
    assert_eq!(value, 42);
    assert!(Path::new(&path).starts_with(&expected), "{path}");
}

// --- messages --------------------------------------------------------------------------------------------------------

/// A host's logger that keeps everything.
struct Kept(Mutex<Vec<String>>);

impl log::Log for Kept {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

/// Defect C11 of the original: a message with `%` in it was formatted once more, which raised something else.
#[test]
fn c11_messages_come_through_as_they_are() {
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(CURLY);
    let cache = root.to_str().unwrap();
    let says = format!("echo 'x.cpp:1: error: {CURLY}'; exit 1");
    let settings = [("cache.cache_dir", cache), ("cache.signature", "name"), ("parallel.buildon", "root")];
    let mut refusing = params(&settings);
    refusing.set("build.cxx", &script(&says)).unwrap();

    // From the compiler to every rank, and into what is kept for people.
    let results = run(3, |comm| {
        let params = refusing.resolve().unwrap();
        let request = Request { name: "refused", params: &params };
        Session::default()
            .jit_on(comm, &CommState::default(), Ok(request), &mut generator(HEALTHY))
            .unwrap_err()
    });
    for error in &results {
        assert!(error.message().contains(CURLY) && error.message().contains(cache), "{error}");
        assert_eq!((error.log(), error), (format!("x.cpp:1: error: {CURLY}\n").as_str(), &results[0]));
    }
    for file in ["error.log", "README"] {
        let text = fs::read_to_string(Path::new(results[0].path()).join(file)).unwrap();
        assert!(text.contains(CURLY), "{file}: {text}");
    }

    // Through the C interface: compiler, callback, bad key.
    let mut handle = std::ptr::null_mut();
    let mut error = std::ptr::null_mut();
    // SAFETY: all pointers are valid or NULL where that is allowed; handles are freed once, after their last
    // use.
    unsafe {
        assert_eq!(capi::params::dijitso_params_new(&raw mut handle, std::ptr::null_mut()), 0);
        for (key, value) in settings.iter().copied().chain([("build.cxx", script(&says).as_str())]) {
            let (key, value) = (CString::new(key).unwrap(), CString::new(value).unwrap());
            let set =
                capi::params::dijitso_params_set(handle, key.as_ptr(), value.as_ptr(), std::ptr::null_mut());
            assert_eq!(set, 0);
        }
        let (key, value) = (CString::new(format!("build.{CURLY}")).unwrap(), c"".as_ptr());
        capi::params::dijitso_params_set(handle, key.as_ptr(), value, &raw mut error);
        let message = CStr::from_ptr(capi::error::dijitso_error_message(error)).to_str().unwrap();
        assert!(message.contains(&format!("build.{CURLY}")), "{message}");
        capi::error::dijitso_error_free(error);
    }
    let (message, log) = jit_in_c(handle, c"refused-in-c", c"code").unwrap_err();
    assert!(message.contains(CURLY) && log.contains(CURLY), "{message}\n{log}");
    let reason = CString::new(format!("!{CURLY}")).unwrap();
    let (message, _) = jit_in_c(handle, c"failed-in-c", &reason).unwrap_err();
    assert!(message.contains(CURLY), "{message}");
    // SAFETY: as above.
    unsafe { capi::params::dijitso_params_free(handle) };

    // To the host's logger.
    let lib = root.join("lib/libdijitso-damaged.so");
    fs::create_dir_all(lib.parent().unwrap()).unwrap();
    fs::write(&lib, "damaged").unwrap();
    let mut quick = params(&settings);
    quick.set("build.cxx", &script(&writes_library())).unwrap();
    quick.set("cache.lib_loader", "import").unwrap();
    jit(&Session::default(), "damaged", &quick, HEALTHY).unwrap();
    let kept = KEPT.0.lock().unwrap();
    let ours = |record: &&String| record.starts_with(lib.to_str().unwrap());
    assert!(kept.iter().any(|record| ours(&record)), "{kept:?}");
}

// --- quiet -----------------------------------------------------------------------------------------------------------

/// Defect C13 of the original: the folder of a failed build was put into the working directory of the
/// program. Defect C19 of the original: importing it installed a log handler, and every rank wrote to the
/// host's output.
#[test]
fn c13_c19_the_hosts_directory_output_and_logger_are_left_alone() {
    let (_dir, here) = places();
    let output = start("quiet", &here, Stdio::null()).output().unwrap();
    succeeded(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(entries(&here), 0, "nothing is put into the working directory");
    assert!(home(&here).join(".cache/dijitso/jitfailure-refused/recompile.sh").is_file());
}

fn quiet() {
    let mut quick = params(&[("cache.signature", "name"), ("cache.lib_loader", "import")]);
    let library = quick.resolve().unwrap().cache.cache_dir.join("lib/libdijitso-form.so");
    quick.set("build.cxx", &script(&format!("echo 'x: warning: y'; {}", writes_library()))).unwrap();
    let session = Session::default();
    jit(&session, "form", &quick, HEALTHY).unwrap();
    fs::write(&library, "damaged").unwrap();
    let again = jit(&Session::default(), "form", &quick, HEALTHY).unwrap();
    assert_eq!(again.origin(), Origin::Built);
    quick.set("build.cxx", &script("echo 'x: error: y'; exit 1")).unwrap();
    let error = jit(&session, "refused", &quick, HEALTHY).unwrap_err();
    assert_eq!(error.kind(), Kind::Compile);
    // Not even a working directory is needed.
    fs::remove_dir(std::env::current_dir().unwrap()).unwrap();
    assert_eq!(jit(&session, "gone", &quick, HEALTHY).unwrap_err().kind(), Kind::Compile);
    fs::create_dir(Path::new(&std::env::var_os("HOME").unwrap()).with_file_name("here")).unwrap();
    assert_eq!(log::max_level(), log::LevelFilter::Off);
    log::set_logger(&KEPT).expect("the library has set none");
}

/// Defect C19, continued: a program that only loads the library.
#[test]
fn c19_loading_the_library_does_nothing() {
    let (dir, here) = places();
    let library = std::env::current_exe().unwrap().with_file_name("libdijitso.so");
    assert!(library.is_file(), "{}: cargo builds it with the tests", library.display());
    let code = "#include <dlfcn.h>\n\
                int main(int argc, char **argv) {\n\
                void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : 0;\n\
                return library && dlsym(library, \"dijitso_version\") ? 0 : 1; }\n";
    let (source, program) = (dir.path().join("load.c"), dir.path().join("load"));
    fs::write(&source, code).unwrap();
    assert!(Command::new("cc").arg(&source).arg("-o").arg(&program).arg("-ldl").status().unwrap().success());
    let output =
        Command::new(&program).arg(&library).current_dir(&here).env("HOME", home(&here)).output().unwrap();
    succeeded(&output);
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0), "{output:?}");
    assert_eq!((entries(&here), entries(&home(&here))), (0, 0));
}

// --- the loader ------------------------------------------------------------------------------------------------------

/// The system's loader, which refuses on one rank as it does a file that was cut.
struct Refuses(bool);

impl Loader for Refuses {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        if self.0 {
            return Err(Error::new(
                Kind::Load,
                format!("the dynamic loader refuses {}: too short", path.display()),
            ));
        }
        System.load(path)
    }
}

/// Defect W13 of the original: a library that did not load was a warning, and the caller got nothing.
#[test]
fn w13_a_library_that_does_not_load_is_an_error_with_the_loaders_words_on_every_rank() {
    let dir = tempfile::tempdir().unwrap();
    let jit = |name: &str, code: &str, refuses: Option<usize>| {
        run(3, |comm| {
            let cache = dir.path().join(format!("cache{}", comm.rank() % 2));
            let settings = [("cache.cache_dir", cache.to_str().unwrap()), ("parallel.buildon", "root")];
            let params = params(&settings).resolve().unwrap();
            let session =
                Session::new(Arc::new(SystemRunner), Arc::new(Refuses(refuses == Some(comm.rank()))));
            let request = Request { name, params: &params };
            session.jit_on(comm, &CommState::default(), Ok(request), &mut generator(code))
        })
    };
    let same = |results: Vec<Result<Library>>| {
        let errors: Vec<Error> = results.into_iter().map(Result::unwrap_err).collect();
        assert!(errors.iter().all(|error| *error == errors[0] && error.kind() == Kind::Load), "{errors:?}");
        errors[0].clone()
    };
    let missing = "int missing_42(); extern \"C\" int value() { return missing_42(); }\n";
    let error = same(jit("incomplete", missing, None));
    for part in ["undefined symbol", "missing_42", "cache0/lib/libdijitso-incomplete"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    for rank in 0..3 {
        let error = same(jit("whole", HEALTHY, Some(rank)));
        assert!(error.message().contains("too short"), "{error}");
        assert_eq!(usize::try_from(error.rank()), Ok(rank));
    }
    for library in jit("whole", HEALTHY, None) {
        assert_eq!(call(library.unwrap().symbol("value").unwrap()), 42);
    }
}
