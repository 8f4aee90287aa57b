//! Functions come out exactly as they are in the source, whatever is in them.

use super::*;
use proptest::prelude::*;

fn names(text: &str) -> Vec<String> {
    functions(text.as_bytes()).into_iter().map(|function| function.name).collect()
}

fn defined(text: &str) -> Vec<String> {
    functions(text.as_bytes()).into_iter().filter(|f| f.is_defined).map(|f| f.name).collect()
}

fn bodies(text: &str) -> Vec<&str> {
    functions(text.as_bytes()).into_iter().map(|function| &text[function.range]).collect()
}

/// Defect C9 of the original: one brace per line was counted, the lines were joined to one, and numbers began
/// with 0.
#[test]
fn c9_a_function_comes_out_as_it_is_with_its_line() {
    let text = "#include <x>\n\nint a;\n  double f(double x)\n  { if (x) { return 1; } else {\n return 2; } \
                }\nint b;\n";
    let found = functions(text.as_bytes());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].end_line), (4, 6));
    assert_eq!(
        &text[found[0].range.clone()],
        "  double f(double x)\n  { if (x) { return 1; } else {\n return 2; } }"
    );
    assert_eq!(&text[found[0].head.clone()], "  double f(double x)");
}

#[test]
fn braces_in_strings_comments_characters_and_directives_are_none() {
    let body = r##"void f() {
  const char *a = "}}}\"}\\"; char b = '}'; char c = '\''; // }
  /* } */ auto d = R"x(})" } )x"; auto e = u8R"(}
})"; int n = 1'000'000 + 0x1'f; // } \
  }
#define X }
#if 0
  } don't
#else
  g("{");
#endif
  L'}'; u8"}";
}"##;
    assert_eq!(bodies(&format!("int x;\n{body}\nint y;")), [body]);
}

#[test]
fn the_branches_of_a_condition_count_once() {
    let text = "#ifdef A\nvoid f(int) {\n#elif B\nvoid f(char) {\n#else\nvoid f() {\n#endif\n  g();\n}\n\
                void h() {}\n";
    assert_eq!(names(text), ["f", "h"]);
    let text = "#if 0\nvoid f(int) {\n#else\nvoid f() {\n#endif\n}\nvoid h() {}\n";
    assert_eq!(names(text), ["f", "h"]);
    assert_eq!(
        names("void f() {\n#if A\n if (a) {\n#else\n if (b) {\n#endif\n }\n}\nint g() { }"),
        ["f", "g"]
    );
    assert_eq!(names("#ifdef A\nvoid f() {}\n#else\nvoid g() {}\n#endif\nvoid h() {}"), ["f", "g", "h"]);
}

#[test]
fn names_have_their_namespaces_and_classes() {
    let text = r#"
namespace a { namespace b::c {
  template <typename T, int N = 3> class D final : public E<int(int)>, F {
  public:
    explicit D(int x = f({1, 2})) : E{x}, f_(x), g_<T>{1} { }
    ~D() override = default;
    D& operator=(const D& other) { return *this; }
    bool operator()(int a) const noexcept(a == b) { return true; }
    bool operator<(const D& o) const { return a < o.a; }
    operator bool() const { return true; }
    template <typename U> auto get(U u = {}) const -> std::vector<U> { return {u}; }
    virtual void pure() = 0;
    int member{3}; int (*pointer)(int); std::function<void(int)> callback;
  private:
    struct Inner { static int deep() { return 1; } } inner;
  };
  template <> D<int>::D() : x_(1) { }
  void (*signal(int a, void (*b)(int)))(int) { return b; }
}}
extern "C" { void plain(void) { } }
extern "C" int linked() { return 1; }
[[nodiscard]] __attribute__((noinline)) static inline unsigned long attributed(const A& x) __attribute__((pure));
int table[] = { 1, 2 }; auto lambda = [](int x) { return x; }; enum class Color { red, green };
struct ufcx *create(struct arg a) { return 0; }
PYBIND11_MODULE(SIGNATURE, m) { m.def("x", []() { return 1; }); }
MACRO(1) int behind_macro() { return 2; }
typedef int (*function_type)(int);
"#;
    let expected = [
        "a::b::c::D::D",
        "a::b::c::D::~D",
        "a::b::c::D::operator=",
        "a::b::c::D::operator()",
        "a::b::c::D::operator<",
        "a::b::c::D::operator bool",
        "a::b::c::D::get",
        "a::b::c::D::pure",
        "a::b::c::D::Inner::deep",
        "a::b::c::D::D",
        "a::b::c::signal",
        "plain",
        "linked",
        "attributed",
        "create",
        "PYBIND11_MODULE",
        "behind_macro",
    ];
    assert_eq!(names(text), expected);
    let declared: Vec<String> =
        functions(text.as_bytes()).into_iter().filter(|f| !f.is_defined).map(|f| f.name).collect();
    assert_eq!(declared, ["a::b::c::D::~D", "a::b::c::D::pure", "attributed"]);
}

