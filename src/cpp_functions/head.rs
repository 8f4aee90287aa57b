//! The meaning of the words before a brace or a semicolon.

#![forbid(unsafe_code)]

use super::lexer::{Token, TokenKind};

/// Block that a brace opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A namespace, class or linkage block, with its name.
    Container(String),
    /// The body of a function of this name.
    Function(String),
    /// An initialiser, an enumeration, anything else.
    Other,
}

/// Words before a parenthesis that are no names of functions.
const NO_NAMES: [&[u8]; 38] = [
    b"__attribute__",
    b"__attribute",
    b"__declspec",
    b"alignas",
    b"_Alignas",
    b"decltype",
    b"__typeof__",
    b"typeof",
    b"noexcept",
    b"throw",
    b"requires",
    b"explicit",
    b"__asm__",
    b"asm",
    b"sizeof",
    b"static_assert",
    b"_Static_assert",
    b"if",
    b"for",
    b"while",
    b"switch",
    b"catch",
    b"return",
    b"void",
    b"bool",
    b"char",
    b"short",
    b"int",
    b"long",
    b"float",
    b"double",
    b"signed",
    b"unsigned",
    b"auto",
    b"const",
    b"volatile",
    b"defined",
    b"__extension__",
];

fn word<'a>(text: &'a [u8], token: &Token) -> &'a [u8] {
    if token.kind == TokenKind::Word { &text[token.range.clone()] } else { b"" }
}

fn is(token: Option<&Token>, mark: u8) -> bool {
    token.is_some_and(|token| token.kind == TokenKind::Mark(mark))
}

