//! Parameters: defaults < config file < environment < caller, with the source of each value.

#![forbid(unsafe_code)]

pub mod compared;
mod config;
mod environment;
mod occupied;
mod resolve;
pub mod resolved;
pub mod schema;
pub mod setting;
pub mod value;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value as Json};

use crate::error::{Error, Kind, Result};
use crate::sync::lock;

pub use environment::{Environment, PREFIX};
use schema::{KEYS, SECTIONS};
use value::Value;

/// Source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The default.
    Default,
    /// This config file.
    Config(PathBuf),
    /// This environment variable.
    Environment(&'static str),
    /// The calling program.
    Caller,
}

impl std::fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Config(path) => write!(f, "config file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Caller => f.write_str("caller"),
        }
    }
}

/// A value and its source.
type ValueAndOrigin = (Value, ValueOrigin);

/// Values of all parameters. Copies share what they have in common.
#[derive(Clone, Debug)]
pub struct Params {
    /// In the order of the keys.
    values: Arc<Vec<Arc<ValueAndOrigin>>>,
    generator: Arc<(Json, ValueOrigin)>,
    home: Option<Arc<str>>,
    cwd: Arc<Path>,
}

/// The parameters that were made last from an environment and a config file.
struct LastMade {
    environment: Arc<Environment>,
    config: Option<Arc<config::Config>>,
    params: Params,
}

/// The results of the last merges, by parameters and text: programs merge the same text for each call.
struct LastMerged {
    before: Params,
    text: String,
    after: Params,
}

/// The number of merges that are remembered.
const MERGES: usize = 4;

/// The longest text that is remembered.
const LONGEST_MERGED: usize = 64 << 10;

impl Params {
    /// Returns the defaults, changed by the config file and the environment of this process.
    ///
    /// # Errors
    /// [`Kind::Params`] if a config file or variable cannot be used.
    pub fn new() -> Result<Self> {
        Self::of_environment(&Arc::new(Environment::of_process()?))
    }

    /// Does the same for a given environment. If environment and config file are those of the last call, the result
    /// is, too.
    ///
    /// # Errors
    /// [`Kind::Params`] if a config file or variable cannot be used.
    pub fn of_environment(environment: &Arc<Environment>) -> Result<Self> {
        static LAST: Mutex<Option<LastMade>> = Mutex::new(None);
        let config = config::discover(environment)?;
        if let Some(last) = &*lock(&LAST)
            && (Arc::ptr_eq(&last.environment, environment) || last.environment == *environment)
            && last.config == config
        {
            return Ok(last.params.clone());
        }
        let params = Self::with_config(environment, config.as_deref())?;
        let environment = Arc::clone(environment);
        *lock(&LAST) = Some(LastMade { environment, config, params: params.clone() });
        Ok(params)
    }

    /// Does the same without a look at earlier results.
    ///
    /// # Errors
    /// [`Kind::Params`] if a config file or variable cannot be used.
    pub fn in_environment(environment: &Environment) -> Result<Self> {
        Self::with_config(environment, config::discover(environment)?.as_deref())
    }

    fn with_config(environment: &Environment, config: Option<&config::Config>) -> Result<Self> {
        let default = |key: &schema::Key| {
            let value = key.kind.parse(key.default, None).expect("a test parses every default");
            Arc::new((value, ValueOrigin::Default))
        };
        let mut params = Self {
            values: Arc::new(KEYS.iter().map(default).collect()),
            generator: Arc::new((Json::Object(Map::new()), ValueOrigin::Default)),
            home: environment.home().map(Arc::from),
            cwd: Arc::from(environment.cwd.as_path()),
        };
        if let Some(dir) = environment.default_cache_dir() {
            params.assign("cache.cache_dir", &dir, &ValueOrigin::Default)?;
        }
        if let Some(dir) = environment.default_slots_dir() {
            params.assign("build.slots_dir", &dir, &ValueOrigin::Default)?;
        }
        if let Some(config) = config {
            params.assign_config(config)?;
        }
        for key in KEYS.iter() {
            let Some(variable) = key.environment else { continue };
            if let Some(text) = environment.variable(variable) {
                let origin = ValueOrigin::Environment(variable);
                params.assign(key.name, text, &origin).map_err(|error| error.context(&origin.to_string()))?;
            }
        }
        let origin = params.origin("cache.cache_dir").cloned().unwrap_or(ValueOrigin::Default);
        let is_default = origin == ValueOrigin::Default;
        if let Some(dir) = occupied::instead_of(params.text("cache.cache_dir"), is_default) {
            params.assign("cache.cache_dir", &dir, &origin)?;
        }
        Ok(params)
    }

