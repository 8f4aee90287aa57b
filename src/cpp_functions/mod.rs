//! Functions in C and C++ text, with their names and lines. Pure.
//!
//! This is no compiler: it reads strings, comments, character literals, raw strings, preprocessor lines and
//! brackets, and decides from the words before a brace if it opens a namespace, a class, an initialiser or
//! the body of a function. It does not instantiate templates or expand macros. Other text gives fewer
//! functions, never an error.

#![forbid(unsafe_code)]

mod head;
mod lexer;

use std::ops::Range;

use head::Meaning;
use lexer::{Lexer, Token, TokenKind};

/// A function in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name with namespaces and classes: `dolfin::Poisson::evaluate`.
    pub name: String,
    /// Bytes from the beginning (of the line, if only blanks come before) to the closing brace or the
    /// semicolon.
    pub range: Range<usize>,
    /// Bytes up to the body.
    pub head: Range<usize>,
    /// First line, counted from 1.
    pub line: usize,
    /// Last line.
    pub end_line: usize,
    /// True if it has a body; false if it is only declared.
    pub is_defined: bool,
}

impl Function {
    /// Returns true if `name` may mean this function: `evaluate`, `Poisson::evaluate` or the whole name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let rest = self.name.strip_suffix(name);
        !name.is_empty() && rest.is_some_and(|before| before.is_empty() || before.ends_with("::"))
    }
}

/// An open block.
#[derive(Clone, Debug)]
enum Block {
    /// A namespace, class or linkage block: functions may be in it.
    Container { name: String, head: Vec<Token> },
    /// The body of a function; `head` as in [`Function`].
    Body { name: String, head: Range<usize> },
    /// Anything else. The statement goes on behind it: `int x[] = {1}, y;`
    Other,
}

/// ParserState of the parser.
#[derive(Clone, Debug, Default)]
struct ParserState {
    blocks: Vec<Block>,
    /// Tokens since the last statement.
    head: Vec<Token>,
    /// Number of open parentheses and brackets.
    nesting: usize,
}

/// An open `#if`.
struct Branch {
    before: ParserState,
    /// ParserState at the end of the first branch that is compiled.
    first: Option<ParserState>,
    /// True if the lines of the present branch are never compiled.
    dead: bool,
}

struct Parser<'a> {
    text: &'a [u8],
    state: ParserState,
    branches: Vec<Branch>,
    functions: Vec<Function>,
}

/// Returns the functions of a text, in order.
#[must_use]
pub fn functions(text: &[u8]) -> Vec<Function> {
    let mut parser =
        Parser { text, state: ParserState::default(), branches: Vec::new(), functions: Vec::new() };
    let mut lexer = Lexer::new(text);
    while let Some(token) = lexer.next() {
        if token.kind == TokenKind::Directive {
            if parser.directive(&token) {
                lexer.skip_dead_lines();
            }
        } else {
            parser.token(token);
        }
    }
    // A body that is not closed goes to the end of the text.
    while let Some(block) = parser.state.blocks.pop() {
        if let Block::Body { name, head } = block {
            parser.found(name, &head, text.len(), true);
        }
    }
    let mut functions = parser.functions;
    functions.sort_by_key(|function| function.range.start);
    number_lines(text, &mut functions);
    functions
}

impl Parser<'_> {
    /// Follows a directive: all branches of a condition begin in the same state, and the text after it
    /// continues from the end of the first one. Returns true if the lines of a branch are never compiled.
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
        match (self.state.blocks.last(), token.kind) {
            (Some(Block::Body { .. } | Block::Other), TokenKind::Mark(b'{')) => {
                self.state.blocks.push(Block::Other)
            }
            (Some(Block::Body { .. } | Block::Other), TokenKind::Mark(b'}')) => self.close(&token),
            (Some(Block::Body { .. } | Block::Other), _) => {}
            (_, TokenKind::Mark(mark)) => self.mark(mark, token),
            _ => self.state.head.push(token),
        }
    }

    /// Follows a character outside of bodies.
    fn mark(&mut self, mark: u8, token: Token) {
        let nested = self.state.nesting > 0;
        match mark {
            b'(' | b'[' => self.state.nesting += 1,
            b')' | b']' => self.state.nesting = self.state.nesting.saturating_sub(1),
            b'}' => return self.close(&token),
            // Braces in parentheses are default arguments.
            b'{' if nested => self.state.blocks.push(Block::Other),
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
        let block = match head::meaning(self.text, &self.state.head) {
            Meaning::Container(name) => Block::Container { name, head: std::mem::take(&mut self.state.head) },
            Meaning::Function(name) => {
                let from = self.state.head.first().map_or(brace.range.start, |token| token.range.start);
                let name = self.qualified(&name);
                self.state.head.clear();
                Block::Body { name, head: from..brace.range.start }
            }
            Meaning::Other => {
                // It is part of the statement: `: a{1}` is followed by the next member or by the body.
                self.state.head.push(brace.clone());
                Block::Other
            }
        };
        self.state.blocks.push(block);
    }

    fn close(&mut self, brace: &Token) {
        match self.state.blocks.pop() {
            Some(Block::Body { name, head }) => self.found(name, &head, brace.range.end, true),
            // `class A { ... } a;`: the statement goes on.
            Some(Block::Container { head, .. }) => {
                self.state.nesting = 0;
                self.state.head.clear();
                if head::makes_type(self.text, &head) {
                    self.state.head.push(brace.clone());
                }
            }
            Some(Block::Other)
                if !matches!(self.state.blocks.last(), Some(Block::Body { .. } | Block::Other)) =>
            {
                self.state.head.push(brace.clone());
            }
            Some(Block::Other) => {}
            // An extra brace.
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
        let around = self.state.blocks.iter().filter_map(|block| match block {
            Block::Container { name, .. } if !name.is_empty() => Some(name.as_str()),
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
