//! Work ahead: jobs side by side, each on its own thread and bench, so that the report finds their
//! results in the cache.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, anyhow};

use super::{
    bench::{Bench, Job, Materials},
    costs::available_memory,
};

/// Does what the cache lacks of `jobs`, at most `side_by_side` at a time and no more than memory
/// allows. The first is done alone, and tells how much memory one takes.
pub fn work(bench: &Bench<'_>, materials: Materials<'_>, jobs: &[Job], side_by_side: usize) -> Result<()> {
    let Some((first, rest)) = jobs.split_first().filter(|_| side_by_side > 1) else { return Ok(()) };
    let need = bench.run(first)?.costs.peak_memory_bytes;
    let threads = threads(side_by_side, rest.len(), need, available_memory());
    if threads < 2 {
        println!("  one at a time: this machine has no memory for more, or does not say");
        return Ok(());
    }
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if let Err(error) = drain(materials, rest, &next) {
                    // The others stop at their next job.
                    next.store(rest.len(), Ordering::Relaxed);
                    failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    failure.into_inner().map_err(|_| anyhow!("a thread broke off"))?.map_or(Ok(()), Err)
}

fn drain(materials: Materials<'_>, jobs: &[Job], next: &AtomicUsize) -> Result<()> {
    let bench = Bench::open(materials, false)?;
    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
        bench.run(job)?;
        println!("  {} done", job.method.title);
    }
    Ok(())
}

/// As many threads as are wanted, have work, and fit; one, where it is not known what fits.
fn threads(wanted: usize, jobs: usize, need: Option<u64>, available: Option<u64>) -> usize {
    let fit = match (need, available) {
        (Some(need), Some(available)) => (available / need.max(1)) as usize,
        _ => 1,
    };
    wanted.min(jobs).min(fit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_what_is_done_side_by_side() {
        assert_eq!(threads(4, 10, Some(1 << 30), Some(3 << 30)), 3);
        assert_eq!(threads(4, 2, Some(1 << 30), Some(9 << 30)), 2);
        assert_eq!(threads(4, 10, Some(2 << 30), Some(1 << 30)), 1);
        assert_eq!(threads(4, 10, None, Some(1 << 40)), 1);
        assert_eq!(threads(4, 10, Some(1), None), 1);
    }
}
