//! `dijitso config [--key KEY]`.

#![forbid(unsafe_code)]

use std::io::Write;

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::params::Params;
use crate::params::schema::{self, KEYS};

/// Options of `dijitso config`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show the value of this key alone, as "build.cxxflags".
    #[arg(long, value_name = "SECTION.NAME")]
    key: Option<String>,
}

/// Writes one value, or a config file that would give all values, with their origins in comments.
pub(super) fn run(arguments: &Arguments, params: &Params, out: &mut Vec<u8>) -> Result<()> {
    if let Some(key) = &arguments.key {
        let value = params.get(key).ok_or_else(|| {
            let nearest = schema::nearest(key);
            Error::new(Kind::Params, format!("there is no parameter \"{key}\"; did you mean \"{nearest}\"?"))
        })?;
        return line(out, &value);
    }
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            if !section.is_empty() {
                line(out, "")?;
            }
            line(out, &format!("[{of}]"))?;
            section = of;
        }
        let origin = params.origin(key.name).map(ToString::to_string).unwrap_or_default();
        line(out, &format!("# {}; {origin}", key.help))?;
        line(out, &format!("{name} = {}", params.get(key.name).unwrap_or_default()))?;
    }
    line(out, "\n[generator]")?;
    line(out, &format!("# {}", params.get("generator").unwrap_or_default()))
}

fn line(out: &mut Vec<u8>, text: &str) -> Result<()> {
    writeln!(out, "{text}").map_err(|error| Error::new(Kind::Internal, error.to_string()))
}