    /// Returns true if these parameters resolve to the same as others.
    fn is_same(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
            Arc::ptr_eq(a, b) || a == b
        }
        let values = || self.values.iter().zip(&*other.values).all(|(a, b)| same(a, b));
        self.cwd == other.cwd
            && same(&self.generator, &other.generator)
            && (Arc::ptr_eq(&self.values, &other.values) || values())
    }

    /// Sets the values in the text of a config file; `path` is its source. Changes nothing on an error.
    ///
    /// # Errors
    /// [`Kind::Params`] for text that is not an INI file, an unknown key or a wrong type.
    pub fn apply_config(&mut self, path: &Path, text: &str) -> Result<()> {
        let mut changed = self.clone();
        changed.assign_config(&config::parse(path.to_owned(), text)?)?;
        *self = changed;
        Ok(())
    }

    fn assign_config(&mut self, config: &config::Config) -> Result<()> {
        let origin = ValueOrigin::Config(config.path.clone());
        for (section, name, text) in &config.settings {
            let name = format!("{}.{name}", section.to_ascii_lowercase());
            self.assign(&name, text, &origin).map_err(|error| error.context(&origin.to_string()))?;
        }
        Ok(())
    }

    /// Sets a value from text. Changes nothing on an error.
    ///
    /// `generator` takes any JSON; `generator.NAME` sets one member of it, from JSON or else as a string.
    ///
    /// # Errors
    /// [`Kind::Params`] for an unknown key (with the nearest valid one) or a wrong type.
    pub fn set(&mut self, key: &str, text: &str) -> Result<()> {
        self.assign(key, text, &ValueOrigin::Caller)
    }

    fn assign(&mut self, name: &str, text: &str, origin: &ValueOrigin) -> Result<()> {
        if name == "generator" {
            let json = serde_json::from_str(text).map_err(|error| invalid(name, &error.to_string()))?;
            self.generator = Arc::new((json, origin.clone()));
            return Ok(());
        }
        if let Some(member) = name.strip_prefix("generator.") {
            let json = serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
            if !self.generator.0.is_object() {
                return Err(invalid(name, "the generator parameters are not a JSON object"));
            }
            let generator = Arc::make_mut(&mut self.generator);
            generator.0[member] = json;
            generator.1 = origin.clone();
            return Ok(());
        }
        let at = schema::find(name).ok_or_else(|| unknown(name))?;
        let value = KEYS[at].kind.parse(text, self.home.as_deref()).map_err(|why| invalid(name, &why))?;
        self.put(at, value, origin.clone());
        Ok(())
    }

    /// Sets values from `{"section": {"name": value, ...}, "generator": any}`; merges objects in `generator`
    /// member by member. Changes nothing on an error.
    ///
    /// # Errors
    /// [`Kind::Params`] for text that is not such an object, an unknown key or a wrong type.
    pub fn merge_json(&mut self, text: &str) -> Result<()> {
        static LAST: Mutex<Vec<LastMerged>> = Mutex::new(Vec::new());
        let is_known = |last: &&LastMerged| {
            last.text == text
                && Arc::ptr_eq(&last.before.values, &self.values)
                && Arc::ptr_eq(&last.before.generator, &self.generator)
                && last.before.home == self.home
        };
        let known = lock(&LAST).iter().find(is_known).map(|last| last.after.clone());
        if let Some(after) = known {
            (self.values, self.generator) = (after.values, after.generator);
            return Ok(());
        }
        let before = self.clone();
        self.merge(text)?;
        if text.len() <= LONGEST_MERGED {
            let mut last = lock(&LAST);
            if last.len() == MERGES {
                last.remove(0);
            }
            last.push(LastMerged { before, text: text.to_owned(), after: self.clone() });
        }
        Ok(())
    }

    fn merge(&mut self, text: &str) -> Result<()> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| Error::new(Kind::Params, format!("the parameters are not JSON: {error}")))?;
        let Json::Object(sections) = json else {
            return Err(Error::new(Kind::Params, "the parameters are not a JSON object of sections"));
        };
        let (mut values, mut generator) = (Vec::new(), None);
        for (section, settings) in sections {
            if section == "generator" {
                generator = Some(settings);
                continue;
            }
            if !SECTIONS.contains(&section.as_str()) {
                return Err(unknown_section(&section));
            }
            let Json::Object(settings) = settings else {
                return Err(invalid(&section, "the section is not a JSON object"));
            };
            for (key, json) in settings {
                let name = format!("{section}.{key}");
                let at = schema::find(&name).ok_or_else(|| unknown(&name))?;
                let value = KEYS[at].kind.parse_json(&json, self.home.as_deref());
                values.push((at, value.map_err(|why| invalid(&name, &why))?));
            }
        }
        values.into_iter().for_each(|(at, value)| self.put(at, value, ValueOrigin::Caller));
        if let Some(settings) = generator {
            let generator = Arc::make_mut(&mut self.generator);
            merge(&mut generator.0, settings);
            generator.1 = ValueOrigin::Caller;
        }
        Ok(())
    }

    fn put(&mut self, at: usize, value: Value, origin: ValueOrigin) {
        Arc::make_mut(&mut self.values)[at] = Arc::new((value, origin));
    }

    /// Returns the value of a key, as text that [`Params::set`] takes; `None` if there is no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        if key == "generator" {
            return Some(self.generator.0.to_string());
        }
        if let Some(member) = key.strip_prefix("generator.") {
            return self.generator.0.get(member).map(Json::to_string);
        }
        schema::find(key).map(|at| self.values[at].0.to_text())
    }

    /// Returns the source of the value of a key; `None` if there is no such key.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&ValueOrigin> {
        let generator = key == "generator"
            || key.strip_prefix("generator.").is_some_and(|member| self.generator.0.get(member).is_some());
        if generator { Some(&self.generator.1) } else { schema::find(key).map(|at| &self.values[at].1) }
    }

    /// Returns all parameters as a JSON object of sections that [`Params::merge_json`] takes.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut sections: Map<String, Json> = Map::new();
        for (key, setting) in KEYS.iter().zip(&*self.values) {
            let (section, name) = key.name.split_once('.').expect("a test checks that keys have a section");
            let section = sections.entry(section).or_insert_with(|| Json::Object(Map::new()));
            section[name] = setting.0.to_json();
        }
        sections.insert("generator".to_owned(), self.generator.0.clone());
        Json::Object(sections)
    }

    fn value(&self, name: &str) -> &Value {
        &self.values[schema::find(name).expect("the name of a key of the schema")].0
    }
}

