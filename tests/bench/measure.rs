//! What the benchmarks measure with.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Ticks of a second in `/proc/self/stat`, which Linux shows to every program alike.
const TICKS: u64 = 100;

/// A new folder on a disk, removed with everything in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A folder below the one that is given, or below `target/tmp`.
    pub(crate) fn new(name: &str, below: Option<&Path>) -> Self {
        let below = below.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let path = below.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `work` makes of each item, in their order, by as many threads as there are cores.
pub(crate) fn on_every_core<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().unwrap().get();
    let share = items.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            items.chunks(share).map(|items| scope.spawn(move || items.iter().map(work).collect::<Vec<R>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Processor time of the process.
pub(crate) fn process_time() -> Duration {
    processor_time(11)
}

/// Processor time of the processes that this one started and that have ended.
pub(crate) fn children_time() -> Duration {
    processor_time(13)
}

/// Two fields of the process's `stat` added up, counted after its name.
fn processor_time(field: usize) -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The program's name may have spaces, and ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(field).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Processor time of the thread.
pub(crate) fn thread_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// Bytes of memory that the process occupies.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Bytes on disk of everything below a folder.
pub(crate) fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let of = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { disk(&entry.path()) } else { metadata.blocks() * 512 }
    };
    fs::read_dir(folder).unwrap().map(|entry| of(entry.unwrap())).sum()
}

/// Of sorted times the one that so many of a hundred do not exceed.
pub(crate) fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// How many fit into a second.
pub(crate) fn per_second(each: Duration) -> u128 {
    1_000_000_000 / each.as_nanos().max(1)
}
