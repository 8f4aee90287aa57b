//! The text of the line about builds that take long.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::process::phase::Phase;

/// A build as the line shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownName {
    pub(super) name: String,
    pub(super) phase: Option<Phase>,
}

/// Says in words what a build does.
fn verb(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Generate) => "generating",
        Some(Phase::WaitForProgram) => "waiting for another program that builds",
        Some(Phase::WaitForSlot) => "waiting for a compiler slot for",
        _ => "compiling",
    }
}

/// Describes builds in at most `room` columns: their names, the time of the longest one, and how many of all are
/// done if there are others.
pub(super) fn describe(builds: &[ShownName], longest: Duration, done: usize, room: usize) -> String {
    let waits = |build: &&ShownName| build.phase == Some(Phase::WaitForSlot);
    let total = done + builds.len();
    let waiting = builds.iter().filter(waits).count();
    // Those that wait their turn have nothing to say while others run.
    let has_running = waiting < builds.len();
    let builds: Vec<&ShownName> = builds.iter().filter(|build| !has_running || !waits(build)).collect();
    let mut verbs: Vec<&str> = Vec::new();
    for build in &builds {
        let verb = verb(build.phase);
        if !verbs.contains(&verb) {
            verbs.push(verb);
        }
    }
    let mut end = format!(", {} s", longest.as_secs());
    if done > 0 || (has_running && waiting > 0) {
        end.push_str(&format!(" ({done} of {total} done)"));
    }
    // As many names as there is room for, and at least one of each kind.
    let text = |limit: usize| {
        let groups: Vec<String> = verbs
            .iter()
            .map(|group| {
                let names: Vec<&str> = builds
                    .iter()
                    .filter(|build| verb(build.phase) == *group)
                    .map(|build| build.name.as_str())
                    .collect();
                let shown = names.len().min(limit);
                let more = match names.len() - shown {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{group} {}{more}", names[..shown].join(", "))
            })
            .collect();
        format!("{}{end}", groups.join("; "))
    };
    let mut limit = builds.len().max(1);
    while limit > 1 && text(limit).len() > room {
        limit -= 1;
    }
    let text = text(limit);
    if text.len() <= room {
        return text;
    }
    // Names are at most 200 characters, all of them ASCII; the time has to be seen.
    let kept = room.saturating_sub(end.len() + 3);
    let begin: String = text.chars().take(kept).collect();
    format!("{begin}...{end}")
}

/// Describes builds that have ended: the name of one, the number of several.
pub(super) fn describe_end(name: &str, built: usize, failed: usize, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match (built, failed) {
        (1, 0) => format!("compiled {name} in {seconds:.1} s"),
        (0, 1) => format!("{name} was not built, after {seconds:.1} s"),
        (_, 0) => format!("compiled {built} libraries in {seconds:.1} s"),
        _ => format!("compiled {built} of {} libraries in {seconds:.1} s", built + failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builds(of: &[(&str, Option<Phase>)]) -> Vec<ShownName> {
        of.iter().map(|(name, phase)| ShownName { name: (*name).to_owned(), phase: *phase }).collect()
    }

    #[test]
    fn one_line_has_the_names_and_the_longest_time() {
        let line = |of: &[(&str, Option<Phase>)], done, room| {
            describe(&builds(of), Duration::from_millis(3900), done, room)
        };
        let compile = Some(Phase::Compile);
        assert_eq!(line(&[("poisson", compile)], 0, 79), "compiling poisson, 3 s");
        assert_eq!(line(&[("poisson", None), ("mass", compile)], 0, 79), "compiling poisson, mass, 3 s");
        let several = [("poisson", compile), ("mass", Some(Phase::Generate)), ("stiffness", compile)];
        assert_eq!(line(&several, 0, 79), "compiling poisson, stiffness; generating mass, 3 s");
        assert_eq!(line(&several, 4, 79), "compiling poisson, stiffness; generating mass, 3 s (4 of 7 done)");
        assert_eq!(line(&several, 0, 50), "compiling poisson, stiffness; generating mass, 3 s");
        let turns = [("a", compile), ("b", Some(Phase::WaitForSlot)), ("c", Some(Phase::WaitForSlot))];
        assert_eq!(line(&turns, 0, 79), "compiling a, 3 s (0 of 3 done)");
        assert_eq!(line(&turns[1..], 0, 79), "waiting for a compiler slot for b, c, 3 s");
        assert_eq!(line(&several, 0, 49), "compiling poisson and 1 more; generating ..., 3 s");
    }

    #[test]
    fn a_line_fits_into_its_columns() {
        let names: Vec<String> = (0..20).map(|number| format!("hyperelasticity_{number}")).collect();
        let all: Vec<ShownName> =
            names.iter().map(|name| ShownName { name: name.clone(), phase: None }).collect();
        for room in [30, 50, 79, 199, 1000] {
            let line = describe(&all, Duration::from_secs(12), 3, room);
            assert!(line.len() <= room, "{room}: {line}");
            assert!(line.ends_with(", 12 s (3 of 23 done)"), "{room}: {line}");
            assert!(line.starts_with("compil"), "{room}: {line}");
        }
        assert!(describe(&all, Duration::from_secs(12), 3, 79).contains("hyperelasticity_1 and 18 more"));
    }

    #[test]
    fn the_end_has_the_name_of_one_and_the_number_of_several() {
        let end = |built, failed| describe_end("poisson", built, failed, Duration::from_millis(5240));
        assert_eq!(end(1, 0), "compiled poisson in 5.2 s");
        assert_eq!(end(0, 1), "poisson was not built, after 5.2 s");
        assert_eq!(end(12, 0), "compiled 12 libraries in 5.2 s");
        assert_eq!(end(11, 1), "compiled 11 of 12 libraries in 5.2 s");
    }
}