#[test]
fn a_function_is_called_by_its_name_or_the_end_of_it() {
    let found = functions(b"namespace a { struct B { void evaluate() { } }; }");
    for name in ["evaluate", "B::evaluate", "a::B::evaluate"] {
        assert!(found[0].is_called(name), "{name}");
    }
    for name in ["", "valuate", "B", "a::evaluate", "::evaluate"] {
        assert!(!found[0].is_called(name), "{name}");
    }
}

#[test]
fn code_of_ffcx_is_understood() {
    let text = r#"
// This code conforms with the UFC specification version 2018.2.0.dev0
#include <math.h>
#include <ufcx.h>

void tabulate_tensor_integral_1c7f(double* restrict A,
                                    const double* restrict w, const int* restrict entity_local_index)
{
static const double weights_083[1] = { 0.5 };
static const double FE3[1][1][1][3] = {{{{-1.0, 1.0, 0.0}}}};
for (int iq = 0; iq < 1; ++iq)
{
  A[3 * i] = fw0 * FE3[0][0][0][i];
}
}

int form_integral_offsets_form_poisson_a[4] = {0, 1, 1, 1};
ufcx_form form_poisson_a =
{
  .signature = "a}b",
  .form_integrals = NULL,
};
// Alias name
ufcx_form* form_a = &form_poisson_a;
"#;
    assert_eq!(names(text), ["tabulate_tensor_integral_1c7f"]);
    assert_eq!(functions(text.as_bytes())[0].line, 6);
}

#[test]
fn code_of_ffc_and_dolfin_is_understood() {
    let text = r#"
#include "element.h"
element_main::element_main() : ufc::finite_element()
{
    // Do nothing
}

element_main::~element_main()
{
}

const char * element_main::signature() const
{
    return "FiniteElement('Lagrange', triangle, 1) { ";
}

void element_main::evaluate_basis(std::size_t i,
                                  double * values) const
{
    static const double coefficients0[1][1] = { { 1.0 } };
    std::fill_n(values, 1, 0.0);
}

extern "C" ufc::finite_element * create_element_main()
{
  return new element_main();
}
namespace dolfin
{
  class dolfin_expression_0 : public Expression
  {
     public:
       double a;
       dolfin_expression_0()
       {
       }
       void eval(Eigen::Ref<Eigen::VectorXd> values, Eigen::Ref<const Eigen::VectorXd> x) const override
       {
          values[0] = x[0];
       }
       void set_property(std::string name, double _value) override
       {
            if (name == "a") { a = _value; return; }
       throw std::runtime_error("No such property");
       }
  };
}
extern "C" DLL_EXPORT dolfin::Expression * create_dolfin_expression_0()
{
  return new dolfin::dolfin_expression_0;
}
"#;
    let expected = [
        "element_main::element_main",
        "element_main::~element_main",
        "element_main::signature",
        "element_main::evaluate_basis",
        "create_element_main",
        "dolfin::dolfin_expression_0::dolfin_expression_0",
        "dolfin::dolfin_expression_0::eval",
        "dolfin::dolfin_expression_0::set_property",
        "create_dolfin_expression_0",
    ];
    assert_eq!(defined(text), expected);
    for function in functions(text.as_bytes()) {
        let body = &text[function.range.clone()];
        assert!(body.ends_with('}'), "{body}");
        assert_eq!(text[..function.range.start].matches('\n').count() + 1, function.line);
    }
}

