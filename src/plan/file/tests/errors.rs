//! The text of each mistake.

use super::*;

/// Plans with mistakes.
const MISTAKES: &[&str] = &[
    "x = [1,\n",
    "[plan]\nname = 'a'\n[plan]\n",
    "\n[plans]\n",
    "plan = 1\n",
    "[plan]\nname = 3\nparms = {}\n",
    "[module]\nsource = 'a.cpp'\n",
    "module = ['a.cpp']\n",
    "[params]\nbuild.cxflags = '-O2'\n",
    "[params.build]\ndebug = 'maybe'\n",
    "[params]\nbuild.debug = 1979-05-27\n",
    "[params]\n'build.libs' = 'm'\nbuild.libs = 'm'\n",
    "[params]\ngenerator = '{'\n",
    "[params]\ngenerator = [inf]\n",
    "[plan]\nparams.generator.x = 1\n[params]\ngenerator.x = 2\n",
    "[[module]]\nsorce = 'a.cpp'\n",
    "[[module]]\nlabel = 'x'\n",
    "[[module]]\nsource = 'a.cpp'\ntext = 'int x;'\n",
    "[[module]]\nsource = ['a.cpp']\n",
    "[[module]]\nsource = { fil = 'a.cpp' }\n",
    "[[module]]\nsource = { file = 'a.cpp', text = '' }\n",
    "[[module]]\nsource = 'z.cpp'\n",
    "[[module]]\nsource = 'forms'\n",
    "[[module]]\nsource = '*.f90'\n",
    "[[module]]\nsource = 'a.cpp'\nheader = 'a.h'\n",
    "[[module]]\ntext = ''\n",
    "[[module]]\ntext = ''\nname = 'größe'\n",
    "[[module]]\nsource = 'a.cpp'\nlabel = 'two words'\n",
    "[[module]]\nsource = 'größe.cpp'\n",
    "[[module]]\nsource = 'a.cpp'\nlabel = ''\n",
    "[[module]]\nsource = 'a.cpp'\nlabel = ' x'\n",
    "[[module]]\nsource = 'a.cpp'\nlabel = 'x:y'\nname = 'x'\n",
    "[[module]]\nsource = 'a.cpp'\nlabel = \"a\\u001b[31m\"\nname = 'x'\n",
    "[[module]]\nsource = 'a.cpp'\nkey = 'nam'\n",
    "[[module]]\nsource = 'a.cpp'\nlanguage = 'fotran'\n",
    "[[module]]\nentry = '../x'\n",
    "[[module]]\nsource = 'a.cpp'\n[[module]]\nsource = 'a.cpp'\n",
    "[[module]]\nsource = '?.c*'\nlabel = 'x'\n",
    "[[module]]\nsource = 'a.cpp'\nneeds = ['b', 'elemnts']\n[[module]]\nname = 'elements'\ntext = ''\n",
    "[[module]]\nsource = 'a.cpp'\nneeds = [\n  'a',\n]\n",
    "[[module]]\nsource = 'a.cpp'\nneeds = 'b'\n[[module]]\nsource = 'b.c'\nafter = 'c'\n\
     [[module]]\nname = 'c'\ntext = ''\nneeds = 'a'\n",
    "[[module]]\nsource = 'form:x.c'\n[[task]]\nlabel = 'forms'\ncommand = 'x'\n",
    "[[module]]\nsource = 'form:x.c'\n[[task]]\nlabel = 'form'\ncommand = 'x'\noutputs = ['y.c']\n",
    "[[module]]\nsource = { task = 'fom', file = 'x.c' }\n[[task]]\nlabel = 'form'\ncommand = 'x'\n",
    "[[module]]\nfor_each = 'forms/*.py'\nsource = 'a.cpp'\nlabel = '{setm}'\n",
    "[[task]]\nlabel = 'x'\n",
    "[[task]]\ncommand = []\n",
    "[[task]]\ncommand = ['x', 1]\n",
    "[[task]]\ncommand = \"x 'y\"\n",
    "[[task]]\ncommand = 'x {degre}'\nparams.degree = 2\n",
    "[[task]]\ncommand = 'x'\nparams.degree = [2]\n",
    "[[task]]\nfor_each = 'forms/*.py'\ncommand = 'x'\nparams.stem = 2\n",
    "[[task]]\nfor_each = 'forms/*.ufl'\ncommand = 'x'\n",
    "[[task]]\ncommand = 'x'\ninputs = ['a.cpp',\n'z.py']\n",
    "[[task]]\ncommand = 'x'\ninputs = ['forms/../b.h', 'b.h']\n",
    "[[task]]\ncommand = 'x'\noutputs = ['*.c']\n",
    "[[task]]\ncommand = 'x'\noutputs = ['../a.c']\n",
    "[[task]]\ncommand = 'x'\noutputs = ['a.c', './a.c']\n",
    "[[task]]\ncommand = 'x'\nenv = { 'A=B' = 'x' }\n",
    "[[task]]\ncommand = 'x'\ntimeout = -1\n",
    "[[task]]\ncommand = 'x'\ntimeout = '1 h'\n",
    "[[task]]\ncommand = 'x'\ninputs = 'b.h'\noutputs = 'b.h'\n",
    "[[task]]\ncommand = 'x'\noutputs = 'o'\ncopy_to = 'd'\n\
     [[task]]\ncommand = 'y'\noutputs = 'o'\ncopy_to = 'd'\n",
    "[[task]]\ncommand = 'x'\noutputs = 'o'\n[[task]]\ncommand = 'y'\noutputs = 'o'\nneeds = 'x'\n",
    "[[module]]\nsource = 'z.cpp'\n[[module]]\nsource = 'a.cpp'\nneed = 'x'\n",
    "[[task]]\nlabel = 'x'\ncomand = 'x'\n[[module]]\nsource = 'x:x.c'\nneeds = 'x'\n",
];

