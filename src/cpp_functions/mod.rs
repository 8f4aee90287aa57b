//! Functions in C and C++ text: where they begin and end, and what they are called. Pure.
//!
//! This is no compiler: it knows strings, comments, character literals, raw strings, preprocessor lines and brackets, and
//! from the words before a brace whether that begins a namespace, a class, an initialiser or the body of a function.
//! Templates are not instantiated and macros not expanded. Text that is no C++ gives fewer functions, never an error.

#![forbid(unsafe_code)]

mod head;
mod lexer;

use std::ops::Range;

use head::Meaning;
use lexer::{Kind, Lexer, Token};

/// A function in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name with the namespaces and classes around it: `dolfin::Poisson::evaluate`.
    pub name: String,
    /// The bytes from the beginning (of the line, if nothing else stands before) to the closing brace or the semicolon.
    pub range: Range<usize>,
    /// The bytes up to the body.
    pub head: Range<usize>,
    /// The line on which it begins; the first one is 1.
    pub line: usize,
    /// The line on which it ends.
    pub end_line: usize,
    /// Whether it has a body, or is only declared.
    pub is_defined: bool,
}

impl Function {
    /// Whether a person who writes `name` may mean this one: `evaluate`, `Poisson::evaluate` or the whole.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let rest = self.name.strip_suffix(name);
        !name.is_empty() && rest.is_some_and(|before| before.is_empty() || before.ends_with("::"))
    }
}

/// What a brace has opened.
#[derive(Clone, Debug)]
enum Scope {
    /// A namespace, class or linkage block: functions may be in it.
    Container { name: String, head: Vec<Token> },
    /// The body of a function; `head` as in [`Function`].
    Body { name: String, head: Range<usize> },
    /// Anything else. What came before goes on behind it: `int x[] = {1}, y;`
    Other,
}

/// Where the parser is.
#[derive(Clone, Debug, Default)]
struct State {
    scopes: Vec<Scope>,
    /// Tokens since the last statement.
    head: Vec<Token>,
    /// Parentheses and brackets that are open in it.
    nesting: usize,
}

/// An `#if` that is open.
struct Branch {
    before: State,
    /// The state at the end of the first branch that is compiled.
    first: Option<State>,
    /// Whether the lines just now are never compiled.
    dead: bool,
}

struct Parser<'a> {
    text: &'a [u8],
    state: State,
    branches: Vec<Branch>,
    functions: Vec<Function>,
}

/// The functions of a text, in their order.
#[must_use]
pub fn functions(text: &[u8]) -> Vec<Function> {
    let mut parser = Parser { text, state: State::default(), branches: Vec::new(), functions: Vec::new() };
    let mut lexer = Lexer::new(text);
    while let Some(token) = lexer.next() {
        if token.kind == Kind::Directive {
            if parser.directive(&token) {
                lexer.pass_dead_lines();
            }
        } else {
            parser.token(token);
        }
    }
    // A body that is not closed goes to the end of the text.
    while let Some(scope) = parser.state.scopes.pop() {
        if let Scope::Body { name, head } = scope {
            parser.found(name, &head, text.len(), true);
        }
    }
    let mut functions = parser.functions;
    functions.sort_by_key(|function| function.range.start);
    number_lines(text, &mut functions);
    functions
}

