//! Plans that are written and read back, and files that are no plans.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

/// Text that tries the quotes of TOML, patterns and words in braces.
fn text() -> impl Strategy<Value = String> {
    "([a-z]|[ äß\"'\\\\\n\t{}$*?:.\\[\\]]|\\{stem\\}|\\{\\{a\\}\\}|\u{1F980}|\u{7f}){0,10}"
}

fn label() -> impl Strategy<Value = String> {
    "[a-zä]([a-zä0-9 .*()-]{0,6}[a-z0-9])?"
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn generator() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), json().prop_map(|json| json.to_string())]
}

fn settings() -> impl Strategy<Value = BTreeMap<String, String>> {
    let setting = select(vec![
        ("build.cxxflags", "-O2  '-DX=\"a b\"'"),
        ("build.debug", "yes"),
        ("build.language", "c"),
        ("build.libs", ""),
        ("cache.signature", "name"),
        ("build.timeout", "1.5"),
        ("build.include_dirs", "/a '/b c'"),
    ]);
    prop::collection::vec(setting, 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect())
}

/// Sources that need no task.
fn plain_source() -> impl Strategy<Value = SourceDefinition> {
    prop_oneof![
        select(FILES.to_vec()).prop_map(|file| SourceDefinition::File(file.into())),
        text().prop_map(SourceDefinition::Text),
        "[a-z]{1,5}_[0-9a-f]{32}".prop_map(SourceDefinition::Entry),
    ]
}

fn module() -> impl Strategy<Value = ModuleDefinition> {
    let source = prop_oneof![
        plain_source(),
        // The test puts a task here.
        Just(SourceDefinition::Output { task: String::new(), file: String::new() }),
    ];
    let header = prop::option::of(plain_source());
    ("[a-z][a-z0-9_.+-]{0,8}", settings(), generator(), source, header, any::<bool>()).prop_map(
        |(name, params, generator, source, header, keyed_by_text)| ModuleDefinition {
            name,
            params,
            generator,
            source,
            header,
            keyed_by_text,
        },
    )
}

fn task() -> impl Strategy<Value = TaskDefinition> {
    let word = text().prop_map(|text| format!("x{text}"));
    let texts = || prop::collection::btree_map("[a-z.]{1,5}|[a-zä =]{1,4}x", text(), 0..3);
    let env = prop::collection::btree_map("[A-Z_]{1,5}", text(), 0..3);
    let inputs = prop::sample::subsequence(FILES.to_vec(), 0..4);
    let outputs = prop::collection::btree_set("o[a-z {}\\[\\]:ä.-]{0,6}x(/[a-z]{1,3})?", 0..4);
    let timeout = prop::option::of((1..10_000_000_u64).prop_map(Duration::from_millis));
    let copy_to = prop::option::of("[a-z ]{1,5}x");
    let name = prop::option::of(label());
    (prop::collection::vec(word, 1..4), texts(), env, inputs, outputs, timeout, copy_to, name).prop_map(
        |(command, params, env, inputs, outputs, timeout, copy_to, name)| TaskDefinition {
            name: name.unwrap_or_else(|| globs::file_name(&command[0])),
            command,
            params,
            env,
            inputs: inputs.into_iter().map(PathBuf::from).collect(),
            outputs: outputs.into_iter().collect(),
            copy_to: copy_to.map(PathBuf::from),
            timeout,
        },
    )
}

/// Makes a plan whose nodes need earlier ones.
fn plan(nodes: Vec<(String, WorkDefinition, Vec<usize>, bool)>) -> PlanDefinition {
    let mut plan = PlanDefinition { name: "a \"plan\"\n".to_owned(), ..PlanDefinition::default() };
    for (label, work, needs, order_only) in nodes {
        let at = plan.nodes.len();
        if plan.nodes.iter().any(|node: &NodeDefinition| node.label == label) {
            continue;
        }
        let mut earlier: Vec<usize> = needs.iter().filter(|_| at > 0).map(|need| need % at.max(1)).collect();
        earlier.sort_unstable();
        earlier.dedup();
        let mut needs: Vec<String> = earlier.iter().map(|need| plan.nodes[*need].label.clone()).collect();
        let mut tasks = plan.nodes.iter().filter_map(|node| match &node.work {
            WorkDefinition::Task(task) => Some((&node.label, task.outputs.first()?)),
            WorkDefinition::Module(_) => None,
        });
        let output = tasks.next_back().map(|(task, file)| (task.clone(), file.clone()));
        let work = match work {
            WorkDefinition::Module(mut module) => {
                if matches!(module.source, SourceDefinition::Output { .. }) {
                    module.source = match output {
                        Some((task, file)) => {
                            if !needs.contains(&task) {
                                needs.push(task.clone());
                            }
                            SourceDefinition::Output { task, file }
                        }
                        None => SourceDefinition::Text(String::new()),
                    };
                }
                WorkDefinition::Module(module)
            }
            // Outputs of two tasks that a third one needs may have one name.
            WorkDefinition::Task(mut task) => {
                task.outputs = task.outputs.iter().map(|output| format!("{at}{output}")).collect();
                WorkDefinition::Task(task)
            }
        };
        let (needs, after) = if order_only && matches!(work, WorkDefinition::Task(_)) {
            (Vec::new(), needs)
        } else {
            (needs, Vec::new())
        };
        plan.nodes.push(NodeDefinition { label, line: 0, needs, after, work });
    }
    plan
}

