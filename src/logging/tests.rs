use super::*;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

fn logging(options: &LogOptions) -> Logging {
    let mut complaints = Vec::new();
    let logging = Logging::new(options, &mut complaints);
    assert_eq!(complaints, [] as [&str; 0]);
    logging
}

fn say(logging: &Logging, level: log::Level, target: &str, text: &str) {
    let mut record = log::Record::builder();
    record.level(level).target(target);
    log::Log::log(logging, &record.args(format_args!("{text}")).build());
}

#[test]
fn the_variable_names_level_files_and_ranks() {
    let (options, complaints) = LogOptions::parse("Info, file=/a b/log,json=/x=y,ranks=all");
    let expected = LogOptions {
        level: INFO,
        all_ranks: true,
        file: Some("/a b/log".into()),
        events: Some("/x=y".into()),
    };
    assert_eq!((options, complaints.len()), (expected, 0));
    assert_eq!(LogOptions::parse("").0, LogOptions::default());
    assert_eq!(LogOptions::parse("25").0.level, 25);
    // The original took CRITICAL for a mistake of the caller.
    assert_eq!(LogOptions::parse("CRITICAL").0.level, OFF);
    for unclear in ["loud", "file=", "ranks=2", "level=info"] {
        let (options, complaints) = LogOptions::parse(unclear);
        assert_eq!((options, complaints.len()), (LogOptions::default(), 1), "{unclear}");
    }
}

#[test]
fn records_below_the_level_and_of_others_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let logging = logging(&LogOptions { file: Some(path.clone()), all_ranks: true, ..LogOptions::default() });
    say(&logging, log::Level::Info, "dijitso::cache", "quiet");
    say(&logging, log::Level::Warn, "another_crate", "not ours");
    say(&logging, log::Level::Warn, "dijitso_like", "not ours");
    // Defect C11 of the original: a message with a percent sign was an error.
    say(&logging, log::Level::Warn, "dijitso::cache", "100 % {}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("dijitso warning [") && text.contains(&crate::host_name()), "{text}");
    assert!(text.ends_with("]: 100 % {}\n") && text.lines().count() == 1, "{text}");
}

#[test]
fn ranks_other_than_the_first_show_errors_only_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    for (all_ranks, lines) in [(false, 3), (true, 4)] {
        let path = dir.path().join(format!("log-{all_ranks}"));
        let logging = logging(&LogOptions { file: Some(path.clone()), all_ranks, ..LogOptions::default() });
        // The process as a whole is rank 0 of the largest communicator, whatever the threads serve.
        let _process = enter(0, 100);
        for rank in [0, 2] {
            let _here = enter(rank, 3);
            say(&logging, log::Level::Warn, "dijitso", "a warning");
            say(&logging, log::Level::Error, "dijitso", "an error");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(text.contains("[rank 2 of 3 on "), "{text}");
    }
}

#[test]
fn a_handler_gets_records_of_its_level_and_does_not_recurse() {
    let logging = Arc::new(logging(&LogOptions::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (of_handler, again) = (Arc::clone(&seen), Arc::downgrade(&logging));
    let handler: Handler = Arc::new(move |record: &LogRecord<'_>| {
        let logging = again.upgrade().unwrap();
        say(&logging, log::Level::Error, "dijitso", "from the handler");
        of_handler.lock().unwrap().push((record.level, record.message.to_owned()));
    });
    *logging.handler.write().unwrap() = Some(handler);
    say(&logging, log::Level::Info, "dijitso", "quiet");
    say(&logging, log::Level::Warn, "dijitso", "heard");
    logging.level.store(OFF, Ordering::Relaxed);
    say(&logging, log::Level::Error, "dijitso", "silence");
    assert_eq!(*seen.lock().unwrap(), [(WARNING, "heard".to_owned())]);
    *logging.handler.write().unwrap() = None;
}

#[test]
fn tools_read_records_and_finished_calls_as_lines_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    let logging = logging(&LogOptions { level: OFF, events: Some(path.clone()), ..LogOptions::default() });
    assert_eq!(logging.filter(), log::LevelFilter::Info);
    let _here = enter(1, 2);
    say(&logging, log::Level::Info, "dijitso::cache", "a \"record\"\nof two lines");
    say(&logging, log::Level::Info, FINISHED, "has an event of its own");
    let events = logging.events.as_ref().unwrap();
    let error = Error::new(Kind::Compile, "no").on_rank(1, 2, "h");
    events.finished(&Finished { name: "n", seconds: 1.5, outcome: Ok(("n_1", "built")) }, here(), "h");
    events.finished(&Finished { name: "n", seconds: 1.5, outcome: Err(&error) }, here(), "h");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["log", "library", "failure"]);
    assert!(lines.iter().all(|line| line["rank"] == 1 && line["ranks"] == 2 && line["time"].is_f64()));
    assert_eq!((&lines[1]["signature"], &lines[1]["origin"]), (&"n_1".into(), &"built".into()));
    assert_eq!((&lines[2]["status"], &lines[2]["failed_rank"]), (&30.into(), &1.into()));
}

#[test]
fn a_fifo_is_no_log_and_holds_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let read = || std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    for reader in [None, Some(read())] {
        let mut complaints = Vec::new();
        let options =
            LogOptions { file: Some(path.clone()), events: Some(path.clone()), ..LogOptions::default() };
        let logging = Logging::new(&options, &mut complaints);
        assert!(matches!(logging.sink, Sink::Stderr) && logging.events.is_none());
        assert!(complaints.len() == 2 && complaints[0].contains("a FIFO"), "{complaints:?}");
        drop(reader);
    }
    let options = LogOptions { file: Some("/dev/null".into()), ..LogOptions::default() };
    assert!(matches!(logging(&options).sink, Sink::File(_)));
}

#[test]
fn a_record_is_one_line_without_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let logging = logging(&LogOptions { file: Some(path.clone()), all_ranks: true, ..LogOptions::default() });
    say(&logging, log::Level::Warn, "dijitso", "a\u{1b}[2J\ndijitso error [x]: false\u{9b}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.ends_with("]: a\\x1b[2J dijitso error [x]: false\\x9b\n") && text.lines().count() == 1,
        "{text:?}"
    );
}