/// Returns the index behind the bracket that closes the one at `at`.
fn after_bracket(head: &[Token], at: usize) -> usize {
    let (mut depth, mut next) = (0_usize, at);
    while let Some(token) = head.get(next) {
        match token.kind {
            TokenKind::Mark(b'(' | b'[' | b'{') => depth += 1,
            TokenKind::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        next += 1;
        if depth == 0 {
            break;
        }
    }
    next
}

/// Returns the index behind `<...>` at `at`.
fn after_angles(head: &[Token], at: usize) -> usize {
    let (mut depth, mut next) = (0_usize, at);
    while let Some(token) = head.get(next) {
        match token.kind {
            TokenKind::Mark(b'<') => depth += 1,
            TokenKind::Mark(b'>') => depth = depth.saturating_sub(1),
            TokenKind::Mark(b'(' | b'[' | b'{') => {
                next = after_bracket(head, next);
                continue;
            }
            _ => {}
        }
        next += 1;
        if depth == 0 {
            break;
        }
    }
    next
}

/// Returns true if `<` at `at` begins template arguments: outside of expressions it does, unless it is the
/// name of an operator.
fn begins_angles(text: &[u8], head: &[Token], at: usize) -> bool {
    is(head.get(at), b'<') && at > 0 && {
        let before = &head[at - 1];
        before.kind == TokenKind::Word && word(text, before) != b"operator"
    }
}

/// Returns the index of the declaration, behind `template <...>`, attributes and linkage.
fn beginning(text: &[u8], head: &[Token]) -> usize {
    let mut at = 0;
    loop {
        match head.get(at).map(|token| word(text, token)) {
            Some(b"template") if is(head.get(at + 1), b'<') => at = after_angles(head, at + 1),
            Some(b"__attribute__" | b"__declspec" | b"alignas") if is(head.get(at + 1), b'(') => {
                at = after_bracket(head, at + 1);
            }
            Some(b"extern") if head.get(at + 1).is_some_and(|token| token.kind == TokenKind::Literal) => {
                at += 2
            }
            Some(
                b"typedef" | b"static" | b"inline" | b"export" | b"__extension__" | b"const" | b"constexpr",
            ) => at += 1,
            _ if is(head.get(at), b'[') => at = after_bracket(head, at),
            _ => return at,
        }
    }
}

/// Returns the meaning of a brace behind `head`.
pub(super) fn meaning(text: &[u8], head: &[Token]) -> Meaning {
    let from = beginning(text, head);
    let Some(first) = head.get(from) else {
        let linkage = head.first().is_some_and(|token| word(text, token) == b"extern");
        return if linkage { Meaning::Container(String::new()) } else { Meaning::Other };
    };
    match word(text, first) {
        b"namespace" => return Meaning::Container(path(text, &head[from + 1..])),
        b"class" | b"struct" | b"union" => {
            if let Some(name) = class(text, &head[from + 1..]) {
                return Meaning::Container(name);
            }
        }
        _ => {}
    }
    function(text, head, from, true).map_or(Meaning::Other, Meaning::Function)
}

/// Returns the name in `a::b` or `inline a::b`.
fn path(text: &[u8], head: &[Token]) -> String {
    let words =
        head.iter().map(|token| word(text, token)).filter(|word| !word.is_empty() && *word != b"inline");
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join("::")
}

/// Returns the name of a class; `None` if the words after `class` declare a function that returns one.
fn class(text: &[u8], head: &[Token]) -> Option<String> {
    let mut name = String::new();
    let mut at = 0;
    while let Some(token) = head.get(at) {
        match (token.kind, word(text, token)) {
            (_, b"__attribute__" | b"__declspec" | b"alignas") if is(head.get(at + 1), b'(') => {
                at = after_bracket(head, at + 1);
                continue;
            }
            (TokenKind::Mark(b'['), _) => {
                at = after_bracket(head, at);
                continue;
            }
            // Base classes follow.
            (TokenKind::Mark(b':'), _) if token.range.len() == 1 => break,
            (TokenKind::Mark(b'<'), _) => {
                at = after_angles(head, at);
                continue;
            }
            (TokenKind::Mark(b'(' | b'=' | b'*' | b'&'), _) => return None,
            (TokenKind::Word, b"final") => {}
            (TokenKind::Word, word) if at > 0 && text[head[at - 1].range.clone()] == *b"::" => {
                name.push_str("::");
                name.push_str(&String::from_utf8_lossy(word));
            }
            // Of several words the last is the name: macros come before.
            (TokenKind::Word, word) => name = String::from_utf8_lossy(word).into_owned(),
            _ => {}
        }
        at += 1;
    }
    Some(name)
}

/// Returns the name of the function that `head` declares.
///
/// `body` is true if a brace follows, which may also belong to a member in a constructor's list.
fn function(text: &[u8], head: &[Token], from: usize, body: bool) -> Option<String> {
    let mut at = from;
    while let Some(token) = head.get(at) {
        match token.kind {
            TokenKind::Mark(b'<') if begins_angles(text, head, at) => at = after_angles(head, at),
            TokenKind::Mark(b'(') => {
                let next = after_bracket(head, at);
                if let Some(name) = name_before(text, &head[from..at]) {
                    // A macro with arguments, and no semicolon, before the declaration.
                    let goes_on =
                        at == from + 1 && head.get(next).is_some_and(|token| token.kind == TokenKind::Word);
                    let behind_macro = if goes_on { function(text, head, next, body) } else { None };
                    let own = || is_whole(text, &head[next..], body).then_some(name);
                    return behind_macro.or_else(own);
                }
                // void (*f(int))(double)
                if let Some(name) = returned_pointer(text, head.get(at + 1..next.saturating_sub(1))?) {
                    return Some(name);
                }
                at = next;
            }
            TokenKind::Mark(b'[') => at = after_bracket(head, at),
            TokenKind::Mark(b'=' | b'{' | b'}') => return None,
            TokenKind::Word if word(text, token) == b"operator" => {
                let list = operator_parameters(head, at)?;
                let next = after_bracket(head, list);
                let (start, end) = (token.range.start, head[list - 1].range.end);
                let name = String::from_utf8_lossy(&text[start..end])
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ");
                let name = format!("{}{name}", qualification(text, &head[from..at]));
                return is_whole(text, &head[next..], body).then_some(name);
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns the index of the parenthesis of an operator's parameters: `operator()(int)` has one in its name.
fn operator_parameters(head: &[Token], operator: usize) -> Option<usize> {
    let first =
        head[operator + 1..].iter().position(|token| token.kind == TokenKind::Mark(b'('))? + operator + 1;
    let called = first == operator + 1 && is(head.get(first + 1), b')') && is(head.get(first + 2), b'(');
    Some(if called { first + 2 } else { first })
}

/// Returns the name at the end of `head`, with its classes: `A::f`, `~A`, `A<T>::f`.
fn name_before(text: &[u8], head: &[Token]) -> Option<String> {
    let last = head.last()?;
    let mut at = head.len() - 1;
    // A specialisation: f<int>(...)
    if last.kind == TokenKind::Mark(b'>') {
        let open = head.iter().rposition(|token| token.kind == TokenKind::Mark(b'<'))?;
        at = open.checked_sub(1)?;
    }
    let name = word(text, &head[at]);
    if name.is_empty() || NO_NAMES.contains(&name) {
        return None;
    }
    let mut full = String::from_utf8_lossy(name).into_owned();
    if at > 0 && is(head.get(at - 1), b'~') {
        full.insert(0, '~');
        at -= 1;
    }
    full.insert_str(0, &qualification(text, &head[..at]));
    Some(full)
}

/// Returns `A::B::` at the end of `head`, without template arguments.
fn qualification(text: &[u8], head: &[Token]) -> String {
    let mut parts = Vec::new();
    let mut end = head.len();
    while end > 0 && text[head[end - 1].range.clone()] == *b"::" {
        end -= 1;
        if end > 0 && is(head.get(end - 1), b'>') {
            let mut depth = 0_usize;
            while end > 0 {
                end -= 1;
                match head[end].kind {
                    TokenKind::Mark(b'>') => depth += 1,
                    TokenKind::Mark(b'<') => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        if end == 0 || head[end - 1].kind != TokenKind::Word {
            break;
        }
        end -= 1;
        parts.push(String::from_utf8_lossy(word(text, &head[end])).into_owned());
    }
    parts.iter().rev().map(|part| format!("{part}::")).collect()
}

/// Returns the name of a function that returns a pointer to a function, in `*f(int)`.
fn returned_pointer(text: &[u8], inner: &[Token]) -> Option<String> {
    let list = inner.iter().position(|token| token.kind == TokenKind::Mark(b'('))?;
    let pointer = inner.iter().take(list).any(|token| token.kind == TokenKind::Mark(b'*'));
    if pointer { name_before(text, &inner[..list]) } else { None }
}

/// Returns the tokens outside of brackets, with the closing bracket in place of each pair.
fn flat(head: &[Token]) -> Vec<&Token> {
    let (mut flat, mut at) = (Vec::new(), 0);
    while let Some(token) = head.get(at) {
        at = if let TokenKind::Mark(b'(' | b'[' | b'{') = token.kind {
            after_bracket(head, at)
        } else {
            at + 1
        };
        flat.push(&head[at - 1]);
    }
    flat
}

/// Returns true if the tokens after the parameters fit a function, with its body next.
fn is_whole(text: &[u8], rest: &[Token], body: bool) -> bool {
    let rest = flat(rest);
    let closed = |token: &&&Token| matches!(token.kind, TokenKind::Mark(b')' | b'}'));
    // A constructor's list: a brace behind a name, or behind its template arguments, belongs to that member.
    if rest.iter().any(|token| token.kind == TokenKind::Mark(b':') && token.range.len() == 1) {
        return body && rest.last().filter(closed).is_some();
    }
    match rest.iter().position(|token| token.kind == TokenKind::Mark(b'=')) {
        None => true,
        // = 0, = default, = delete
        Some(at) => {
            let value = rest.get(at + 1).map(|token| &text[token.range.clone()]).unwrap_or_default();
            !body && at + 2 == rest.len() && [&b"0"[..], b"default", b"delete"].contains(&value)
        }
    }
}

/// Returns the name of the function that a statement declares, if it does.
pub(super) fn declared(text: &[u8], head: &[Token]) -> Option<String> {
    let from = beginning(text, head);
    let first = word(text, head.get(from)?);
    let typedef = head.iter().any(|token| word(text, token) == b"typedef");
    if typedef || [&b"using"[..], b"return", b"static_assert", b"_Static_assert"].contains(&first) {
        return None;
    }
    function(text, head, from, false)
}

/// Returns true if `public`, `private` or the like is before a colon.
pub(super) fn is_access(text: &[u8], head: &[Token]) -> bool {
    let words: Vec<&[u8]> = head.iter().map(|token| word(text, token)).collect();
    matches!(words.first(), Some(&(b"public" | b"private" | b"protected" | b"signals"))) && words.len() <= 2
}

/// Returns true if the block behind `head` is a type, after which the statement may go on: `struct {...} a;`
pub(super) fn makes_type(text: &[u8], head: &[Token]) -> bool {
    let from = beginning(text, head);
    let first = head.get(from).map(|token| word(text, token)).unwrap_or_default();
    [&b"class"[..], b"struct", b"union"].contains(&first)
}
