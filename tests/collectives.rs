//! Collectives over the MPI that MPICC names. Without arguments this program starts itself under mpiexec, for
//! each case and number of ranks.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use std::process::{Child, Command, ExitCode, ExitStatus};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dijitso::error::Kind;
use dijitso::parallel::Communicator;
use dijitso::parallel::mpi::{MpiComm, attached};

/// Name of a case, numbers of ranks, and the program of a rank.
type Case = (&'static str, &'static [usize], fn(&MpiComm));

const CASES: &[Case] = &[("values", &[1, 2, 5, 8], values), ("late", &[4], late)];

/// The limit of one case.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name] = arguments.as_slice()
        && mode == "rank"
    {
        let (.., program) = CASES.iter().find(|(case, ..)| case == name).expect("a case");
        // SAFETY: MPI is not initialised; null pointers stand for no arguments.
        assert_eq!(unsafe { mpi_sys::MPI_Init(null_mut(), null_mut()) }, 0);
        program(&world());
        // SAFETY: initialised above.
        assert_eq!(unsafe { mpi_sys::MPI_Finalize() }, 0);
        return ExitCode::SUCCESS;
    }
    // The C compiler of an MPI and its launcher have the same suffix.
    let mpiexec = std::env::var("MPICC").unwrap_or_else(|_| "mpicc".to_owned()).replace("mpicc", "mpiexec");
    let mut failed = 0;
    for (case, sizes, _) in CASES {
        if arguments.iter().all(|filter| filter.starts_with('-') || case.contains(filter.as_str())) {
            for size in *sizes {
                let begin = Instant::now();
                let status = start(&mpiexec, *size, case);
                println!("{case} on {size} ranks: {status:?} after {:.1?}", begin.elapsed());
                failed += u8::from(!status.is_some_and(|status| status.success()));
            }
        }
    }
    ExitCode::from(failed)
}

/// Runs a case and returns its status, `None` if it was killed at the limit.
fn start(mpiexec: &str, size: usize, case: &str) -> Option<ExitStatus> {
    let mut command = Command::new(mpiexec);
    command.args(["-n", &size.to_string()]).arg(std::env::current_exe().expect("a path"));
    // Lets Open MPI 4 and 5 start more ranks than cores, also as root.
    for name in
        ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]
    {
        command.env(name, "1");
    }
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    let mut child = command.args(["rank", case]).spawn().expect("mpiexec");
    wait(&mut child, Instant::now() + LIMIT)
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

/// Returns the library's duplicate of the communicator of all ranks.
fn world() -> Arc<MpiComm> {
    // SAFETY: a constant of the MPI library.
    attached(unsafe { mpi_sys::RSMPI_COMM_WORLD }, "test", Some(LIMIT), None, || Box::new(())).unwrap()
}

/// Bytes that depend on `seed`.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at + seed * 31) % 251) as u8).collect()
}

/// Lengths on both sides of each limit within the collectives.
const LENGTHS: [usize; 8] = [0, 1, 1016, 1017, 65_536, 65_537, 4 << 20, (9 << 20) + 3];

fn values(comm: &MpiComm) {
    let (rank, size) = (comm.rank(), comm.size());
    for round in 0..100_u64 {
        let mut least = [round + rank as u64, u64::MAX - rank as u64, u64::MAX, rank as u64 ^ 1 << 63];
        comm.min(&mut least).unwrap();
        assert_eq!(least, [round, u64::MAX - (size as u64 - 1), u64::MAX, 1 << 63]);
        let all = comm.all_gather(&[rank as u8, round as u8]).unwrap();
        assert_eq!(all, (0..size).flat_map(|rank| [rank as u8, round as u8]).collect::<Vec<_>>());
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

/// A rank comes to a group broadcast when the others have given up.
fn late(comm: &MpiComm) {
    let leaders = [0, 1, 0, 1];
    comm.begin("poisson", Some(Duration::from_millis(1500)));
    comm.enter("sending");
    if comm.rank() == 2 {
        std::thread::sleep(Duration::from_secs(4));
    }
    let error = comm.broadcast_in_groups(&leaders, &mut vec![7; 5 << 20]).unwrap_err();
    assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 2), "{error}");
    assert!(error.message().contains("step \"sending\" of \"poisson\""), "{error}");
    let after = comm.broadcast_in_groups(&leaders, &mut vec![7]).unwrap_err();
    assert!(after.message().ends_with(error.message()), "{after}");
    if comm.rank() == 0 {
        println!("{error}");
    }
}
