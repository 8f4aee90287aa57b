//! The text of the line that shows a make on a terminal.

#![forbid(unsafe_code)]

use unicode_width::UnicodeWidthStr;

use dijitso::plan::StopRequest;
use dijitso::plan::make::{MakeProgress, WaitReason};
use dijitso::process::phase::Phase;

/// Returns the columns of the bar on a terminal of this width. A narrow one has more use for words.
pub(super) fn bar_columns(width: usize) -> usize {
    match width {
        0..50 => 0,
        50..70 => 10,
        _ => 20,
    }
}

/// Describes a make in at most `room` columns: what matters most comes first, and of the labels of the running
/// nodes as many as there is room for.
pub(super) fn describe(progress: &MakeProgress, labels: &[String], stop: StopRequest, room: usize) -> String {
    let mut parts = Vec::new();
    match stop {
        StopRequest::Go => {}
        StopRequest::Finish => parts.push("stopping".to_owned()),
        StopRequest::Kill => parts.push("ending".to_owned()),
    }
    for (count, word) in [(progress.failed, "failed"), (progress.blocked, "blocked")] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let left = progress.seconds_left.filter(|seconds| *seconds >= 1.0 && stop == StopRequest::Go);
    parts.extend(left.map(|seconds| format!("about {} left", coarse_time(seconds))));
    let waits = |phase: Option<Phase>| phase == Some(Phase::WaitForSlot);
    let waiting = progress.running.iter().filter(|(_, phase)| waits(*phase)).count();
    if waiting > 0 {
        parts.push(format!("{waiting} wait for other compilers"));
    }
    match progress.waiting {
        // That all run that may is no reason to mention it.
        None | Some(WaitReason::Jobs(_) | WaitReason::Stopped) => {}
        Some(reason) => parts.push(format!("others wait: {}", reason.describe())),
    }
    let running = progress.running.len() - waiting;
    let mut text = parts.join(", ");
    if running == 0 {
        return text;
    }
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(&format!("{running} run"));
    let mut columns = text.width();
    let named = labels.iter().zip(&progress.running).filter(|(_, (_, phase))| !waits(*phase));
    for (at, (label, _)) in named.enumerate() {
        // Room for ", ...", unless this is the last one.
        let end = if at + 1 == running { 0 } else { 5 };
        columns += 2 + label.width();
        if columns + end > room {
            text.push_str(if at > 0 { ", ..." } else { "" });
            break;
        }
        text.push_str(if at == 0 { ": " } else { ", " });
        text.push_str(label);
    }
    text
}

/// Returns an estimate of seconds as people read it.
fn coarse_time(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { super::observer::time(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> MakeProgress {
        let running = vec![(0, Some(Phase::Run)), (1, Some(Phase::Compile)), (2, Some(Phase::WaitForSlot))];
        MakeProgress { done: 3, total: 9, running, ..MakeProgress::default() }
    }

    fn labels() -> Vec<String> {
        ["mesh", "größe ∇u", "form"].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_matters_comes_first_and_labels_fill_the_rest() {
        let mut progress = progress();
        let line = |progress: &MakeProgress, room| describe(progress, &labels(), StopRequest::Go, room);
        assert_eq!(line(&progress, 80), "1 wait for other compilers; 2 run: mesh, größe ∇u");
        assert_eq!(line(&progress, 45), "1 wait for other compilers; 2 run: mesh, ...");
        assert_eq!(line(&progress, 20), "1 wait for other compilers; 2 run");
        progress.running.truncate(1);
        (progress.failed, progress.blocked, progress.seconds_left) = (1, 2, Some(11.4));
        progress.waiting = Some(WaitReason::Jobserver);
        let text =
            "1 failed, 2 blocked, about 11 s left, others wait: make has no token to give; 1 run: mesh";
        assert_eq!(line(&progress, 100), text);
        progress.waiting = Some(WaitReason::Jobs(2));
        assert_eq!(line(&progress, 100), "1 failed, 2 blocked, about 11 s left; 1 run: mesh");
    }

    #[test]
    fn a_make_that_stops_says_so_and_gives_no_time() {
        let mut progress = progress();
        (progress.seconds_left, progress.waiting) = (Some(100.0), Some(WaitReason::Stopped));
        progress.running.truncate(2);
        let line = describe(&progress, &labels(), StopRequest::Finish, 80);
        assert_eq!(line, "stopping; 2 run: mesh, größe ∇u");
        progress.running.clear();
        assert_eq!(describe(&progress, &[], StopRequest::Kill, 80), "ending");
    }
}
