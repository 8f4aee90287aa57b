//! Collectives over an MPI. Without arguments this program starts itself under the mpiexec that MPIEXEC names, for
//! each case and number of ranks. It is linked with no MPI, and finds that of the launcher.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dijitso::error::Kind;
use dijitso::parallel::Communicator;
use dijitso::parallel::mpi::abi::{Constants, Family, MPICH, STANDARD, open_mpi};
use dijitso::parallel::mpi::{MpiComm, RawComm, attached, family, world};

/// Name of a case, numbers of ranks, true if all ranks report the same errors, and the program of a rank.
type Case = (&'static str, &'static [usize], bool, fn(&MpiComm));

const CASES: &[Case] = &[
    ("progress", &[2], false, progress),
    ("values", &[1, 2, 5, 8], false, values),
    ("late", &[4], true, late),
    ("builder", &[5], true, builder),
    ("killed", &[5], true, killed),
    ("killed-in-pieces", &[5], true, killed_in_pieces),
    ("many", &[4], false, many),
    ("sleepers", &[16], false, sleepers),
];

/// Ways to share memory: all ranks, those of either of two hosts, none because one rank does not, every second
/// one (the hosts of ranks alternate), none, or none because the first one does not. `DIJITSO_TEST_LAYOUTS` is
/// the number of those that are tried.
const LAYOUTS: &[&str] = &["one", "two", "last-off", "alternating", "none", "first-off"];

/// The time-out with a rank that is stopped.
const STOPPED: Duration = Duration::from_secs(2);

/// The limit of one case.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name, layout] = arguments.as_slice()
        && mode == "rank"
    {
        set_layout(layout);
        let (.., program) = CASES.iter().find(|(case, ..)| case == name).expect("a case");
        let world = world("test", Some(LIMIT)).unwrap();
        program(world.comm());
        // Dropping it aborts if a rank is late, and the late rank is to report as well.
        std::mem::forget(world);
        // SAFETY: the type of the function.
        let finalize: extern "C" fn() -> i32 = unsafe { HostMpi::of_process().function("MPI_Finalize") };
        assert_eq!(finalize(), 0);
        return ExitCode::SUCCESS;
    }
    let mpiexec = std::env::var("MPIEXEC").unwrap_or_else(|_| "mpiexec".to_owned());
    let most = std::env::var("DIJITSO_TEST_LAYOUTS").ok().and_then(|most| most.parse().ok());
    let most = most.unwrap_or(LAYOUTS.len());
    let mut failed = 0;
    for (case, sizes, reporting, _) in CASES {
        if arguments.iter().all(|filter| filter.starts_with('-') || case.contains(filter.as_str())) {
            for (size, layout) in
                sizes.iter().flat_map(|size| LAYOUTS.iter().map(move |layout| (size, layout)))
            {
                // Eight ranks take long where they are more than the cores.
                let layouts = match size {
                    1 | 16 => 1,
                    8 => 2,
                    _ => most,
                };
                if !LAYOUTS[..layouts].contains(layout) {
                    continue;
                }
                let begin = Instant::now();
                let status = start(&mpiexec, *size, case, layout, *reporting);
                println!("{case} on {size} ranks, {layout}: {status:?} after {:.1?}", begin.elapsed());
                // mpiexec reports ranks that are killed.
                let fine = |status: ExitStatus| status.success() || case.starts_with("killed");
                failed += u8::from(!status.is_some_and(fine));
            }
        }
    }
    ExitCode::from(failed)
}

/// Runs a case and returns its status, `None` if it was killed at the limit, or if ranks reported different
/// errors.
fn start(mpiexec: &str, size: usize, case: &str, layout: &str, reporting: bool) -> Option<ExitStatus> {
    let mut command = Command::new(mpiexec);
    command.args(["-n", &size.to_string()]).arg(std::env::current_exe().expect("a path"));
    // Lets Open MPI 4 and 5 start more ranks than cores, also as root.
    for name in
        ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]
    {
        command.env(name, "1");
    }
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    let mut child = command.args(["rank", case, layout]).stdout(Stdio::piped()).spawn().expect("mpiexec");
    let output = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut reports: HashMap<String, Vec<String>> = HashMap::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.strip_prefix("REPORT ").and_then(|line| line.split_once(' ')) {
                Some((rank, text)) => reports.entry(rank.to_owned()).or_default().push(text.to_owned()),
                None => println!("  {line}"),
            }
        }
        reports
    });
    let status = wait(&mut child, Instant::now() + LIMIT);
    let reports = reader.join().expect("the reader");
    let first = reports.values().next();
    let same = reports.values().all(|texts| Some(texts) == first);
    let enough = reports.len() + 1 >= size || !reporting;
    if same && enough {
        status
    } else {
        println!("{reports:#?}");
        None
    }
}