proptest! {
    #[test]
    fn any_plan_reads_back_as_it_was(
        nodes in prop::collection::vec(
            (
                label(),
                prop_oneof![module().prop_map(WorkDefinition::Module), task().prop_map(WorkDefinition::Task)],
                prop::collection::vec(any::<usize>(), 0..3),
                any::<bool>(),
            ),
            0..6,
        ),
        params in settings(),
        generator in generator(),
    ) {
        let dir = PlanDir::new();
        let mut plan = PlanDefinition { base: dir.path().to_owned(), params, ..plan(nodes) };
        if !generator.is_empty() {
            plan.params.insert("generator".to_owned(), generator);
        }
        let text = to_toml(&plan).unwrap();
        let mut read = match dir.parse(&text) {
            Ok(read) => read,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{}\n{text}", error.log()))),
        };
        read.nodes.iter_mut().for_each(|node| node.line = 0);
        prop_assert_eq!(&read, &plan, "{}", text);
        prop_assert_eq!(to_toml(&read).unwrap(), text);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let _ = parse_plan(&bytes, Path::new("x"), dir.path());
    }

    /// Files that are nearly plans: lines of plans in any order, with damage.
    #[test]
    fn no_lines_panic(
        lines in prop::collection::vec(
            select(vec![
                "[plan]", "[params]", "[[module]]", "[[task]]", "[module]", "[[module.needs]]", "name = 'x'",
                "label = 'y'", "label = '{stem}'", "source = '*'", "source = 'y:o'", "source.text = ''",
                "source = { task = 'y', file = 'o' }", "text = ''", "entry = 'x_1'", "header = 'b.h'",
                "for_each = 'forms/*'", "command = 'x {a} {stem}'", "command = []",
                "inputs = ['{path}', '**']",
                "outputs = 'o'", "params.a = 1", "params.build.debug = 1", "params = { a = { b = [] } }",
                "generator.a.b = 1", "generator = '[1'", "needs = 'x'", "needs = ['y', {}]", "after = ['y']",
                "env.A = 'b'", "timeout = 1e300", "timeout = nan", "copy_to = ''", "key = 'name'",
                "x = 9e999",
                "language = 'c'", "\"\" = \"\"", "= = [", "\u{0}",
            ]),
            0..14,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = PlanDir::new();
        let text = lines.join("\n");
        if let Ok(plan) = dir.parse(&text) {
            // What was read can be written, and read again.
            let again = dir.parse(&to_toml(&plan).unwrap());
            prop_assert!(again.is_ok(), "{}\n{:?}", text, again);
        }
        // The lines are ASCII.
        let _ = dir.parse(&text[..cut.index(text.len() + 1)]);
    }
}

#[test]
fn a_plan_is_written_as_people_write_one() {
    let dir = PlanDir::new();
    let text = r#"[plan]
name = "poisson"

[params]
build.cxxflags = "-O1"
generator = { degree = 2 }

[[task]]
label = "form-code"
command = ["ffcx", "forms/poisson.py"]
inputs = ["forms/poisson.py"]
outputs = ["poisson.c", "poisson.h"]
env.LC_ALL = "C"
timeout = 60.0

[[module]]
label = "poisson"
source = { task = "form-code", file = "poisson.c" }
header = { task = "form-code", file = "poisson.h" }
key = "name"
needs = ["form-code"]
params.build.language = "c"
generator = { degree = 3 }

[[module]]
label = "square"
text = """
int x;
"""
"#;
    let plan = dir.plan(text);
    assert_eq!(to_toml(&plan).unwrap(), text);
    let file = dir.path().join("written.toml");
    write_plan(&plan, &file).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let elsewhere = dir.path().join("forms/written.toml");
    assert_eq!(write_plan(&plan, &elsewhere).unwrap_err().kind(), Kind::InvalidArgument);
    let mut square = plan.clone();
    square.nodes.drain(..2);
    write_plan(&square, &elsewhere).unwrap();
    let broken = ModuleDefinition {
        name: "x".into(),
        params: BTreeMap::new(),
        generator: "{".into(),
        source: SourceDefinition::Text(String::new()),
        header: None,
        keyed_by_text: true,
    };
    square.nodes[0].work = WorkDefinition::Module(broken);
    assert_eq!(to_toml(&square).unwrap_err().kind(), Kind::InvalidArgument);
}
