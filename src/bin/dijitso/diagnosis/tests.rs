use super::*;
use dijitso::parallel::threads::run;
use dijitso::params::{Environment, Params};
use dijitso::signature::Toolchain;

fn params(root: &Path, settings: &[(&str, &str)]) -> Resolved {
    let around = Environment {
        variables: [("HOME", root.display().to_string())].into(),
        cwd: root.to_owned(),
        uid: 0,
        system_dir: "/nonexistent".into(),
    };
    let mut params = Params::in_environment(&around).unwrap();
    params.set("cache.cache_dir", "cache").unwrap();
    params.set("cache.temp_dir_root", root.to_str().unwrap()).unwrap();
    params.set("build.slots_dir", "slots").unwrap();
    for (key, value) in settings {
        params.set(key, value).unwrap();
    }
    params.resolve().unwrap()
}

fn of<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Probe {
    diagnosis
        .probes
        .iter()
        .find(|probe| probe.name == name)
        .unwrap_or_else(|| panic!("{name}: {diagnosis:?}"))
}

#[test]
fn every_probe_has_a_finding_and_what_is_not_well_has_advice() {
    let root = tempfile::tempdir().unwrap();
    let diagnosis = examine(&params(root.path(), &[("build.cxx", "/nonexistent/c++")]));
    assert_eq!(of(&diagnosis, "compiler").verdict, Verdict::Bad);
    assert_eq!(diagnosis.settings[0].key, "cache.frozen");
    for name in
        ["cache: disk", "cache: owner", "cache: loading", "cache: room", "cache: clock", "cache: locks"]
    {
        assert_ne!(of(&diagnosis, name).verdict, Verdict::Bad, "{diagnosis:?}");
    }
    assert!(of(&diagnosis, "cache: publishing").finding.contains("by "), "{diagnosis:?}");
    for probe in &diagnosis.probes {
        assert!(!probe.finding.is_empty(), "{probe:?}");
        assert!(probe.verdict == Verdict::Ok || !probe.advice.is_empty(), "{probe:?}");
    }
    assert_eq!(diagnosis.verdict(), Verdict::Bad);
    assert!(!root.path().join("cache").exists(), "looking makes no cache");
    let left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "slots"), "{left:?}");
    let text = diagnosis.text();
    assert!(text.contains(" is bad: compiler.") && !text.contains("current settings fit"), "{text}");
    assert!(text.contains("bad   compiler") && text.contains("cache.frozen = true would fit: "), "{text}");
}

#[test]
fn a_compiler_that_cannot_build_is_told_with_its_words() {
    let root = tempfile::tempdir().unwrap();
    let script = root.path().join("c++");
    std::fs::write(
        &script,
        "#!/bin/sh\ncase $* in *-v) echo 'fake version 1';; *) echo 'x: error: no'; exit 1;; esac\n",
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (probes, _) = compiler::probes(&params(root.path(), &[("build.cxx", script.to_str().unwrap())]));
    assert_eq!(probes[0].finding, format!("fake version 1 for {}", std::env::consts::ARCH));
    assert_eq!(probes[1].verdict, Verdict::Bad);
    assert!(probes[1].finding.ends_with("ended with exit code 1: x: error: no"), "{probes:?}");
}

#[test]
fn a_probe_that_hangs_is_a_finding() {
    let (release, wait) = mpsc::channel::<()>();
    let (probes, _) = limited("disk", Duration::from_millis(20), move || {
        let _ = wait.recv();
        (Vec::new(), Vec::new())
    });
    assert_eq!((probes[0].verdict, probes[0].finding.as_str()), (Verdict::Bad, "no answer within 0 s"));
    drop(release);
    let (probes, _) = limited("disk", Duration::from_secs(20), || panic!("breaks"));
    assert_eq!(probes[0].finding, "the probe broke down");
}

#[test]
fn ranks_find_out_who_shares_what_and_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    for (buildon, expected) in [("node", None), ("root", None), ("process", Some("node"))] {
        let found = run(3, |comm| {
            let params = params(root.path(), &[("parallel.buildon", buildon)]);
            let compiler = || Toolchain { identity: "c++ 1".into(), target: "t".into(), isa: String::new() };
            ranks::examine(comm, &params, compiler).unwrap()
        });
        assert!(found.iter().all(|diagnosis| *diagnosis == found[0]), "{found:?}");
        assert_eq!(of(&found[0], "ranks").finding, "3 ranks on 1 host, with 1 cache directory");
        assert_eq!(of(&found[0], "visibility").verdict, Verdict::Ok, "{found:?}");
        assert_eq!(of(&found[0], "compilers of the ranks").verdict, Verdict::Ok);
        assert_eq!(found[0].settings.first().map(|setting| setting.value.as_str()), expected);
        assert!(!root.path().join("cache").exists());
    }
}

#[test]
fn ranks_with_other_compilers_and_directories_are_told() {
    let root = tempfile::tempdir().unwrap();
    let found = run(2, |comm| {
        use dijitso::parallel::Communicator;
        let dir = format!("cache{}", comm.rank());
        let params = params(root.path(), &[("cache.cache_dir", &dir)]);
        let identity = format!("c++ {}", comm.rank());
        ranks::examine(comm, &params, || Toolchain { identity, target: "t".into(), isa: String::new() })
            .unwrap()
    });
    assert!(of(&found[0], "ranks").finding.ends_with("with 2 cache directories"));
    let compilers = of(&found[1], "compilers of the ranks");
    assert_eq!(compilers.verdict, Verdict::Warn);
    assert!(compilers.finding.contains("c++ 0") && compilers.finding.contains("c++ 1"), "{compilers:?}");
}

/// Once the closing line said that the settings fit, and the exit code that a probe was bad.
#[test]
fn the_closing_line_agrees_with_the_probes() {
    let ok = || Probe::ok("one", "fine");
    let of = |probes: Vec<Probe>, settings| {
        Diagnosis { probes, settings }.text().lines().last().unwrap().to_owned()
    };
    let setting = || vec![Setting::new("cache.frozen", "true", "it fits")];
    assert_eq!(of(vec![ok(), ok()], vec![]), "Nothing is wrong in 2 probes, and the current settings fit.");
    assert_eq!(of(vec![ok()], setting()), "Nothing is wrong in 1 probe.");
    let warn = Probe::warn("two", "slow", "buy another");
    assert_eq!(of(vec![ok(), warn.clone()], vec![]), "1 of 2 probes could be better: two.");
    let bad = |name: &str| Probe::bad(name, "gone", "get it");
    assert_eq!(of(vec![ok(), warn.clone(), bad("a")], setting()), "1 of 3 probes is bad: a.");
    assert_eq!(of(vec![bad("a"), warn, bad("b")], vec![]), "2 of 3 probes are bad: a, b.");
}