fn wait(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The MPI of this process, as a host calls it.
struct HostMpi {
    constants: Constants,
}

impl HostMpi {
    fn of_process() -> Self {
        let constants = match family().unwrap().0 {
            Family::OpenMpi => open_mpi(address).unwrap(),
            Family::Standard => STANDARD,
            _ => MPICH,
        };
        Self { constants }
    }

    /// Returns a function of MPI.
    ///
    /// # Safety
    /// `F` is a function pointer of its type; handles are words.
    unsafe fn function<F: Copy>(&self, name: &'static str) -> F {
        let address = address(name).unwrap();
        assert_eq!(size_of::<F>(), size_of::<usize>());
        // SAFETY: promised by the caller.
        unsafe { std::mem::transmute_copy(&address) }
    }
}

/// Returns the address of a symbol of the libraries that are loaded for all to see.
fn address(name: &str) -> Option<usize> {
    let name = CString::new(name).unwrap();
    // SAFETY: a name that ends with a zero.
    Some(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize).filter(|address| *address != 0)
}

/// Bytes that depend on `seed`.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at + seed * 31) % 251) as u8).collect()
}

/// Lengths on both sides of each limit within the collectives.
const LENGTHS: [usize; 8] = [0, 1, 1016, 1017, 65_536, 65_537, 4 << 20, (9 << 20) + 3];

fn values(comm: &MpiComm) {
    let (rank, size) = (comm.rank(), comm.size());
    for round in 0..300_u64 {
        let mut least = [round + rank as u64, u64::MAX - rank as u64, u64::MAX, rank as u64 ^ 1 << 63];
        comm.min(&mut least).unwrap();
        assert_eq!(least, [round, u64::MAX - (size as u64 - 1), u64::MAX, 1 << 63]);
        let all = comm.all_gather(&[rank as u8, round as u8]).unwrap();
        assert_eq!(all, (0..size).flat_map(|rank| [rank as u8, round as u8]).collect::<Vec<_>>());
    }
    for length in [0, 1, 127, 480, 481, 1000, 5000] {
        let all = comm.all_gather(&bytes(rank, length)).unwrap();
        assert!(all == (0..size).flat_map(|rank| bytes(rank, length)).collect::<Vec<_>>());
        let mut least: Vec<u64> = (0..length as u64).map(|at| at + rank as u64).collect();
        comm.min(&mut least).unwrap();
        assert!(least == (0..length as u64).collect::<Vec<_>>());
    }
    for (round, length) in LENGTHS.into_iter().enumerate() {
        let root = round % size;
        let mut data = if rank == root { bytes(round, length) } else { vec![1; 3] };
        comm.broadcast(root, &mut data).unwrap();
        assert!(data == bytes(round, length));
        let wants = rank % 2 == round % 2;
        let mut data = if rank == root { bytes(round, length) } else { vec![1; 3] };
        comm.broadcast_to_some(root, &mut data, wants).unwrap();
        assert!(data == if wants { bytes(round, length) } else { Vec::new() });
        for groups in [1, 2, 3, size] {
            let leaders: Vec<usize> = (0..size).map(|rank| rank % groups).collect();
            let mine = |leader: usize| bytes(leader, length.saturating_sub(leader * 1000));
            let mut data = if leaders[rank] == rank { mine(rank) } else { vec![1; 3] };
            comm.broadcast_in_groups(&leaders, &mut data).unwrap();
            assert!(data == mine(leaders[rank]));
        }
    }
}

