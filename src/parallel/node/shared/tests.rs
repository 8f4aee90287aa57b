//! Ranks that are threads with maps of their own of one memory, and forked processes.

use super::super::barrier::Woken;
use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Maps the memory for each of some ranks.
fn maps(ranks: usize) -> Vec<SharedMemory> {
    let own = MemoryFile::new().unwrap();
    let handle = own.handle().unwrap();
    let map = |index| SharedMemory::map(&own.open(handle).unwrap(), ranks, index).unwrap();
    (0..ranks).map(map).collect()
}

/// Comes to a barrier, does `work` as the last one, and waits for the others.
fn meet(shared: &SharedMemory, stage: BarrierKind, work: impl FnOnce(u32)) -> Result<u32> {
    let barrier = shared.barrier(stage);
    let before = barrier.done.get();
    shared.check(before)?;
    if barrier.arrive(shared.ranks()) {
        work(before);
        barrier.done.advance(before);
    }
    while barrier.done.get() == before {
        if barrier.done.sleep(before, LONG) == Woken::ForNothing {
            shared.count_idle_wakeup();
        }
    }
    shared.check(barrier.done.get())?;
    Ok(before)
}

fn run<T: Send>(all: &[SharedMemory], program: impl Fn(&SharedMemory) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let program = &program;
        let ranks: Vec<_> = all.iter().map(|shared| scope.spawn(move || program(shared))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn thousands_of_steps_carry_contributions_and_results() {
    for ranks in [1, 2, 3, 7] {
        let all = maps(ranks);
        run(&all, |shared| {
            for round in 0..2000_u32 {
                let length = 4 + (round as usize * 37) % (CONTRIBUTION - 4);
                let mut mine = vec![shared.index as u8; length];
                mine[..4].copy_from_slice(&round.to_le_bytes());
                let before = shared.barrier(BarrierKind::Step).done.get();
                shared.contribute(before, &mine);
                meet(shared, BarrierKind::Step, |before| shared.set_result(before, &mine[..4])).unwrap();
                let mut row = vec![0; length];
                for index in 0..ranks {
                    shared.contribution(before, index, &mut row);
                    assert_eq!(row[..4], round.to_le_bytes());
                    assert!(row[4..].iter().all(|byte| *byte == index as u8));
                }
                let mut result = [0; 4];
                shared.result(before, &mut result);
                assert_eq!(result, round.to_le_bytes());
            }
        });
        assert_eq!(all[0].idle_wakeups(), 0);
    }
}

#[test]
fn pieces_follow_each_other_without_a_copy_in_between() {
    let all = maps(3);
    assert!(all[1].has_pieces());
    run(&all, |shared| {
        let mut piece = vec![0; PIECE];
        for number in 0..40_usize {
            if shared.index == 1 {
                shared.write_piece(number, &vec![number as u8; PIECE - number]);
            }
            meet(shared, BarrierKind::Piece, |_| {}).unwrap();
            shared.read_piece(number, &mut piece[..PIECE - number]);
            assert!(piece[..PIECE - number].iter().all(|byte| *byte == number as u8));
        }
    });
}

#[test]
fn the_ranks_that_wait_are_seen_and_the_first_error_counts() {
    let all = maps(4);
    for index in [0, 1, 3] {
        all[index].set_position(5);
    }
    all[2].set_position(4);
    assert_eq!(all[2].present(5), [true, true, false, true]);
    std::thread::sleep(Duration::from_millis(3));
    assert!(all[2].longest_wait(5) >= Duration::from_millis(3));
    assert_eq!(all[2].longest_wait(6), Duration::ZERO);
    assert!(all[0].claim_warning(5) && !all[1].claim_warning(5) && all[1].claim_warning(6));

    let errors = [0, 1, 3].map(|index: usize| Error::new(Kind::Timeout, format!("by {index}")));
    let failed: Vec<FailOutcome> = std::thread::scope(|scope| {
        let fail = |(index, error): (usize, _)| {
            let shared = &all[index];
            scope.spawn(move || shared.fail(BarrierKind::Step, 0, error))
        };
        let ranks: Vec<_> = [0, 1, 3].into_iter().zip(&errors).map(fail).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    let first = all[2].failure().unwrap();
    assert!(failed.iter().all(|outcome| *outcome == FailOutcome::Failed(first.clone())));
    for shared in &all {
        assert_eq!(meet(shared, BarrierKind::Step, |_| {}), Err(first.clone()));
        assert_eq!(meet(shared, BarrierKind::Piece, |_| {}), Err(first.clone()));
    }
}

#[test]
fn a_step_is_complete_or_has_failed_for_all() {
    for round in 0..200 {
        let all = maps(3);
        let error = Error::new(Kind::Timeout, "late");
        let results = run(&all, |shared| {
            if shared.index == 0 {
                let outcome = shared.fail(BarrierKind::Step, 0, &error);
                assert_eq!(outcome == FailOutcome::Complete, shared.failure().is_none());
            }
            if shared.index == 1 && round % 2 == 0 {
                std::thread::yield_now();
            }
            meet(shared, BarrierKind::Step, |_| {}).map(drop)
        });
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    }
    let all = maps(1);
    meet(&all[0], BarrierKind::Step, |_| {}).unwrap();
    let error = Error::new(Kind::Timeout, "late");
    assert_eq!(all[0].fail(BarrierKind::Step, 0, &error), FailOutcome::Complete);
    meet(&all[0], BarrierKind::Step, |_| {}).unwrap();
    let long = Error::new(Kind::Mpi, "\n".repeat(20_000));
    assert!(matches!(all[0].fail_always(&long), FailOutcome::Failed(error) if error.kind() == Kind::Mpi));
    assert_eq!(meet(&all[0], BarrierKind::Step, |_| {}).unwrap_err().kind(), Kind::Mpi);
}

#[test]
fn a_killed_process_is_late_in_its_next_step() {
    let all = maps(2);
    // SAFETY: the child uses the memory and nothing else, and is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for position in 1.. {
            all[1].set_position(position);
            let _ = meet(&all[1], BarrierKind::Step, |_| {});
        }
    }
    let mut steps = 0_u64;
    let mut killed = false;
    loop {
        steps += 1;
        all[0].set_position(steps);
        let barrier = all[0].barrier(BarrierKind::Step);
        let before = barrier.done.get();
        if barrier.arrive(2) {
            barrier.done.advance(before);
        }
        let end = Instant::now() + Duration::from_millis(300);
        while barrier.done.get() == before && Instant::now() < end {
            barrier.done.sleep(before, Duration::from_millis(10));
        }
        if barrier.done.get() == before {
            break;
        }
        if steps > 1000 && !killed {
            killed = true;
            // SAFETY: our own child, which is not waited for before.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, ptr::null_mut(), 0);
            }
        }
    }
    assert!(killed);
    let error = Error::new(Kind::Timeout, "late");
    let before = all[0].barrier(BarrierKind::Step).done.get();
    assert_eq!(all[0].fail(BarrierKind::Step, before, &error), FailOutcome::Failed(error));
}
