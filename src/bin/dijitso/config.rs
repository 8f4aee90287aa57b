//! `dijitso config [--key KEY]`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::{Map, Value as Json, json};

use dijitso::error::{Error, Kind, Result};
use dijitso::params::Params;
use dijitso::params::schema::{self, KEYS};

use super::Status;
use super::completer;
use super::context::CommandContext;
use super::output::{Out, STRONG};

/// Options of `dijitso config`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show only the value of this key, for example build.cxxflags
    #[arg(long, value_name = "SECTION.NAME", add = completer::keys())]
    key: Option<String>,
}

impl Arguments {
    /// Writes one value, or a config file that sets all values, with their sources in comments.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let params = context.params()?;
        let out = &mut context.out;
        match &self.key {
            Some(key) => one(key, &params, out)?,
            None if out.json => out.document(&all(&params)),
            None => file(&params, out),
        }
        Ok(Status::Done)
    }
}

fn one(key: &str, params: &Params, out: &mut Out) -> Result<()> {
    let value = params.get(key).ok_or_else(|| {
        let nearest = schema::nearest(key);
        let key: String = key.chars().take(80).collect();
        Error::new(Kind::Params, format!("there is no parameter \"{key}\"; did you mean \"{nearest}\"?"))
    })?;
    if out.json {
        out.document(&described(key, params));
    } else {
        out.line(value);
    }
    Ok(())
}

/// Returns a parameter as JSON: key, value, source, help.
fn described(key: &str, params: &Params) -> Json {
    let value = match key.split_once('.') {
        // A member of an object in `generator` may have dots in its name.
        Some((section, name)) => params.to_json()[section][name].clone(),
        None => params.to_json()[key].clone(),
    };
    let origin = params.origin(key).map(ToString::to_string);
    let help = schema::find(key).map(|at| KEYS[at].help);
    json!({ "key": key, "value": value, "origin": origin, "help": help })
}

fn all(params: &Params) -> Json {
    let keys = KEYS.iter().map(|key| key.name).chain(["generator"]);
    Json::Object(keys.map(|key| (key.to_owned(), described(key, params))).collect::<Map<_, _>>())
}

fn file(params: &Params, out: &mut Out) {
    let mut section = "";
    for key in KEYS.iter() {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            if !section.is_empty() {
                out.line("");
            }
            out.line(out.paint(STRONG, format_args!("[{of}]")));
            section = of;
        }
        let origin = params.origin(key.name).map(ToString::to_string).unwrap_or_default();
        out.line(format_args!("# {}; {origin}", key.help));
        out.line(format_args!("{name} = {}", params.get(key.name).unwrap_or_default()));
    }
    out.line("");
    out.line(out.paint(STRONG, "[generator]"));
    out.line(format_args!("# {}", params.get("generator").unwrap_or_default()));
}
