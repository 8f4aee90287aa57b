//! Entries of a cache without a build.

use dijitso::cache::build_spec::BuildSpec;
use dijitso::cache::record::{EntryRecord, append_record};
use dijitso::cache::{EntryFiles, file_digest};
use dijitso::signature::Toolchain;

/// The contents of an entry's files.
pub(crate) struct Contents {
    pub(crate) image: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) source: Vec<u8>,
    pub(crate) log: Vec<u8>,
}

/// Returns an entry without dependencies, whose record has the digest of its source.
#[allow(dead_code, reason = "not every test program uses it")]
pub(crate) fn recorded(signature: &str, contents: Contents) -> EntryFiles {
    let record = EntryRecord {
        source_sha256: file_digest(&contents.source).sha256,
        ..record(signature, &[], &contents)
    };
    files(&record, contents)
}

/// Returns an entry that is linked to those of `needs`. Its build took two seconds.
pub(crate) fn entry(signature: &str, needs: &[&str], contents: Contents) -> EntryFiles {
    files(&record(signature, needs, &contents), contents)
}

fn record(signature: &str, needs: &[&str], contents: &Contents) -> EntryRecord {
    EntryRecord {
        signature: signature.to_owned(),
        name: signature.to_owned(),
        header: Some(file_digest(&contents.header)),
        source_sha256: String::new(),
        text: None,
        dependencies: needs.iter().map(|need| (*need).to_owned()).collect(),
        nested: Vec::new(),
        inputs: Vec::new(),
        build_spec: BuildSpec::default(),
        toolchain: Toolchain::unknown(),
        command: Vec::new(),
        generator: "{}".to_owned(),
        built_at: 1,
        seconds: 2.0,
        host: "host".to_owned(),
        dijitso: "0".to_owned(),
    }
}

fn files(record: &EntryRecord, contents: Contents) -> EntryFiles {
    let Contents { image, header, source, log } = contents;
    EntryFiles {
        signature: record.signature.clone(),
        library: append_record(image, record).unwrap(),
        header: Some(header),
        source: Some((source, false)),
        log: Some(log),
    }
}
