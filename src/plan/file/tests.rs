//! Plan files: what they mean, what their mistakes are called, and that plans survive being written.

mod errors;
mod round_trip;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::plan::definition::{
    ModuleDefinition, NodeDefinition, SourceDefinition, TaskDefinition, WorkDefinition,
};

/// A directory with files that plans may name.
struct PlanDir(tempfile::TempDir);

/// The files of each [`PlanDir`].
const FILES: [&str; 9] = [
    "a.cpp",
    "b.c",
    "b.h",
    "forms/poisson.py",
    "forms/stokes.py",
    "common.py",
    "x y.cpp",
    "größe.cpp",
    "odd[1]*:{stem}.c",
];

impl PlanDir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("forms")).unwrap();
        FILES.iter().for_each(|file| fs::write(dir.path().join(file), "").unwrap());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn parse(&self, text: &str) -> Result<PlanDefinition> {
        parse_plan(text.as_bytes(), Path::new("plan.toml"), self.path())
    }

    fn plan(&self, text: &str) -> PlanDefinition {
        self.parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.log()))
    }

    fn modules(&self, text: &str) -> Vec<(String, Vec<String>, ModuleDefinition)> {
        let module = |node: NodeDefinition| match node.work {
            WorkDefinition::Module(module) => Some((node.label, node.needs, module)),
            WorkDefinition::Task(_) => None,
        };
        self.plan(text).nodes.into_iter().filter_map(module).collect()
    }

    fn tasks(&self, text: &str) -> Vec<(String, TaskDefinition)> {
        let task = |node: NodeDefinition| match node.work {
            WorkDefinition::Task(task) => Some((node.label, task)),
            WorkDefinition::Module(_) => None,
        };
        self.plan(text).nodes.into_iter().filter_map(task).collect()
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn paths(words: &[&str]) -> Vec<PathBuf> {
    words.iter().map(PathBuf::from).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_plan_has_all_that_its_file_says() {
    let dir = PlanDir::new();
    let plan = dir.plan(
        r#"
        [plan]
        name = "poisson"
        params = { "build.cxxflags" = "-O1 -Iinclude" }

        [params]
        build.debug = true
        build.libs = ["m", "c"]
        generator.degree = 2
        generator."x" = { y = [1.5, "z"] }

        [[module]]                     # its task comes later
        label = "poisson"
        source = "form-code:poisson.c"
        header = { task = "form-code", file = "poisson.h" }
        needs = ["elements"]
        after = ["other"]
        params = { "generator" = "{\"degree\": 3}", "build.cflags" = "-O3" }
        key = "name"

        [[task]]
        label = "form-code"
        command = "ffcx 'a b' {degree} common.py"
        inputs = ["common.py", "forms/*.py", "common.py"]
        outputs = ["poisson.c", "./poisson.h"]
        params.degree = 2
        env = { LC_ALL = "C" }
        copy_to = "generated"
        timeout = 1.5

        [[module]]
        name = "elements"
        text = "int {x};"
        language = "c"

        [[module]]
        source = "a.cpp"
        label = "other"
        "#,
    );
    assert_eq!((plan.name.as_str(), plan.base.as_path()), ("poisson", dir.path()));
    let include = format!("-O1 -I{}", dir.path().join("include").display());
    let settings = [
        ("build.cxxflags", include.as_str()),
        ("build.debug", "true"),
        ("build.libs", "m c"),
        ("generator", r#"{"degree":2,"x":{"y":[1.5,"z"]}}"#),
    ];
    assert_eq!(plan.params, map(&settings));
    let facts: Vec<(&str, usize)> = plan.nodes.iter().map(|node| (node.label.as_str(), node.line)).collect();
    assert_eq!(facts, [("poisson", 12), ("form-code", 21), ("elements", 31), ("other", 36)]);
    let output =
        |file: &str| SourceDefinition::Output { task: "form-code".to_owned(), file: file.to_owned() };
    let poisson = ModuleDefinition {
        name: "poisson".to_owned(),
        params: map(&[("build.cflags", "-O3"), ("build.language", "c")]),
        generator: r#"{"degree":3}"#.to_owned(),
        source: output("poisson.c"),
        header: Some(output("poisson.h")),
        keyed_by_text: false,
    };
    assert_eq!(plan.nodes[0].work, WorkDefinition::Module(poisson));
    assert_eq!(plan.nodes[0].needs, ["elements", "form-code"], "the task of the source is one of the needs");
    assert_eq!(plan.nodes[0].after, ["other"]);
    let form_code = TaskDefinition {
        name: "ffcx".to_owned(),
        command: strings(&["ffcx", "a b", "2", "common.py"]),
        params: map(&[("degree", "2")]),
        env: map(&[("LC_ALL", "C")]),
        inputs: paths(&["common.py", "forms/poisson.py", "forms/stokes.py"]),
        outputs: strings(&["poisson.c", "poisson.h"]),
        copy_to: Some("generated".into()),
        timeout: Some(std::time::Duration::from_millis(1500)),
    };
    assert_eq!(plan.nodes[1].work, WorkDefinition::Task(form_code));
    let WorkDefinition::Module(elements) = &plan.nodes[2].work else { panic!("a module") };
    assert_eq!(elements.source, SourceDefinition::Text("int {x};".to_owned()));
    assert!(elements.keyed_by_text && elements.generator.is_empty());
}

#[test]
fn an_empty_file_is_an_empty_plan_with_the_name_of_the_file() {
    let dir = PlanDir::new();
    let plan = dir.plan("");
    assert_eq!((plan.name.as_str(), plan.nodes.len(), plan.params.len()), ("plan", 0, 0));
    let file = dir.path().join("my.plan.toml");
    fs::write(&file, "[[module]]\nsource = 'a.cpp'\n").unwrap();
    let plan = read_plan(&file).unwrap();
    assert_eq!((plan.name.as_str(), plan.base.as_path()), ("my.plan", dir.path()));
    assert_eq!(plan.nodes[0].label, "a");
}

#[test]
fn label_and_name_are_each_others_default() {
    let dir = PlanDir::new();
    let named = |text: &str| {
        let (label, _, module) = dir.modules(text).remove(0);
        (label, module.name)
    };
    let pair = |label: &str, name: &str| (label.to_owned(), name.to_owned());
    assert_eq!(named("[[module]]\nsource = 'a.cpp'"), pair("a", "a"));
    assert_eq!(named("[[module]]\nsource = 'a.cpp'\nlabel = 'l'"), pair("l", "l"));
    assert_eq!(named("[[module]]\nsource = 'a.cpp'\nname = 'n'"), pair("n", "n"));
    assert_eq!(named("[[module]]\nsource = 'x y.cpp'\nlabel = 'größe 1'\nname = 'n'"), pair("größe 1", "n"));
    let signature = "poisson_3a134de7a3c2f252be1f6e6f82c06a28";
    assert_eq!(named(&format!("[[module]]\nentry = '{signature}'")), pair(signature, "poisson"));
}

#[test]
fn a_pattern_makes_a_module_for_each_file() {
    let dir = PlanDir::new();
    let text = r#"
        [[task]]
        for_each = "forms/*.py"
        command = ["ffcx", "{path}", "--name={name}"]
        inputs = ["{path}", "common.py"]
        outputs = ["{stem}.c"]

        [[module]]
        for_each = "forms/*.py"
        label = "lib-{stem}"
        source = "ffcx-{stem}:{stem}.c"
        generator = { form = "{stem}" }

        [[module]]
        source = "?.c*"
        needs = ["lib-stokes"]
        text_of = "x"
        "#
    .replace("        text_of = \"x\"\n", "");
    let tasks = dir.tasks(&text);
    assert_eq!(tasks[1].0, "ffcx-stokes");
    assert_eq!(tasks[1].1.command, ["ffcx", "forms/stokes.py", "--name=stokes.py"]);
    assert_eq!(tasks[1].1.inputs, paths(&["forms/stokes.py", "common.py"]));
    let modules = dir.modules(&text);
    let labels: Vec<&str> = modules.iter().map(|(label, ..)| label.as_str()).collect();
    assert_eq!(labels, ["lib-poisson", "lib-stokes", "a", "b"]);
    let (_, needs, stokes) = &modules[1];
    assert_eq!(needs, &["ffcx-stokes"]);
    assert_eq!(
        stokes.source,
        SourceDefinition::Output { task: "ffcx-stokes".into(), file: "stokes.c".into() }
    );
    assert_eq!(stokes.generator, r#"{"form":"stokes"}"#);
    let language = |at: usize| modules[at].2.params["build.language"].as_str();
    assert_eq!((language(0), language(2), language(3)), ("c", "cxx", "c"));
}

/// Ranks and programs that record into one file may record the same.
#[test]
fn modules_of_one_entry_are_one_node() {
    let dir = PlanDir::new();
    let once = "[[module]]\nlabel = \"f_1\"\nname = \"f\"\nentry = \"f_1\"\n";
    assert_eq!(dir.modules(&once.repeat(3)).len(), 1);
    assert!(dir.parse(&format!("{once}{}", once.replace("entry = \"f_1\"", "entry = \"f_2\""))).is_err());
}

#[test]
fn tables_may_be_written_in_any_way_that_toml_has() {
    let dir = PlanDir::new();
    let a = "params.build.debug = true\nmodule = [{ source = 'a.cpp', needs = 'b' }, { source = 'b.c' }]\n";
    let b = "[[module]]\nsource = { file = 'a.cpp' }\nneeds = ['b']\n[[module]]\nsource = 'b.c'\n\
             [params.build]\ndebug = 'true'\n";
    let plan = |text| {
        let mut plan = dir.plan(text);
        plan.nodes.iter_mut().for_each(|node| node.line = 0);
        plan
    };
    assert_eq!(plan(a), plan(b));
}

/// The time limit is generous: with a quadratic step it would take hours.
#[test]
fn large_plans_are_read_in_linear_time() {
    use std::fmt::Write as _;
    let dir = PlanDir::new();
    let mut text = String::new();
    let size = 10_000;
    for number in 0..size {
        let needs = if number > 0 { format!("needs = [\"t{}\"]\n", number - 1) } else { String::new() };
        write!(text, "[[task]]\nlabel = \"t{number}\"\ncommand = \"c\"\ninputs = [\"forms/*.py\"]\n")
            .unwrap();
        write!(text, "outputs = [\"t{number}.c\"]\n{needs}").unwrap();
        write!(text, "[[module]]\nsource = \"t{number}:t{number}.c\"\nlabel = \"m{number}\"\n").unwrap();
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(dir.plan(&text).nodes.len()));
        let nodes = receiver.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(nodes, Ok(2 * size));
    });
    let unknown = text.replace("needs = [\"t", "needs = [\"no such label ");
    let error = dir.parse(&unknown).unwrap_err();
    assert!(error.message().contains("9998 more mistakes"), "{error}");
}

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Everything that the page shows is a plan, and it has a row for each key.
#[test]
fn the_page_on_plan_files_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/plan-files.md")).unwrap();
    let dir = PlanDir::new();
    for folder in ["kernels", "include", "templates"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for file in [
        "kernels/mass.cpp",
        "kernels/stiffness.cpp",
        "include/stiffness.h",
        "templates/a",
        "tabulate.py",
        "generate.py",
    ] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let nodes: Vec<usize> = blocks(&page, "toml").iter().map(|block| dir.plan(block).nodes.len()).collect();
    assert_eq!(nodes, [1, 2, 3, 4, 4]);
    for (table, keys) in [("`[[module]]`", MODULE_KEYS), ("`[[task]]`", TASK_KEYS)] {
        let (_, rest) = page.split_once(&format!("### {table}\n")).unwrap();
        let section = rest.split("\n### ").next().unwrap();
        let rows: Vec<&str> =
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let mut keys: Vec<&str> = keys.to_vec();
        let mut found = rows;
        keys.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, keys, "{table}");
    }
}
