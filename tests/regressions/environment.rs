//! Odd environments: empty variables, missing devices and interpreters.

use super::*;

fn build(name: &str, settings: &[(&str, &str)]) -> Result<Library> {
    let mut all = vec![("cache.cache_dir", "cache")];
    all.extend(settings);
    jit(&Session::default(), name, &params(&all), HEALTHY)
}

/// Variables that are set and empty.
const EMPTY: [&str; 8] = [
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "LIBRARY_PATH",
    "CPATH",
    "DIJITSO_CACHE_DIR",
    "DIJITSO_CHECK_SOURCE",
    "OMPI_COMM_WORLD_SIZE",
    "LD_LIBRARY_PATH",
];

/// With an empty TMPDIR every build failed.
#[test]
fn variables_that_are_empty_count_as_unset() {
    let (_dir, here) = places();
    let mut command = start("empty", &here, Stdio::null());
    command.envs(EMPTY.map(|name| (name, "")));
    succeeded(&command.output().unwrap());
}

pub(crate) fn empty() {
    assert_eq!(std::env::var("TMPDIR").as_deref(), Ok(""));
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        build(method, &[("build.system_call_method", method), ("build.memory_limit", "4G")]).unwrap();
    }
    assert_eq!(entries(Path::new(".")), 1, "nothing but the cache");
}

/// Without /dev/null, as in a bad container, the compiler was said to be missing.
#[test]
fn a_missing_null_device_is_told_as_what_it_is() {
    let alone = |command: &mut Command| {
        command
            .args(["-m", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"", "sh"])
            .stdin(Stdio::piped());
    };
    let mut probe = Command::new("unshare");
    alone(&mut probe);
    if !probe.arg("true").status().is_ok_and(|status| status.success()) {
        absent::skip("this user may not mount a file system");
        return;
    }
    let (_dir, here) = places();
    let inner = start("no null device", &here, Stdio::piped());
    let mut command = Command::new("unshare");
    alone(&mut command);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(&here);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    succeeded(&command.output().unwrap());
}

pub(crate) fn no_null_device() {
    // Compilers may do without; if not, it is said what is missing.
    if let Err(error) = build("value", &[]) {
        assert!(error.message().contains("/dev/null cannot be opened"), "{error}");
        assert!(!error.message().contains("was not found"), "{error}");
    }
}

/// The system says of a script whose interpreter is missing that the script is.
#[test]
fn a_compiler_whose_interpreter_is_missing_is_not_said_to_be_missing() {
    let (_dir, here) = places();
    let compiler = here.join("c++");
    fs::write(&compiler, "#!/nonexistent/sh\n").unwrap();
    fs::set_permissions(&compiler, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let cache = here.join("cache");
    let settings = [("cache.cache_dir", cache.to_str().unwrap()), ("build.cxx", compiler.to_str().unwrap())];
    let error = jit(&Session::default(), "value", &params(&settings), HEALTHY).unwrap_err();
    assert!(error.message().contains("cannot be started"), "{error}");
    assert!(error.message().contains("its interpreter"), "{error}");
}
