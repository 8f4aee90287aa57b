//! Writes the seeds of the targets with binary input: `cargo run -- CORPUS_DIRECTORY`. Run it again if the
//! version of a format changes. The seeds of the other targets are written by hand.

#![forbid(unsafe_code)]

use std::path::Path;
use std::{env, fs, io};

use dijitso::cache::EntryFiles;
use dijitso::cache::build_spec::BuildSpec;
use dijitso::cache::closure::Closure;
use dijitso::cache::record::{EntryRecord, FileDigest, append_record};
use dijitso::codec::Writer;
use dijitso::error::{Error, Kind};
use dijitso::signature::Toolchain;

fn record() -> EntryRecord {
    EntryRecord {
        signature: "s".to_owned(),
        name: "n".to_owned(),
        header: Some(FileDigest { size: 3, sha256: "0a".repeat(32) }),
        source_sha256: "0b".repeat(32),
        text: None,
        dependencies: vec!["a_1".to_owned(), "b".to_owned()],
        nested: vec!["c".to_owned()],
        inputs: Vec::new(),
        toolchain: Toolchain {
            identity: "gcc version 12".to_owned(),
            target: "x86_64-linux-gnu".to_owned(),
            isa: String::new(),
        },
        command: vec!["c++".to_owned(), "-O2".to_owned()],
        build_spec: BuildSpec::default(),
        generator: "{}".to_owned(),
        built_at: 1_700_000_000,
        seconds: 0.25,
        host: "h".to_owned(),
        dijitso: "0.1.0".to_owned(),
    }
}

fn closures() -> [Closure; 3] {
    let entry = |signature: &str, rest: bool| EntryFiles {
        signature: signature.to_owned(),
        library: b"\x7fELF".to_vec(),
        header: rest.then(|| b"h".to_vec()),
        source: Some((b"gz".to_vec(), rest)),
        log: rest.then(|| b"l".to_vec()),
    };
    let error = Error::new(Kind::Compile, "no").with_log("log").with_path("/p").on_rank(1, 2, "h");
    [
        Closure::Entries(vec![entry("a_1", true), entry("b", false)]),
        Closure::Entries(Vec::new()),
        Closure::Failure(error),
    ]
}

fn main() -> io::Result<()> {
    let corpus =
        env::args().nth(1).ok_or_else(|| io::Error::other("usage: cargo run -- CORPUS_DIRECTORY"))?;
    let put = |target: &str, name: &str, data: &[u8]| {
        let dir = Path::new(&corpus).join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), data)
    };
    for (closure, name) in closures().iter().zip(["entries", "nothing", "failure"]) {
        let blob = closure.encode().map_err(io::Error::other)?;
        put("closure_blob", name, &blob)?;
        // Leave out magic, version and length in front, and the digest at the end.
        put("closure_payload", name, &blob[24..blob.len() - 32])?;
    }
    put(
        "entry_file",
        "entry",
        &append_record(b"\x7fELF image".to_vec(), &record()).map_err(io::Error::other)?,
    )?;
    let json = serde_json::to_vec(&record()).map_err(io::Error::other)?;
    for (choice, name) in [(b'=', "right"), (b'9', "short"), (b'+', "long"), (b'*', "huge")] {
        put("entry_record", name, &[&[choice], json.as_slice()].concat())?;
    }
    put("error_bytes", "error", &Error::new(Kind::Load, "m").with_log("l").with_path("p").to_bytes())?;
    let mut fields = Writer::new(&[4, 0, 1, 2, 3]);
    fields.u32(7);
    fields.u64(u64::MAX);
    fields.bytes(b"bytes");
    fields.bytes("t\u{e4}xt".as_bytes());
    put("codec_reader", "each-kind", &fields.finish())
}
