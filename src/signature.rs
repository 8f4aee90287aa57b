//! Signatures, which identify libraries in the cache. Pure.
//!
//! ```text
//! signature := name                                         with cache.signature = "name" and no text
//!            | name "_" first 32 hexadecimal digits of SHA-256(key)
//! key       := "dijitso signature" u32 version
//!              bytes name  bytes generator JSON  build parameters (tagged, see BuildParams::write)
//!              bytes "compiler" bytes identity  bytes "target" bytes target
//!              [ bytes "isa" bytes isa ]        if flags stand for the machine that builds
//!              [ bytes "text" bytes text ]      if the call gives the text to be compiled
//!            | "dijitso signature" u32 version   with cache.signature = "name" and a text
//!              bytes name  bytes "text" bytes text
//! text      := SHA-256("dijitso text" u32 version
//!              bytes "code" bytes SHA-256(code)  [ bytes "header" bytes SHA-256(header) ]
//!              bytes "dependencies" u64 count  count * bytes signature)
//! ```
//! Every field has its length before it, so that different keys have different bytes. Any change here raises
//! [`VERSION`]; the golden vectors in the tests are frozen.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::codec::{Digest32, Writer, digest, hex};
use crate::error::{Error, Kind, Result};
use crate::params::resolved::Resolved;

/// Version of signatures, raised when equal input would give another signature.
pub const VERSION: u32 = 2;

/// Longest name, in bytes.
pub const NAME_LIMIT: usize = 200;

/// Longest file name of common file systems, in bytes.
const FILE_NAME_LIMIT: usize = 255;

/// Identity of a compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// Version, as the compiler prints it.
    pub identity: String,
    /// Target machine, as in `x86_64-linux-gnu`.
    pub target: String,
    /// Meaning of flags such as `-march=native`; empty if there is no such flag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub isa: String,
}

/// Identity of a compiler that is missing or prints no version.
const UNKNOWN: &str = "unknown";

impl Toolchain {
    /// Returns the identity of a compiler that is missing or does not answer.
    #[must_use]
    pub fn unknown() -> Self {
        let target = std::env::consts::ARCH.to_owned();
        Self { identity: UNKNOWN.to_owned(), target, isa: String::new() }
    }

    /// Returns true if the compiler is missing or does not answer.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.identity == UNKNOWN
    }
}

/// Source text that a call gives in place of a callback.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceText<'a> {
    /// Source code.
    pub code: &'a [u8],
    /// Header, which the source and dependants may include as `<signature>.h`.
    pub header: Option<&'a [u8]>,
    /// Signatures of libraries to link.
    pub dependencies: &'a [&'a str],
}

impl SourceText<'_> {
    /// Returns the digest that enters the signature.
    #[must_use]
    pub fn digest(&self) -> Digest32 {
        let mut writer = Writer::new(b"dijitso text");
        writer.u32(VERSION);
        writer.bytes(b"code");
        // A digest, because sources may be large.
        writer.bytes(&digest(self.code));
        if let Some(header) = self.header {
            writer.bytes(b"header");
            writer.bytes(&digest(header));
        }
        writer.bytes(b"dependencies");
        writer.u64(self.dependencies.len() as u64);
        self.dependencies.iter().for_each(|signature| writer.bytes(signature.as_bytes()));
        digest(&writer.finish())
    }
}

/// Checks a name: 1 to [`NAME_LIMIT`] bytes of `[A-Za-z0-9_.+-]`, not beginning with `.` or `-`.
///
/// # Errors
/// [`Kind::InvalidArgument`] if the name is not valid.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    let problem = match name.bytes().next() {
        None => "it is empty".to_owned(),
        Some(_) if name.len() > NAME_LIMIT => {
            format!("it has {} bytes, {NAME_LIMIT} are allowed", name.len())
        }
        Some(first @ (b'.' | b'-')) => format!("it begins with '{}'", char::from(first)),
        Some(_) => match name.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
            Some(other) => format!("{other:?} is not one of A-Z a-z 0-9 _ . + -"),
            None => return Ok(()),
        },
    };
    let shown: String = name.chars().take(80).collect();
    Err(Error::new(Kind::InvalidArgument, format!("the name {shown:?} cannot be used: {problem}")))
}

/// Checks a signature from outside before it becomes part of a path: a name, perhaps with its hash.
///
/// # Errors
/// [`Kind::InvalidArgument`] if its name is not valid.
pub fn check_signature(signature: &str) -> Result<()> {
    check_name(name_of(signature))
}

/// Returns the name in a signature.
#[must_use]
pub fn name_of(signature: &str) -> &str {
    match signature.rsplit_once('_') {
        Some((name, hash)) if hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => signature,
    }
}

