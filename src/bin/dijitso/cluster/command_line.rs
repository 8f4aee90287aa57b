//! The command line of a worker or of a batch job: that of this process, without the options that only it
//! obeys.

#![forbid(unsafe_code)]

/// Options of this process alone that have a value.
const WITH_VALUE: [&str; 6] =
    ["--launcher", "--submit", "--submit-args", "--script", "--array", "--status-file"];

/// Returns the words without the options for launchers and batch systems.
pub(super) fn for_workers(words: &[String]) -> Vec<String> {
    without(words, &["--launcher"], &[])
}

/// Returns the words without the options for launchers and batch systems, and without those for the output of
/// a submission.
pub(super) fn for_job(words: &[String]) -> Vec<String> {
    without(words, &WITH_VALUE, &["--json", "--dry-run", "-n"])
}

/// Returns the words without some options. What follows `--` is no option.
fn without(words: &[String], with_value: &[&str], flags: &[&str]) -> Vec<String> {
    let mut kept = Vec::with_capacity(words.len());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            kept.push(word.clone());
            kept.extend(rest.cloned());
            break;
        }
        if with_value.contains(&word.as_str()) {
            rest.next();
            continue;
        }
        let is_assigned = |name: &&str| word.strip_prefix(*name).is_some_and(|rest| rest.starts_with('='));
        if !flags.contains(&word.as_str()) && !with_value.iter().any(is_assigned) {
            kept.push(word.clone());
        }
    }
    kept
}

/// Returns true if the words limit the jobs that run at once.
pub(super) fn limits_jobs(words: &[String]) -> bool {
    let options = words.iter().take_while(|word| *word != "--");
    let limits = |word: &String| word.starts_with("-j") || word == "--jobs" || word.starts_with("--jobs=");
    options.into_iter().any(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        shell_words::split(line).unwrap()
    }

    #[test]
    fn a_job_gets_the_other_options() {
        let line = "-r /c make --submit slurm 'a b.toml' --submit-args '-p x' --submit-args=-N2 -j4 \
                    --array=3 -n --json --script s.sh --launcher 'srun -n2' --param build.cxxflags=-O2 -k 'not failed'";
        let expected = words("-r /c make 'a b.toml' -j4 --param build.cxxflags=-O2 -k 'not failed'");
        assert_eq!(for_job(&words(line)), expected);
    }

    #[test]
    fn words_after_the_options_stay() {
        let line = words("make --submit sge p.toml -- --launcher -n");
        assert_eq!(for_job(&line), words("make p.toml -- --launcher -n"));
    }

    #[test]
    fn workers_keep_all_but_the_launcher() {
        let line = words("make p.toml --launcher=srun -n --json --status-file f");
        assert_eq!(for_workers(&line), words("make p.toml -n --json --status-file f"));
    }

    #[test]
    fn the_limit_of_jobs_is_seen() {
        for (line, expected) in
            [("make p -j 2", true), ("make p -j2", true), ("make p --jobs=3", true), ("make p -- -j", false)]
        {
            assert_eq!(limits_jobs(&words(line)), expected, "{line}");
        }
    }
}
