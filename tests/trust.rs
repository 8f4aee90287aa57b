//! Directories that others can rename during a build or a load, with a real compiler and loader.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/absent.rs"]
mod absent;
#[path = "common/child.rs"]
mod child;
#[path = "trust/owned.rs"]
mod owned;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Origin, Request, Session, Source};
use dijitso::load::{Image, Loader, System};
use dijitso::params::Params;
use dijitso::process::SystemRunner;

/// A directory with a cache in `cache`, below a directory of this mode.
struct Bench {
    _dir: tempfile::TempDir,
    at: PathBuf,
    params: Params,
}

fn mkdir(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Bench {
    fn new(mode: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();
        let project = at.join("project");
        mkdir(&project, mode);
        let mut params = Params::new().unwrap();
        params.set("cache.cache_dir", project.join("cache").to_str().unwrap()).unwrap();
        params.set("cache.signature", "name").unwrap();
        params.set("build.cxxflags_opt", "-O0").unwrap();
        Self { _dir: dir, at, params }
    }

    fn cache(&self) -> PathBuf {
        self.at.join("project/cache")
    }

    /// A compiler that runs this before and this after the real one, which gets the arguments.
    fn compiler(&mut self, before: &str, after: &str) {
        let script = format!("{before}\nc++ \"$@\" || exit 1\n{after}");
        let words = shell_words::join(["sh", "-c", &script, "compiler"]);
        self.params.set("build.cxx", &words).unwrap();
    }

    fn jit(&self, session: &Session, name: &str, source: &Source) -> Result<Library> {
        let params = self.params.resolve().unwrap();
        let generate = |_: GenerateRequest<'_>, out: &mut Source| {
            out.code.clone_from(&source.code);
            out.header.clone_from(&source.header);
            out.dependencies.clone_from(&source.dependencies);
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        session.jit(Ok(Request { name, params: &params }), &mut callbacks)
    }
}

fn source(code: &str, header: Option<&str>, dependencies: &[&str]) -> Source {
    Source {
        code: Some(code.as_bytes().to_vec()),
        header: header.map(|text| text.as_bytes().to_vec()),
        dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
        ..Source::default()
    }
}

fn call(library: &Library) -> i32 {
    let address = library.symbol("value").unwrap();
    // SAFETY: all functions of these tests are `int value()`.
    let function = unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> i32>(address) };
    function()
}

fn one() -> Source {
    source("extern \"C\" int value() { return 1; }\n", None, &[])
}

/// A loader that writes down what it is asked for.
#[derive(Default)]
struct Noting {
    paths: Mutex<Vec<PathBuf>>,
    refuses: bool,
}

impl Loader for Noting {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        self.paths.lock().unwrap().push(path.to_owned());
        if self.refuses {
            let text = format!("the dynamic loader refuses {}: failed to map segment", path.display());
            return Err(Error::new(Kind::Load, text));
        }
        System.load(path)
    }
}

#[test]
fn a_private_folder_is_not_made_where_others_can_rename_it() {
    let bench = Bench::new(0o700);
    let dir = bench.at.join("tmp");
    let below = dir.join("below");
    mkdir(&dir, 0o700);
    mkdir(&below, 0o700);
    let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    let refused = |at: &Path| {
        let error = fsutil::private_dir(at).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
    };
    for open in [0o770, 0o775, 0o2770, 0o777] {
        mode(open);
        refused(&dir);
        refused(&below);
    }
    for safe in [0o700, 0o755, 0o1777, 0o1770] {
        mode(safe);
        assert!(fsutil::private_dir(&dir).unwrap().path().starts_with(&dir));
        assert!(fsutil::private_dir(&below).unwrap().path().starts_with(&below));
    }
    // Only root can give it away.
    if std::os::unix::fs::chown(&dir, Some(12345), None).is_ok() {
        mode(0o755);
        refused(&dir);
        refused(&below);
    }
}

