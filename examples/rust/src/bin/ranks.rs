// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks of MPI: one of them compiles, all get the function; and all get the error of one.

use std::process::ExitCode;

use dijitso::{Comm, Error};

fn run(rank: i32, comm: Comm) -> Result<(), Error> {
    let mut generated = 0;
    let library = dijitso::jit("square")
        .generate(|source| {
            generated += 1;
            source.code(r#"extern "C" double square(double x) { return x * x; }"#);
            Ok::<(), Error>(())
        })
        .comm(comm)
        .load()?;
    // SAFETY: `square` has this type in the source above.
    let square: extern "C" fn(f64) -> f64 = unsafe { library.symbol("square")? };
    println!("rank {rank}: square(3) = {} (generated {generated})", square(3.0));

    // The generator fails on the rank that builds; every rank gets its error.
    let failure = dijitso::jit("impossible").generate(|_| Err("no such element")).comm(comm).load();
    let error = failure.expect_err("the generator fails");
    let cause = std::error::Error::source(&error).is_some();
    println!("rank {rank}: failed on rank {} (own: {cause})", error.rank().map_or(-1, |rank| rank as i64));
    Ok(())
}

fn main() -> ExitCode {
    let mut rank = 0;
    // SAFETY: MPI is initialised once, and before it is used.
    let comm = unsafe {
        mpi_sys::MPI_Init(std::ptr::null_mut(), std::ptr::null_mut());
        mpi_sys::MPI_Comm_rank(mpi_sys::RSMPI_COMM_WORLD, &raw mut rank);
        // With a Fortran integer: Comm::from_fortran(mpi_sys::RSMPI_Comm_c2f(comm)). With the crate mpi:
        // Comm::from_raw(world.as_raw()).
        if std::env::args().nth(1).as_deref() == Some("fortran") {
            Comm::from_fortran(mpi_sys::RSMPI_Comm_c2f(mpi_sys::RSMPI_COMM_WORLD))
        } else {
            Comm::from_raw(mpi_sys::RSMPI_COMM_WORLD)
        }
    };
    let result = run(rank, comm);
    // SAFETY: the last call of MPI.
    unsafe { mpi_sys::MPI_Finalize() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rank {rank}: {error:?}");
            ExitCode::FAILURE
        }
    }
}