#[test]
fn what_is_not_closed_ends_with_the_text() {
    assert_eq!(bodies("void f() { if (x) {"), ["void f() { if (x) {"]);
    assert_eq!(bodies("void f() { \"unclosed }\n }"), ["void f() { \"unclosed }\n }"]);
    assert_eq!(names("void f() { } } } void g() { }"), ["f", "g"]);
    assert_eq!(names("} ) ] ; void g() { }"), ["g"]);
    assert!(functions(b"").is_empty());
}

/// Pieces of a body; whatever stands in them, all braces that count are closed.
fn piece() -> impl Strategy<Value = String> {
    let quiet = "[a-z{}()\"' ;#<>=]{0,8}";
    let plain = prop_oneof![
        Just("x = a < b;".to_owned()),
        Just("auto g = [&](int i) { return v{i}; };".to_owned()),
        Just("n = 1'000'000;".to_owned()),
        Just("c = '\\''; d = '\"'; e = '{';".to_owned()),
        quiet.prop_map(|text| format!("// {text}")),
        quiet.prop_map(|text| format!("// {text}\\\n{text}")),
        quiet.prop_map(|text| format!("/* {text}\n{text} */")),
        quiet.prop_map(|text| format!("s = \"{}\";", text.replace('"', "\\\""))),
        // Anything but its end may stand in it.
        quiet
            .prop_map(|text| text.replace('d', "e"))
            .prop_map(|text| format!("s = R\"d({text}\n)\" {text})d\";")),
        quiet.prop_map(|text| format!("#define M {}\n", text.replace(['"', '\''], ""))),
        Just("#if A\n{\n#else\nif (x) {\n#endif\n}".to_owned()),
        Just("#if 0\n} \" ' (\n#endif\n".to_owned()),
    ];
    plain.prop_recursive(3, 12, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|inner| format!("if (x) {{\n{}\n}}", inner.join("\n")))
    })
}

fn function() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "void f()",
        "static std::vector<int>\n  A::f(int a = 3, B b = {1, {2}}) const",
        "template <typename T = int> T f(T t) noexcept(sizeof(T) == 1)",
        "f() : a_(1), b_{2}, c_<int>{}",
        "extern \"C\" struct x *f(struct y *y)",
    ]);
    (head, prop::collection::vec(piece(), 0..6))
        .prop_map(|(head, pieces)| format!("{head}\n{{\n{}\n}}", pieces.join("\n")))
}

const PIECES: &[&str] = &[
    "{", "}", "(", ")", "<", ">", "f", "operator", "class", "::", ":", ";", "=", "~", "#if 0", "#if x",
    "#else", "#endif", "\n", "\"", "'", "R\"(", "/*", "*/", "//", "\\", "1", "[", "]", "extern", "template",
    "\u{e9}", " ",
];

proptest! {
    #[test]
    fn functions_come_out_exactly(
        parts in prop::collection::vec(function(), 1..5),
        between in "[a-z =;\n]{0,5}",
    ) {
        // Whole statements.
        let between = if between.trim().is_empty() { "\n".to_owned() } else { format!("\n{between};\n") };
        let text = parts.join(&between);
        let found = functions(text.as_bytes());
        let defined = found.iter().filter(|f| f.is_defined);
        let shown: Vec<&str> = defined.map(|f| &text[f.range.clone()]).collect();
        prop_assert_eq!(shown, parts.iter().map(String::as_str).collect::<Vec<_>>());
        for function in found {
            prop_assert_eq!(function.line, text[..function.range.start].matches('\n').count() + 1);
            prop_assert_eq!(function.end_line, text[..function.range.end].matches('\n').count() + 1);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = text.concat();
        for function in functions(text.as_bytes()) {
            prop_assert!(function.range.end <= text.len() && function.head.end <= function.range.end);
            prop_assert!(function.head.start == function.range.start && function.line <= function.end_line);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = functions(&bytes);
    }
}
