//! The kind of processor of this machine, as far as compilers depend on it.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::codec::{Writer, digest, hex};
use crate::params::resolved::BuildParams;

/// Returns the kind of processor: the name in `build.cpu`, else a digest of the system's description.
///
/// If two kinds are equal, so is the effect of `-march=native`. The reverse does not hold: another kernel may
/// describe the same processor in other words.
#[must_use]
pub fn key(params: &BuildParams) -> String {
    static FOUND: OnceLock<String> = OnceLock::new();
    if !params.cpu.is_empty() {
        return params.cpu.clone();
    }
    let find = || match std::fs::read_to_string("/proc/cpuinfo") {
        Ok(text) if !text.trim().is_empty() => kind(std::env::consts::ARCH, &text),
        // Without a description no other machine counts as equal.
        _ => kind(&rustix::system::uname().nodename().to_string_lossy(), ""),
    };
    FOUND.get_or_init(find).clone()
}

/// Returns the kind described by a text in the form of `/proc/cpuinfo`.
#[must_use]
pub fn kind(architecture: &str, cpuinfo: &str) -> String {
    let mut writer = Writer::new(b"processor");
    writer.bytes(architecture.as_bytes());
    for processor in processors(architecture, cpuinfo) {
        writer.u64(processor.len() as u64);
        processor.iter().for_each(|line| writer.bytes(line.as_bytes()));
    }
    hex(&digest(&writer.finish())[..16])
}

/// Returns the different processors of the machine, each as the lines that decide what code it can run and
/// how fast. A machine with big and little cores has several.
fn processors(architecture: &str, cpuinfo: &str) -> BTreeSet<Vec<String>> {
    let facts = |block: &str| -> Vec<String> {
        let fields = block.lines().filter_map(|line| line.split_once(':'));
        fields
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, _)| decides(architecture, name))
            .map(|(name, value)| format!("{name}: {}", sorted(name, value)))
            .collect()
    };
    // Some kernels describe in a block of its own what all processors have in common.
    cpuinfo.split("\n\n").map(facts).filter(|facts| !facts.is_empty()).collect()
}

fn decides(architecture: &str, name: &str) -> bool {
    match architecture {
        "x86" | "x86_64" => matches!(name, "vendor_id" | "cpu family" | "model" | "flags"),
        "arm" | "aarch64" => matches!(
            name,
            "Features" | "CPU implementer" | "CPU architecture" | "CPU variant" | "CPU part" | "CPU revision"
        ),
        // Elsewhere, all but values that differ between cores or change while the machine runs.
        _ => {
            let name = name.to_ascii_lowercase();
            let number = ["processor", "hart", "core id", "physical id", "apicid", "siblings", "serial"];
            let moving =
                ["mhz", "clock", "freq", "timebase", "bogomips", "bios", "microcode", "identification"];
            !number.contains(&name.as_str()) && !moving.iter().any(|part| name.contains(part))
        }
    }
}

/// Sorts lists of features.
fn sorted(name: &str, value: &str) -> String {
    if !matches!(name, "flags" | "Features") {
        return value.to_owned();
    }
    let words: BTreeSet<&str> = value.split_whitespace().collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86(processor: u32, model: u32, flags: &str, mhz: &str) -> String {
        format!(
            "processor\t: {processor}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: {model}\n\
             model name\t: A: B\nmicrocode\t: 0x{processor}\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n\
             bogomips\t: {mhz}\npower management:\n\n"
        )
    }

    #[test]
    fn what_changes_while_a_machine_runs_does_not_count() {
        let one = x86(0, 85, "fpu sse avx", "2000.1") + &x86(1, 85, "fpu sse avx", "3100.9");
        let other = x86(0, 85, "sse fpu avx", "800") + &x86(7, 85, "fpu sse avx", "900");
        assert_eq!(kind("x86_64", &one), kind("x86_64", &other));
        assert_eq!(kind("x86_64", &one), kind("x86_64", &x86(0, 85, "fpu sse avx", "1")), "number of cores");
        assert_eq!(kind("x86_64", &one).len(), 32);
    }

    #[test]
    fn what_a_processor_can_do_counts_and_so_does_its_model() {
        let kinds = [
            kind("x86_64", &x86(0, 85, "fpu sse avx", "1")),
            kind("x86_64", &x86(0, 85, "fpu sse avx avx512f", "1")),
            kind("x86_64", &x86(0, 106, "fpu sse avx", "1")),
            kind("x86", &x86(0, 85, "fpu sse avx", "1")),
            kind("x86_64", &(x86(0, 85, "fpu sse avx", "1") + &x86(1, 85, "fpu sse", "1"))),
            kind("x86_64", ""),
        ];
        let different: BTreeSet<_> = kinds.iter().collect();
        assert_eq!(different.len(), kinds.len());
    }

    #[test]
    fn processors_of_arm_are_known_by_part_and_features() {
        let core = |number: u32, part: &str| {
            format!(
                "processor\t: {number}\nBogoMIPS\t: 50.0{number}\nFeatures\t: fp asimd sve\n\
                 CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\n\
                 CPU revision\t: 0\n\n"
            )
        };
        let big = kind("aarch64", &core(0, "0xd40"));
        assert_eq!(big, kind("aarch64", &(core(3, "0xd40") + &core(1, "0xd40"))));
        assert_ne!(big, kind("aarch64", &core(0, "0xd0c")));
        let mixed = |a: &str, b: &str| kind("aarch64", &(core(0, a) + &core(1, b)));
        assert_eq!(mixed("0xd40", "0xd0c"), mixed("0xd0c", "0xd40"));
        assert_ne!(mixed("0xd40", "0xd0c"), big);
    }

    #[test]
    fn elsewhere_everything_counts_that_stays() {
        let power = |clock: &str, cpu: &str| {
            format!(
                "processor\t: 0\ncpu\t\t: {cpu}\nclock\t\t: {clock}MHz\n\ntimebase\t: {clock}\nmodel\t: 9\n"
            )
        };
        assert_eq!(kind("powerpc64", &power("3000", "POWER9")), kind("powerpc64", &power("1", "POWER9")));
        assert_ne!(kind("powerpc64", &power("3000", "POWER9")), kind("powerpc64", &power("3000", "POWER10")));
    }

    #[test]
    fn a_name_given_by_the_user_is_taken_at_its_word() {
        let mut params = crate::params::Params::for_test(&[]);
        assert_eq!(key(&params.resolve().unwrap().build).len(), 32);
        params.set("build.cpu", "genoa").unwrap();
        assert_eq!(key(&params.resolve().unwrap().build), "genoa");
    }
}