#[cfg(test)]
impl Params {
    /// Returns the defaults of a user with the home directory `/h` who works in `/c`, changed by these
    /// settings.
    pub(crate) fn for_test(settings: &[(&str, &str)]) -> Self {
        Self::for_test_in(Path::new("/c"), settings)
    }

    /// Returns the same for another working directory.
    pub(crate) fn for_test_in(cwd: &Path, settings: &[(&str, &str)]) -> Self {
        let environment = Environment {
            variables: [("HOME", "/h".to_owned())].into(),
            cwd: cwd.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            system_dir: "/nonexistent".into(),
        };
        let mut params = Self::in_environment(&environment).unwrap();
        settings.iter().for_each(|(key, value)| params.set(key, value).unwrap());
        params
    }
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn invalid(name: &str, reason: &str) -> Error {
    Error::new(Kind::Params, format!("parameter {name}: {reason}"))
}

fn unknown(name: &str) -> Error {
    let section = name.split('.').next().unwrap_or_default();
    if name.contains('.') && !SECTIONS.contains(&section) {
        return unknown_section(section);
    }
    let (name, nearest) = (shortened(name), schema::nearest(name));
    Error::new(Kind::Params, format!("there is no parameter \"{name}\"; did you mean \"{nearest}\"?"))
}

/// Returns the beginning of an unknown name, for messages and comparisons: whole files have been passed as
/// names.
fn shortened(name: &str) -> &str {
    match name.char_indices().nth(schema::LONGEST_COMPARED) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

fn unknown_section(section: &str) -> Error {
    let section = shortened(section);
    let nearest = SECTIONS
        .into_iter()
        .max_by(|a, b| strsim::jaro_winkler(a, section).total_cmp(&strsim::jaro_winkler(b, section)))
        .unwrap_or_default();
    let text = format!(
        "there is no parameter section \"{section}\"; did you mean \"{nearest}\"? (sections: {})",
        SECTIONS.join(", ")
    );
    Error::new(Kind::Params, text)
}

#[cfg(test)]
mod tests;