#[test]
fn another_place_is_taken_where_the_wanted_one_is_not_safe() {
    let bench = Bench::new(0o700);
    let (open, safe) = (bench.at.join("open"), bench.at.join("safe"));
    mkdir(&open, 0o770);
    mkdir(&safe, 0o700);
    let taken = |places: &[&Path]| {
        let places: Vec<PathBuf> = places.iter().map(|place| (*place).to_owned()).collect();
        fsutil::staging_dir(&places).map(|folder| folder.path().parent().unwrap().to_owned())
    };
    assert_eq!(taken(&[&safe, &open]).unwrap(), safe);
    assert_eq!(taken(&[&open, &safe.join("tmp"), Path::new("/")]).unwrap(), safe.join("tmp"));
    let new = open.join("new");
    let error = taken(&[&open, &new]).unwrap_err();
    assert!(error.to_string().contains("the group can replace"), "{error}");
    assert!(!new.exists(), "nothing is made in an unsafe place");
    // A directory that was named and does not exist is an error.
    let error = taken(&[&bench.at.join("gone"), &safe]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

/// A member of the group renames the folder of the build while the compiler runs: what was read back from
/// there was then frozen as ours.
#[test]
fn the_folder_of_a_build_cannot_be_exchanged_by_the_group() {
    let mut bench = Bench::new(0o700);
    let tmp = bench.at.join("tmp");
    mkdir(&tmp, 0o770);
    bench.params.set("cache.temp_dir_root", tmp.to_str().unwrap()).unwrap();
    let script = format!(
        "for d in {tmp}/*; do [ -d \"$d\" ] || continue; mv \"$d\" \"$d.moved\"; mkdir \"$d\"; \
         for last; do :; done; echo 'extern \"C\" int value() {{ return 666; }}' | \
         c++ -shared -fPIC -x c++ - -o \"$d/$last\"; done; pwd > {at}/where",
        tmp = tmp.display(),
        at = bench.at.display(),
    );
    bench.compiler("", &script);
    assert_eq!(call(&bench.jit(&Session::default(), "form", &one()).unwrap()), 1);
    let folder = fs::read_to_string(bench.at.join("where")).unwrap();
    assert!(Path::new(folder.trim()).starts_with(bench.cache().join("tmp")), "{folder}");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert_eq!(fs::read_dir(bench.cache().join("tmp")).unwrap().count(), 0);
}

/// A member of the group puts another directory in the place of the cache while the compiler runs.
#[test]
fn a_dependant_is_built_with_the_headers_and_libraries_that_were_checked() {
    let mut bench = Bench::new(0o2770);
    let script = format!(
        "case \"$*\" in *' top.cpp '*) mv {c} {c}.moved; cp -r {c}.moved {c}; \
         echo '#define VALUE 666' > {c}/include/dep.h; echo > {c}/lib/libdijitso-dep.so;; esac",
        c = bench.cache().display()
    );
    let back =
        format!("[ -d {c}.moved ] && rm -rf {c} && mv {c}.moved {c}; exit 0", c = bench.cache().display());
    bench.compiler(&script, &back);
    let session = Session::default();
    bench.jit(&session, "dep", &source("int two() { return 2; }\n", Some("#define VALUE 1\n"), &[])).unwrap();
    let code = "#include <dep.h>\nint two();\nextern \"C\" int value() { return VALUE + two(); }\n";
    let top = bench.jit(&session, "top", &source(code, None, &["dep"])).unwrap();
    assert_eq!((call(&top), top.origin()), (3, Origin::Built));
    // What is written down of the build works when its folder has gone.
    let log = fs::read_to_string(bench.cache().join("log/top.txt")).unwrap();
    let include = format!("-I{}", bench.cache().join("include").display());
    assert!(log.contains(&include) && !log.contains(".dependencies"), "{log}");
    assert_eq!(call(&bench.jit(&Session::default(), "top", &Source::default()).unwrap()), 3);
}

#[test]
fn a_failure_folder_holds_the_copies_that_the_compiler_was_given() {
    let bench = Bench::new(0o2770);
    let session = Session::default();
    bench.jit(&session, "dep", &source("int x;\n", Some("#define VALUE 1\n"), &[])).unwrap();
    let code = "#include <dep.h>\nextern \"C\" int value() { return VALUE + missing; }\n";
    let error = bench.jit(&session, "top", &source(code, None, &["dep"])).unwrap_err();
    let folder = PathBuf::from(error.path());
    assert_eq!(fs::read_to_string(folder.join("include/dep.h")).unwrap(), "#define VALUE 1\n");
    assert!(folder.join("lib/libdijitso-dep.so").is_file());
    fs::remove_dir_all(folder).unwrap();
}

/// The variables of a dependency of two libraries exist once, loaded in place or from copies, in either
/// order.
#[test]
fn a_dependency_of_two_libraries_is_loaded_once() {
    let counter = "static int count = 0;\nint bump() { return ++count; }\nextern \"C\" int value() { return bump(); }\n";
    let parent = "int bump();\nextern \"C\" int value() { return bump(); }\n";
    for mode in [0o755, 0o2770] {
        let bench = Bench::new(mode);
        let build = Session::default();
        bench.jit(&build, "counter", &source(counter, None, &[])).unwrap();
        let names = ["a", "b", "c", "d"];
        for name in names {
            bench.jit(&build, name, &source(parent, None, &["counter"])).unwrap();
        }
        // Another session, in which nothing has been loaded.
        let session = Session::default();
        let mut counts: Vec<i32> = std::thread::scope(|scope| {
            let load = |name: &'static str| {
                let (bench, session) = (&bench, &session);
                scope.spawn(move || call(&bench.jit(session, name, &Source::default()).unwrap()))
            };
            let threads: Vec<_> = names.into_iter().map(load).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        counts.push(call(&bench.jit(&session, "counter", &Source::default()).unwrap()));
        counts.sort_unstable();
        let first = counts[0];
        let expected: Vec<i32> = (first..first + 5).collect();
        assert_eq!(counts, expected, "mode {mode:o}");
    }
}

#[test]
fn a_copy_that_cannot_be_loaded_says_why_it_was_made() {
    let mut bench = Bench::new(0o2770);
    let tmp = bench.at.join("tmp");
    mkdir(&tmp, 0o700);
    bench.params.set("cache.temp_dir_root", tmp.to_str().unwrap()).unwrap();
    let loader = Arc::new(Noting { refuses: true, ..Noting::default() });
    let session = Session::new(Arc::new(SystemRunner), Arc::<Noting>::clone(&loader));
    let error = bench.jit(&session, "form", &one()).unwrap_err();
    let project = bench.at.join("project");
    for part in ["failed to map segment", "private copy", project.to_str().unwrap()] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(error.kind(), Kind::Load);
    assert!(loader.paths.lock().unwrap()[0].starts_with(&tmp));
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

/// A link on the way to the cache may be changed by its owner at any time: it matters once.
#[test]
fn a_library_is_loaded_by_the_path_without_links() {
    let mut bench = Bench::new(0o755);
    let link = bench.at.join("link");
    symlink(bench.at.join("project"), &link).unwrap();
    bench.params.set("cache.cache_dir", link.join("cache").to_str().unwrap()).unwrap();
    let loader = Arc::new(Noting::default());
    let session = Session::new(Arc::new(SystemRunner), Arc::<Noting>::clone(&loader));
    let library = bench.jit(&session, "form", &one()).unwrap();
    assert_eq!(library.path(), link.join("cache/lib/libdijitso-form.so"));
    // It is loaded before it has its name.
    let paths = loader.paths.lock().unwrap().clone();
    assert!(matches!(&*paths, [path] if path.parent() == Some(&bench.cache().join("lib"))), "{paths:?}");
    assert_eq!(call(&library), 1);
    // Everything is moved, and the link follows.
    fs::rename(bench.at.join("project"), bench.at.join("moved")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(bench.at.join("moved"), &link).unwrap();
    let session = Session::new(Arc::new(SystemRunner), Arc::<Noting>::clone(&loader));
    assert_eq!(call(&bench.jit(&session, "form", &Source::default()).unwrap()), 1);
    let last = loader.paths.lock().unwrap().last().unwrap().clone();
    assert_eq!(last, bench.at.join("moved/cache/lib/libdijitso-form.so"));
}

#[test]
fn a_cache_behind_a_link_that_anybody_can_replace_is_refused() {
    let mut bench = Bench::new(0o755);
    let open = bench.at.join("open");
    mkdir(&open, 0o777);
    mkdir(&bench.cache(), 0o700);
    symlink(bench.cache(), open.join("cache")).unwrap();
    bench.params.set("cache.cache_dir", open.join("cache").to_str().unwrap()).unwrap();
    let error = bench.jit(&Session::default(), "form", &one()).unwrap_err();
    assert!(error.message().contains("any user can replace what is in"), "{error}");
}
