//! The config file `.dijitso.conf`: its places, the check of its owner and mode, and its settings.
//!
//! A config file names the compiler, so a user who can write it can run commands as this user. It is used
//! only if its owner is this user or root and no other user can write it. The open file is checked, not its
//! path.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::human::size;
use crate::sync::lock;

use super::environment::Environment;

/// Name of the file in each of the directories.
pub(super) const BASENAME: &str = ".dijitso.conf";

/// Size limit of the file, which is parsed in memory.
const LARGEST: u64 = 1 << 20;

/// A config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Path of the file.
    pub(super) path: PathBuf,
    /// Section, key and value of each setting, in the order of the file.
    pub(super) settings: Vec<(String, String, String)>,
}

/// Reads the first of these files that exists: in the working directory, in `$DIJITSO_CONF` (a directory, or
/// the file itself), in the home directory, in `/etc/dijitso`.
///
/// An unsafe file in the working directory is skipped with a warning, because any user may have put it there
/// (`/tmp`). Any other unsafe file is an error.
pub(super) fn discover(environment: &Environment) -> Result<Option<Arc<Config>>> {
    let here = in_dir(&environment.cwd);
    match read_safe(&here, environment.uid) {
        Ok(Some(text)) => return parse_again(here, text).map(Some),
        Ok(None) => {}
        // If this user's own file cannot be read, that is a mistake to report; a file of another user gets a
        // warning.
        Err(reason) if unreadable(&here, environment.uid) => return Err(unusable(&here, &reason)),
        Err(reason) => log::warn!("config file {} is not used: {reason}", here.display()),
    }
    for path in later_candidates(environment) {
        let text = read_safe(&path, environment.uid).map_err(|reason| unusable(&path, &reason))?;
        if let Some(text) = text {
            return parse_again(path, text).map(Some);
        }
    }
    Ok(None)
}

/// Parses a file, or returns the result of the last time if it has the same text.
fn parse_again(path: PathBuf, text: String) -> Result<Arc<Config>> {
    static LAST: Mutex<Option<(String, Arc<Config>)>> = Mutex::new(None);
    if let Some((before, config)) = &*lock(&LAST)
        && *before == text
        && config.path == path
    {
        return Ok(Arc::clone(config));
    }
    let config = Arc::new(parse(path, &text)?);
    *lock(&LAST) = Some((text, Arc::clone(&config)));
    Ok(config)
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Params, format!("config file {} cannot be used: {reason}", path.display()))
}

/// Returns true if the file belongs to the user, who cannot open it.
fn unreadable(path: &Path, uid: u32) -> bool {
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.uid() == uid) && File::open(path).is_err()
}

fn later_candidates(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let named = environment.variable("DIJITSO_CONF").map(|value| {
        let path = environment.cwd.join(value);
        if path.is_file() { path } else { in_dir(&path) }
    });
    let home = environment.home().map(|home| in_dir(Path::new(home)));
    named.into_iter().chain(home).chain([in_dir(&environment.system_dir)])
}

/// Returns the path of the file in a directory. Allocates once, whatever its length: programs make parameters for
/// each call.
fn in_dir(dir: &Path) -> PathBuf {
    let mut path = PathBuf::with_capacity(dir.as_os_str().len() + 1 + BASENAME.len());
    path.push(dir);
    path.push(BASENAME);
    path
}

/// Returns the text of a file that is safe to use; `None` if there is no file. The error is the reason alone.
fn read_safe(path: &Path, uid: u32) -> std::result::Result<Option<String>, String> {
    // Opening a pipe must not block.
    let open = |flags| File::options().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path);
    // Mostly there is no file, which takes one call to find out.
    let mut opened = open(libc::O_NOFOLLOW);
    if opened.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP)) {
        // A link of another user leads where that user wants, if only to another file of ours.
        let owner = path.symlink_metadata().ok().map(|facts| facts.uid());
        if let Some(owner) = owner.filter(|owner| *owner != uid && *owner != 0) {
            return Err(format!("it is a symbolic link of user {owner}"));
        }
        opened = open(0);
    }
    let file = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return Err("it is not a file".to_owned());
    }
    if facts.uid() != uid && facts.uid() != 0 {
        return Err(format!(
            "it belongs to user {}, not to this user; copy it and own the copy",
            facts.uid()
        ));
    }
    if facts.mode() & 0o022 != 0 {
        return Err(format!(
            "others can write it (mode {:04o}) and so choose the compiler; chmod go-w it",
            facts.mode() & 0o7777
        ));
    }
    if facts.len() > LARGEST {
        return Err(format!("it takes {}, and {} are allowed", size(facts.len()), size(LARGEST)));
    }
    let mut text = String::new();
    // The file may grow meanwhile.
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(Some(text))
}