/// Returns the signature of a name with these parameters. Calls `toolchain` only if it is needed.
///
/// # Errors
/// [`Kind::InvalidArgument`] if the name is not valid; [`Kind::Params`] if parameters make file names too
/// long; those of `toolchain`.
pub fn signature<'a>(
    name: &str,
    params: &Resolved,
    toolchain: impl FnOnce() -> Result<&'a Toolchain>,
) -> Result<String> {
    check_name(name)?;
    let signature = match (params.cache.signature_is_name, &params.text) {
        (true, None) => name.to_owned(),
        (true, Some(text)) => format!("{name}_{}", &text_key_digest(name, text)[..32]),
        (false, _) => format!("{name}_{}", &key_digest(name, params, toolchain()?)[..32]),
    };
    let cache = &params.cache;
    let longest = [
        cache.lib_prefix.len() + cache.lib_basename.len() + cache.lib_postfix.len(),
        cache.inc_postfix.len(),
        cache.src_postfix.len() + ".gz".len(),
        cache.log_postfix.len(),
        "jitfailure-".len(),
    ];
    let length = signature.len() + longest.into_iter().max().unwrap_or_default();
    if length > FILE_NAME_LIMIT {
        let text = format!(
            "{signature} needs file names of {length} bytes; shorten cache.lib_basename and the like"
        );
        return Err(Error::new(Kind::Params, text));
    }
    Ok(signature)
}

/// Returns true if a signature is made of the name alone, and of the text of this digest if there is one:
/// that of a call with `cache.signature = "name"`.
#[must_use]
pub fn is_by_name(signature: &str, name: &str, text: Option<&Digest32>) -> bool {
    match text {
        None => signature == name,
        Some(text) => signature == format!("{name}_{}", &text_key_digest(name, text)[..32]),
    }
}

fn key_digest(name: &str, params: &Resolved, toolchain: &Toolchain) -> String {
    let mut writer = Writer::new(b"dijitso signature");
    writer.u32(VERSION);
    writer.bytes(name.as_bytes());
    writer.bytes(params.generator.as_bytes());
    params.build.write(&mut writer);
    writer.bytes(b"compiler");
    writer.bytes(toolchain.identity.as_bytes());
    writer.bytes(b"target");
    writer.bytes(toolchain.target.as_bytes());
    if !toolchain.isa.is_empty() {
        writer.bytes(b"isa");
        writer.bytes(toolchain.isa.as_bytes());
    }
    if let Some(text) = &params.text {
        writer.bytes(b"text");
        writer.bytes(text);
    }
    hex(&digest(&writer.finish()))
}