impl Parser<'_> {
    /// The branches of a condition begin in the same state, and what follows it goes on from the end of the first one.
    /// True when the lines of a branch are never compiled.
    fn directive(&mut self, token: &Token) -> bool {
        let line = &self.text[token.range.clone()];
        let line = line.strip_prefix(b"#").unwrap_or(line).trim_ascii();
        let end = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
        let (word, condition) = line.split_at(end);
        match word {
            b"if" | b"ifdef" | b"ifndef" => {
                let dead = word == b"if" && condition.trim_ascii() == b"0";
                self.branches.push(Branch { before: self.state.clone(), first: None, dead });
                dead
            }
            b"else" | b"elif" | b"elifdef" | b"elifndef" => {
                if let Some(branch) = self.branches.last_mut() {
                    let ended = std::mem::replace(&mut self.state, branch.before.clone());
                    if !std::mem::take(&mut branch.dead) {
                        branch.first.get_or_insert(ended);
                    }
                }
                false
            }
            b"endif" => {
                if let Some(Branch { first: Some(first), .. }) = self.branches.pop() {
                    self.state = first;
                }
                false
            }
            _ => false,
        }
    }

    fn token(&mut self, token: Token) {
        match (self.state.scopes.last(), token.kind) {
            (Some(Scope::Body { .. } | Scope::Other), Kind::Mark(b'{')) => {
                self.state.scopes.push(Scope::Other)
            }
            (Some(Scope::Body { .. } | Scope::Other), Kind::Mark(b'}')) => self.close(&token),
            (Some(Scope::Body { .. } | Scope::Other), _) => {}
            (_, Kind::Mark(mark)) => self.mark(mark, token),
            _ => self.state.head.push(token),
        }
    }

    /// A character outside of bodies.
    fn mark(&mut self, mark: u8, token: Token) {
        let nested = self.state.nesting > 0;
        match mark {
            b'(' | b'[' => self.state.nesting += 1,
            b')' | b']' => self.state.nesting = self.state.nesting.saturating_sub(1),
            b'}' => return self.close(&token),
            // Braces in parentheses are default arguments.
            b'{' if nested => self.state.scopes.push(Scope::Other),
            b'{' => return self.open(&token),
            b';' => return self.end_statement(&token),
            b':' if !nested && token.range.len() == 1 && head::is_access(self.text, &self.state.head) => {
                return self.state.head.clear();
            }
            _ => {}
        }
        self.state.head.push(token);
    }

    fn open(&mut self, brace: &Token) {
        let scope = match head::meaning(self.text, &self.state.head) {
            Meaning::Container(name) => Scope::Container { name, head: std::mem::take(&mut self.state.head) },
            Meaning::Function(name) => {
                let from = self.state.head.first().map_or(brace.range.start, |token| token.range.start);
                let name = self.qualified(&name);
                self.state.head.clear();
                Scope::Body { name, head: from..brace.range.start }
            }
            Meaning::Other => {
                // It has a place in the statement: `: a{1}` is followed by the next member or by the body.
                self.state.head.push(brace.clone());
                Scope::Other
            }
        };
        self.state.scopes.push(scope);
    }

    fn close(&mut self, brace: &Token) {
        match self.state.scopes.pop() {
            Some(Scope::Body { name, head }) => self.found(name, &head, brace.range.end, true),
            // `class A { ... } a;` is a statement whose beginning is done with.
            Some(Scope::Container { head, .. }) => {
                self.state.nesting = 0;
                self.state.head.clear();
                if head::makes_type(self.text, &head) {
                    self.state.head.push(brace.clone());
                }
            }
            Some(Scope::Other)
                if !matches!(self.state.scopes.last(), Some(Scope::Body { .. } | Scope::Other)) =>
            {
                self.state.head.push(brace.clone());
            }
            Some(Scope::Other) => {}
            // One too many.
            None => {
                self.state.nesting = 0;
                self.state.head.clear();
            }
        }
    }

    fn end_statement(&mut self, semicolon: &Token) {
        if let Some(name) = head::declared(self.text, &self.state.head) {
            let from = self.state.head.first().map_or(semicolon.range.start, |token| token.range.start);
            let name = self.qualified(&name);
            self.found(name, &(from..semicolon.range.end), semicolon.range.end, false);
        }
        self.state.nesting = 0;
        self.state.head.clear();
    }

    fn qualified(&self, name: &str) -> String {
        let around = self.state.scopes.iter().filter_map(|scope| match scope {
            Scope::Container { name, .. } if !name.is_empty() => Some(name.as_str()),
            _ => None,
        });
        around.chain([name]).collect::<Vec<_>>().join("::")
    }

    fn found(&mut self, name: String, head: &Range<usize>, end: usize, is_defined: bool) {
        let line = self.text[..head.start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let blank = self.text[line..head.start].iter().all(u8::is_ascii_whitespace);
        let from = if blank { line } else { head.start };
        let text = self.text[from..head.end].trim_ascii_end();
        self.functions.push(Function {
            name,
            range: from..end,
            head: from..from + text.len(),
            line: 0,
            end_line: 0,
            is_defined,
        });
    }
}

/// Counts lines once for all functions.
fn number_lines(text: &[u8], functions: &mut [Function]) {
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').collect();
    let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
    for function in functions {
        function.line = line(function.range.start);
        function.end_line = line(function.range.end.saturating_sub(1).max(function.range.start));
    }
}

#[cfg(test)]
mod tests;