/// Parses the text of a config file.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<Config> {
    // Values are plain text, as in files for the original: no escapes, no quotes, `%` is a character (C3).
    let options = ini::ParseOption { enabled_quote: false, enabled_escape: false, ..Default::default() };
    let file = ini::Ini::load_from_str_opt(text, options).map_err(|error| {
        Error::new(Kind::Params, format!("config file {} is not an INI file: {error}", path.display()))
    })?;
    let mut settings = Vec::new();
    for (section, properties) in &file {
        for (key, value) in properties {
            let section = section.ok_or_else(|| {
                let text = format!("config file {}: \"{key}\" stands before any [section]", path.display());
                Error::new(Kind::Params, text)
            })?;
            settings.push((section.to_owned(), key.to_ascii_lowercase(), value.to_owned()));
        }
    }
    Ok(Config { path, settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn environment(cwd: &Path) -> Environment {
        Environment {
            variables: [("HOME", cwd.join("home").display().to_string())].into(),
            cwd: cwd.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            system_dir: cwd.join("etc"),
        }
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Defect C20 of the original: a config file in an untrusted working directory chose the compiler.
    #[test]
    fn c20_a_planted_config_file_is_not_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(BASENAME), "[build]\ncxx = evil\n", 0o666);
        assert_eq!(discover(&environment(dir.path())).unwrap(), None);
        let mut other = environment(dir.path());
        write(&dir.path().join(BASENAME), "[build]\ncxx = evil\n", 0o600);
        assert!(discover(&other).unwrap().is_some());
        if other.uid == 0 {
            return; // root's files are root's: there is no other owner to try
        }
        other.uid += 1;
        assert_eq!(discover(&other).unwrap(), None);
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("ours"), "[build]\ncxx = mine\n", 0o600);
        let link = dir.path().join(BASENAME);
        std::os::unix::fs::symlink("ours", &link).unwrap();
        assert!(discover(&environment(dir.path())).unwrap().is_some());
        // Only root can give a link away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            assert_eq!(discover(&environment(dir.path())).unwrap(), None);
        }
    }

    #[test]
    fn an_unsafe_file_that_was_asked_for_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = environment(dir.path());
        write(&dir.path().join("conf").join(BASENAME), "[build]\n", 0o620);
        environment.variables.insert("DIJITSO_CONF", "conf".to_owned());
        let error = discover(&environment).unwrap_err();
        assert_eq!(error.kind(), Kind::Params);
        assert!(error.message().contains("chmod go-w"), "{error}");
    }

    /// Defect C3 of the original: `%` in a value was an interpolation error.
    #[test]
    fn c3_values_are_plain_text_and_the_first_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("home").join(BASENAME), "[cache]\ncache_dir = ~/c%d\n", 0o644);
        write(&dir.path().join("etc").join(BASENAME), "[build]\ncxx = other\n", 0o644);
        let config = discover(&environment(dir.path())).unwrap().unwrap();
        assert_eq!(config.settings, [("cache".into(), "cache_dir".into(), "~/c%d".into())]);
        write(&dir.path().join("home").join(BASENAME), "cache_dir = x\n", 0o644);
        assert!(discover(&environment(dir.path())).unwrap_err().message().contains("before any [section]"));
        write(&dir.path().join("home").join(BASENAME), "[build\n", 0o644);
        assert!(discover(&environment(dir.path())).is_err());
    }

    #[test]
    fn a_file_without_end_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = environment(dir.path());
        write(&dir.path().join("my.conf"), "", 0o600);
        File::options().write(true).open(dir.path().join("my.conf")).unwrap().set_len(1 << 40).unwrap();
        environment.variables.insert("DIJITSO_CONF", "my.conf".to_owned());
        assert!(discover(&environment).unwrap_err().message().contains("1.0 MiB are allowed"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_the_name_of_the_file(text in "(\\[|\\]|=|:|#|;|\\\\|\n\
             |\r|.){0,60}") {
            if let Err(error) = parse("/etc/x.conf".into(), &text) {
                prop_assert!(error.message().contains("/etc/x.conf"), "{}", error);
            }
        }

        #[test]
        fn what_is_written_plainly_is_read_as_it_stands(
            settings in prop::collection::vec(
                ("[a-z]{1,8}", "[a-z_]{1,12}", "[a-zA-Z0-9 %$'\"~/._-]{0,20}"), 0..6,
            )
        ) {
            let write = |(section, key, value): &(String, String, String)| format!("[{section}]\n{key} = \
             {value}\n");
            let text: String = settings.iter().map(write).collect();
            let config = parse("x.conf".into(), &text).unwrap();
            let mut found: Vec<_> = config.settings;
            let mut expected: Vec<_> = settings
                .into_iter()
                .map(|(section, key, value)| (section, key, value.trim().to_owned()))
                .collect();
            // Sections of one name are one section.
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_planted_pipe_does_not_hold_us() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(BASENAME)).status().unwrap();
        assert!(made.success());
        assert_eq!(discover(&environment(dir.path())).unwrap(), None);
    }

    #[test]
    fn dijitso_conf_may_name_the_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = environment(dir.path());
        write(&dir.path().join("my.conf"), "# note\n[Build]\nCXX=g++ -m64 # no comment\n", 0o600);
        environment.variables.insert("DIJITSO_CONF", "my.conf".to_owned());
        let config = discover(&environment).unwrap().unwrap();
        assert_eq!(config.settings[0].1, "cxx");
        assert_eq!(config.settings[0].2, "g++ -m64 # no comment");
    }
}