/// Returns the digest if the caller answers for all but the text.
fn text_key_digest(name: &str, text: &Digest32) -> String {
    let mut writer = Writer::new(b"dijitso signature");
    writer.u32(VERSION);
    writer.bytes(name.as_bytes());
    writer.bytes(b"text");
    writer.bytes(text);
    hex(&digest(&writer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn params(settings: &[(&str, &str)]) -> Resolved {
        Params::for_test(settings).resolve().unwrap()
    }

    fn of(name: &str, settings: &[(&str, &str)]) -> String {
        on("", name, settings)
    }

    fn on(isa: &str, name: &str, settings: &[(&str, &str)]) -> String {
        let toolchain =
            Toolchain { identity: "gcc 12.2.0".into(), target: "x86_64-linux-gnu".into(), isa: isa.into() };
        signature(name, &params(settings), || Ok(&toolchain)).unwrap()
    }

    #[test]
    fn golden_vectors_are_frozen() {
        assert_eq!(of("poisson", &[]), "poisson_3a134de7a3c2f252be1f6e6f82c06a28");
        let settings = [
            ("build.language", "c"),
            ("build.include_dirs", "/usr/include/x"),
            ("generator", r#"{"degree": 2, "b": [1.5, "x"]}"#),
        ];
        assert_eq!(of("ffcx.form+1", &settings), "ffcx.form+1_a4921b85e0b09873150eac786f2cd403");
    }

    #[test]
    fn golden_vectors_with_native_flags_are_frozen() {
        let settings = [("build.cxxflags", "-shared -fPIC -march=native")];
        assert_eq!(
            on("-march=znver3 -mavx2", "poisson", &settings),
            "poisson_039dd0b802ceac6cd77311e89c87de09"
        );
        assert_ne!(
            on("-march=znver3 -mno-avx2", "poisson", &settings),
            on("-march=znver3", "poisson", &settings)
        );
    }

    fn of_text(text: &SourceText<'_>, settings: &[(&str, &str)]) -> String {
        let toolchain = Toolchain {
            identity: "gcc 12.2.0".into(),
            target: "x86_64-linux-gnu".into(),
            isa: String::new(),
        };
        signature("square", &params(settings).with_text(text.digest()), || Ok(&toolchain)).unwrap()
    }

    #[test]
    fn golden_vectors_of_texts_are_frozen() {
        let text =
            SourceText { code: b"int f();", header: Some(b"#pragma once\n"), dependencies: &["base_1"] };
        assert_eq!(of_text(&text, &[]), "square_db5c8164781424027a6481b86de441c7");
        let by_name = [("cache.signature", "name")];
        assert_eq!(of_text(&text, &by_name), "square_4f7ea5aad1b18e354f594036eaef8586");
        assert_eq!(of_text(&SourceText::default(), &[]), "square_951a9fb7fc67c7a2ec7b407e9cdc1c51");
    }

    #[test]
    fn every_part_of_a_text_changes_the_signature() {
        let part = |code: &'static str, header, dependencies| SourceText {
            code: code.as_bytes(),
            header,
            dependencies,
        };
        let texts = [
            part("a", None, &[]),
            part("b", None, &[]),
            part("", None, &[]),
            part("a", Some(&b""[..]), &[]),
            part("a", Some(b"b"), &[]),
            part("ab", None, &[]),
            part("a", None, &["b"]),
            part("a", None, &["b", "c"]),
            part("a", None, &["c", "b"]),
            part("a", None, &["bc"]),
        ];
        for mode in ["hash", "name"] {
            let settings = [("cache.signature", mode)];
            let mut signatures: Vec<String> = texts.iter().map(|text| of_text(text, &settings)).collect();
            signatures.push(of("square", &settings));
            let different: std::collections::HashSet<_> = signatures.iter().collect();
            assert_eq!(different.len(), signatures.len(), "{mode}");
            assert!(signatures.iter().all(|signature| name_of(signature) == "square"));
        }
        let text = &texts[0];
        assert_ne!(of_text(text, &[]), of_text(text, &[("build.cxxflags", "-O2")]), "flags still count");
    }

    /// Defects W2, W3 and W4 of the original: parameters did not enter the signature, every dictionary had
    /// the same hash, and that had 48 bits.
    #[test]
    fn w2_w3_w4_everything_that_the_build_depends_on_changes_the_signature() {
        let variants: Vec<String> = [
            ("generator", r#"{"degree": 1}"#),
            ("generator", r#"{"degree": 2}"#),
            ("build.cxx", "g++"),
            ("build.cxxflags", "-O2"),
            ("build.include_dirs", "/a /b"),
            ("build.include_dirs", "'/a /b'"),
            ("build.lib_dirs", "/a /b"),
            ("build.libs", "m"),
            ("build.rpath_dirs", "/a"),
            ("build.debug", "true"),
            ("build.language", "c"),
        ]
        .iter()
        .map(|setting| of("n", &[*setting]))
        .chain([of("n", &[]), of("m", &[])])
        .collect();
        let different: std::collections::HashSet<_> = variants.iter().collect();
        assert_eq!(different.len(), variants.len());
        assert!(variants.iter().all(|signature| signature.len() == 2 + 32));
    }

    /// `-I -O2` is not `-I-O2`, and a word of one list is not a word of the next.
    #[test]
    fn fields_do_not_run_into_each_other() {
        assert_ne!(of("n", &[("build.cxxflags", "a b")]), of("n", &[("build.cxxflags", "ab")]));
        assert_ne!(of("n", &[("build.cxx", "g++ a")]), of("n", &[("build.cxxflags", "a")]));
    }

    #[test]
    fn places_do_not_change_the_signature() {
        assert_eq!(of("n", &[]), of("n", &[("cache.cache_dir", "/x"), ("build.timeout", "1")]));
        assert_eq!(of("n", &[]), of("n", &[("parallel.buildon", "root"), ("build.cflags", "-O1")]));
    }

    #[test]
    fn the_name_alone_needs_no_compiler() {
        let params = params(&[("cache.signature", "name")]);
        let signature = signature("ffc_form_1", &params, || panic!("asked for the compiler"));
        assert_eq!(signature.unwrap(), "ffc_form_1");
    }

    /// Defect C17 of the original: `../../evil` went into the path.
    #[test]
    fn c17_names_cannot_leave_the_cache() {
        for name in ["", ".", "..", "../../evil", "a/b", "-o", ".hidden", "a b", "å", "a\n", &"x".repeat(201)]
        {
            assert_eq!(check_name(name).unwrap_err().kind(), Kind::InvalidArgument, "{name}");
        }
        for name in ["a", "A9_.+-", &"x".repeat(200)] {
            check_name(name).unwrap();
        }
        let long = params(&[("cache.lib_basename", &"b".repeat(60))]);
        let unknown = Toolchain::unknown();
        let error = signature(&"x".repeat(200), &long, || Ok(&unknown)).unwrap_err();
        assert_eq!(error.kind(), Kind::Params);
    }
}