/// Lets this rank share memory as `layout` says.
fn set_layout(layout: &str) {
    let number = |names: [&str; 2]| -> usize {
        names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok()).unwrap_or_default()
    };
    let rank = number(["OMPI_COMM_WORLD_RANK", "PMI_RANK"]);
    let size = number(["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]);
    let host = match layout {
        "two" => 2 * rank / size.max(1),
        "alternating" => rank % 2,
        _ => 0,
    };
    let off = match layout {
        "none" => true,
        "last-off" => rank + 1 == size,
        "first-off" => rank == 0,
        _ => false,
    };
    // SAFETY: the only thread.
    unsafe {
        std::env::set_var("DIJITSO_HOST_ID", host.to_string());
        if off {
            std::env::set_var("DIJITSO_NODE_MEMORY", "off");
        }
    }
}

/// Tells the program that has started the ranks an error, which all ranks have to share.
fn report(comm: &MpiComm, text: &str) {
    println!("REPORT {} {text}", comm.rank());
}

/// A rank comes to a group broadcast when the others have given up, in a group and in a host with others.
fn late(comm: &MpiComm) {
    let leaders = [0, 1, 0, 1];
    comm.begin("poisson", Some(Duration::from_millis(1500)));
    comm.enter("sending");
    if comm.rank() == 2 {
        std::thread::sleep(Duration::from_secs(4));
    }
    let begin = Instant::now();
    let error = comm.broadcast_in_groups(&leaders, &mut vec![7; 5 << 20]).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 2), "{error}");
    assert!(error.message().contains("step \"sending\" of \"poisson\""), "{error}");
    let after = comm.broadcast_in_groups(&leaders, &mut vec![7]).unwrap_err();
    assert!(after.message().ends_with(error.message()), "{after}");
    report(comm, error.message());
}

/// The lowest rank, which leads its host, is away longer than the others wait; then one of another host.
fn builder(comm: &MpiComm) {
    for late in [0, 3] {
        let comm = duplicate();
        comm.begin("poisson", Some(Duration::from_secs(30)));
        for _ in 0..20 {
            comm.min(&mut [1]).unwrap();
        }
        comm.begin("poisson", Some(Duration::from_secs(1)));
        comm.enter("building");
        if comm.rank() == late {
            std::thread::sleep(Duration::from_secs(3));
        }
        let error = comm.min(&mut [1]).unwrap_err();
        assert_eq!((error.kind(), error.rank()), (Kind::Timeout, late as i32), "{error}");
        assert!(!error.message().contains("and so"), "{error}");
        assert_eq!(comm.broadcast(0, &mut vec![1]).unwrap_err().kind(), Kind::Timeout);
        report(&comm, error.message());
    }
    comm.begin("poisson", Some(LIMIT));
    comm.min(&mut [1]).unwrap();
}

/// Ends this process as a killed one ends.
fn die() -> ! {
    Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn killed(comm: &MpiComm) {
    comm.begin("poisson", Some(STOPPED));
    comm.enter("loading");
    comm.min(&mut [1]).unwrap();
    if comm.rank() == 3 {
        // mpiexec ends the others soon after: a stopped rank is late as a killed one is.
        Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status().unwrap();
    }
    let error = comm.min(&mut [1]).unwrap_err();
    assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 3), "{error}");
    report(comm, error.message());
    end_all(comm);
}

/// A rank stops in the middle of large data.
fn killed_in_pieces(comm: &MpiComm) {
    comm.begin("poisson", Some(STOPPED));
    comm.enter("sending");
    if comm.rank() == 3 {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(700));
            Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status().unwrap();
        });
    }
    let begin = Instant::now();
    let error = loop {
        let mut data = if comm.rank() == 1 { bytes(1, 20 << 20) } else { Vec::new() };
        if let Err(error) = comm.broadcast(1, &mut data) {
            break error;
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
    };
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(error.rank() == 3 || error.message().contains("all 5 ranks"), "{error}");
    report(comm, error.message());
    end_all(comm);
}

/// Ends the program with a rank that is stopped.
fn end_all(comm: &MpiComm) {
    std::thread::sleep(Duration::from_secs(2));
    if comm.rank() == 0 {
        die();
    }
    std::thread::sleep(Duration::from_secs(20));
}

/// Several communicators, each with its own memory, in several threads where MPI allows that.
fn many(comm: &MpiComm) {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let all: Vec<Arc<MpiComm>> = (0..50).map(|_| duplicate()).collect();
    assert_eq!(descriptors(), before, "files stay open");
    for round in 0..20 {
        for comm in &all {
            let mut least = [round + comm.rank() as u64];
            comm.min(&mut least).unwrap();
            assert_eq!(least, [round]);
        }
    }
    comm.min(&mut [1]).unwrap();
}