/// Returns mistakes and messages as the golden file has them.
fn shown(dir: &PlanDir) -> String {
    let base = dir.path().display().to_string();
    let mut text = String::new();
    for plan in MISTAKES {
        let error = dir.parse(plan).expect_err(plan);
        assert_eq!(error.kind(), Kind::Params);
        let message = error.message().replace(&base, "/plan");
        text.push_str(&format!("{plan}=> {message}\n"));
        for line in error.log().lines().skip(1) {
            text.push_str(&format!("   {}\n", line.replace(&base, "/plan")));
        }
        text.push('\n');
    }
    text
}

/// `DIJITSO_RENEW_GOLDEN=1` writes the file.
#[test]
fn every_mistake_has_its_line_and_says_what_was_meant() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/file/tests/errors.txt");
    let shown = shown(&PlanDir::new());
    if std::env::var_os("DIJITSO_RENEW_GOLDEN").is_some() {
        fs::write(&golden, &shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(&golden).unwrap());
}

#[test]
fn what_is_no_text_or_no_file_is_an_error() {
    let dir = PlanDir::new();
    let error = parse_plan(b"\n\n# \xff\n", Path::new("p.toml"), dir.path()).unwrap_err();
    assert_eq!(error.message(), "p.toml:3: it is not UTF-8");
    let error = read_plan(&dir.path().join("no.toml")).unwrap_err();
    assert!(error.message().starts_with("cannot read the plan "), "{error}");
    assert!(read_plan(dir.path()).is_err());
}

/// Tables within each other are dropped by recursion.
#[test]
fn keys_of_very_many_parts_are_refused() {
    let dir = PlanDir::new();
    let deep = vec!["a"; 100_000].join(".");
    for text in [format!("{deep} = 1\n"), format!("[{deep}]\n"), format!("x = {{ {deep} = 1 }}\n")] {
        let error = dir.parse(&text).unwrap_err();
        assert_eq!(error.message(), "plan.toml:1: recursion limit");
    }
    assert!(dir.parse(&format!("x = {}", "[".repeat(100_000))).is_err());
    let dots = ".".repeat(100);
    assert!(dir.parse(&format!("[[module]]\nsource = 'a.cpp'\ngenerator.x = '{dots}'\n")).is_ok());
    assert!(dir.parse(&format!("[[task]]\ncommand = 'x'\nparams.x = \"{dots}\" # {dots}\n")).is_ok());
}