/// Counts what 15 ranks cost that wait for one.
fn sleepers(comm: &MpiComm) {
    comm.begin("poisson", Some(LIMIT));
    for _ in 0..50 {
        comm.min(&mut [1]).unwrap();
    }
    // Processor time in nanoseconds, and the number of sleeps.
    let cost = || {
        let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        [stat.split(' ').next().unwrap(), sleeps.trim()].map(|number| number.parse::<u64>().unwrap())
    };
    let before = cost();
    if comm.rank() == 3 {
        std::thread::sleep(Duration::from_secs(5));
    }
    comm.min(&mut [1]).unwrap();
    let after = cost();
    let used: Vec<u8> = (0..2).flat_map(|at| (after[at] - before[at]).to_le_bytes()).collect();
    let all = comm.all_gather(&used).unwrap();
    let numbers: Vec<u64> =
        all.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect();
    let time = numbers.iter().step_by(2).sum::<u64>() / 1000;
    let sleeps: Vec<u64> = numbers.iter().skip(1).step_by(2).copied().collect();
    if comm.rank() == 0 {
        println!("{} ranks took {time} us in 5 s; sleeps {sleeps:?}", comm.size());
    }
    // About 30, and some more if MPI seemed to be busy.
    assert!(sleeps.iter().all(|sleeps| *sleeps < 300), "{sleeps:?}");
    assert_eq!(comm.idle_wakeups(), 0);
}

/// Returns the library's duplicate of a new communicator.
fn duplicate() -> Arc<MpiComm> {
    let host = HostMpi::of_process();
    let mut word = 0_usize;
    // SAFETY: the type of the function, a communicator, and a pointer to a local.
    let comm = unsafe {
        let dup: extern "C" fn(usize, *mut usize) -> i32 = host.function("MPI_Comm_dup");
        assert_eq!(dup(host.constants.comm_world, &raw mut word), 0);
        RawComm::at((&raw const word).cast(), host.constants.handle_size)
    };
    attached(comm, "test", Some(LIMIT), None, || Box::new(())).unwrap()
}

/// Rank 0 has an unfinished send of 64 MiB to rank 1, and waits for it in a collective. Rank 1 receives, and
/// blocks until it has: MPI proceeds on rank 0 only if that calls it.
fn progress(comm: &MpiComm) {
    const LENGTH: usize = 64 << 20;
    let host = HostMpi::of_process();
    let Constants { comm_world, uint8, request_null, status_ignore, .. } = host.constants;
    type Send = extern "C" fn(*const u8, i32, usize, i32, i32, usize) -> i32;
    type Isend = extern "C" fn(*const u8, i32, usize, i32, i32, usize, *mut usize) -> i32;
    type Receive = extern "C" fn(*mut u8, i32, usize, i32, i32, usize, usize) -> i32;
    type Wait = extern "C" fn(*mut usize, usize) -> i32;
    // SAFETY: the types of these functions.
    let (send, isend, receive, wait): (Send, Isend, Receive, Wait) = unsafe {
        (
            host.function("MPI_Send"),
            host.function("MPI_Isend"),
            host.function("MPI_Recv"),
            host.function("MPI_Wait"),
        )
    };
    // The time of the message if rank 0 waits for it in MPI: more on a machine that is busy with other things.
    let begin = Instant::now();
    let mut data = vec![0_u8; LENGTH];
    let length = i32::try_from(LENGTH).unwrap();
    if comm.rank() == 0 {
        send(data.as_ptr(), length, uint8, 1, 0, comm_world);
    } else {
        receive(data.as_mut_ptr(), length, uint8, 0, 0, comm_world, status_ignore);
    }
    let in_mpi = begin.elapsed();
    for late in [0, 300, 2000] {
        let begin = Instant::now();
        let mut data = vec![comm.rank() as u8; LENGTH];
        let mut request = request_null;
        if comm.rank() == 0 {
            isend(data.as_ptr(), length, uint8, 1, 0, comm_world, &raw mut request);
        } else {
            std::thread::sleep(Duration::from_millis(late));
            receive(data.as_mut_ptr(), length, uint8, 0, 0, comm_world, status_ignore);
            println!("late {late} ms, received after {:?}", begin.elapsed());
        }
        comm.min(&mut [1]).unwrap();
        wait(&raw mut request, status_ignore);
        assert!(data == vec![0; LENGTH]);
        let limit = Duration::from_millis(late) + Duration::from_secs(3) + in_mpi * 4;
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    }
}
