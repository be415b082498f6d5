//! `ezdfs bench`

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ezdfs_core::{DirPath, Entropy as _, Error, FilePath, OsEntropy};
use ezdfs_engine::{FileService, PublishOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::time::Instant;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result};
use crate::trash::Pages;

const AFTER: &str = "\
Writes files into a directory of its own, reads them back and removes them again. The figures
hold for this machine, this moment and this store; they are no substitute for a test of your
own load.

JSON (--json): one object per figure with name, operations, bytes, seconds, per_second,
p50_us, p99_us.

Examples:
  ezdfs bench
  ezdfs bench --files 1000 --jobs 16 --json";

/// Measure this store: metadata operations, put and get
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct BenchArgs {
    /// Small files to write; large ones are a twentieth of it
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    files: u32,
    /// Operations at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// One JSON object per figure
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    operations: u64,
    bytes: u64,
    seconds: f64,
    per_second: f64,
    p50_us: u64,
    p99_us: u64,
}

pub(crate) async fn run(args: BenchArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let dir: FilePath = format!("ezdfs-bench-{}", OsEntropy.token()).parse()?;
    let bench = Bench { service: store.service, dir, jobs: usize::from(args.jobs) };
    let mut out = Out::new();
    // A signal must not leave the files behind.
    let measured = tokio::select! {
        measured = bench.measure(args.files, args.json, &mut out) => measured,
        () = crate::signals::shutdown() => Err(crate::outcome::Failure::Interrupted),
    };
    bench.remove().await?;
    out.flush()?;
    measured.map(|()| Outcome::Done)
}

struct Bench {
    service: FileService,
    dir: FilePath,
    jobs: usize,
}

impl Bench {
    async fn measure(&self, files: u32, json: bool, out: &mut Out) -> Result<()> {
        let (small, large) =
            (Kind::new("4k", 4 << 10, files), Kind::new("1m", 1 << 20, files / 20));
        let mut show = |figure: Figure| {
            if json { out.json(&figure) } else { out.line(&figure.line()) }
        };
        show(self.time("put 4 KiB", small.bytes, small.count, |i| self.put(&small, i)).await?)?;
        show(self.time("get 4 KiB", small.bytes, small.count, |i| self.get(&small, i)).await?)?;
        show(self.time("put 1 MiB", large.bytes, large.count, |i| self.put(&large, i)).await?)?;
        show(self.time("get 1 MiB", large.bytes, large.count, |i| self.get(&large, i)).await?)?;
        let looks = small.count.saturating_mul(10);
        show(self.time("load", 0, looks, |i| self.load(&small, i % small.count)).await?)?;
        show(self.time("load missing", 0, looks, |i| self.miss(i)).await?)?;
        show(self.time("list 100", 0, small.count, |_| self.list()).await?)?;
        show(self.time("touch", 0, small.count, |i| self.touch(&small, i)).await?)?;
        show(self.time("delete", 0, small.count, |i| self.delete(&small, i)).await?)
    }

    /// Runs `count` operations, some at once.
    async fn time<F>(
        &self,
        name: &'static str,
        bytes_each: u32,
        count: u32,
        operation: impl Fn(u32) -> F,
    ) -> Result<Figure>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let started = Instant::now();
        let mut each: Vec<Duration> = futures::stream::iter(0..count)
            .map(|i| {
                let one = operation(i);
                async move {
                    let started = Instant::now();
                    one.await?;
                    Ok::<_, Error>(started.elapsed())
                }
            })
            .buffer_unordered(self.jobs)
            .try_collect()
            .await?;
        let elapsed = started.elapsed();
        each.sort_unstable();
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        Ok(Figure {
            name,
            operations: u64::from(count),
            bytes: u64::from(count) * u64::from(bytes_each),
            seconds,
            per_second: f64::from(count) / seconds,
            p50_us: percentile(&each, 50),
            p99_us: percentile(&each, 99),
        })
    }

    fn path(&self, kind: &Kind, i: u32) -> Result<FilePath, Error> {
        Ok(format!("{}/{}/{i:06}.bin", self.dir, kind.name).parse()?)
    }

    async fn put(&self, kind: &Kind, i: u32) -> Result<(), Error> {
        // Pieces as a real upload has them; all different, so that nothing is cheaper than it is.
        let piece = 64 << 10;
        let pieces = (0..kind.bytes.div_ceil(piece)).map(|n| {
            let len = piece.min(kind.bytes - n * piece);
            let byte = u8::try_from((i + n) % 251).unwrap_or_default();
            Ok(Bytes::from(vec![byte; usize::try_from(len).unwrap_or_default()]))
        });
        let body = futures::stream::iter(pieces);
        self.service.publish(&self.path(kind, i)?, body, PublishOptions::default()).await.map(drop)
    }

    async fn get(&self, kind: &Kind, i: u32) -> Result<(), Error> {
        let (_, mut body) = self.service.open_whole(&self.path(kind, i)?).await?;
        while let Some(piece) = body.next().await {
            piece?;
        }
        Ok(())
    }

    async fn load(&self, kind: &Kind, i: u32) -> Result<(), Error> {
        self.service.load(&self.path(kind, i)?).await.map(drop)
    }

    async fn miss(&self, i: u32) -> Result<(), Error> {
        self.service.exists(&format!("{}/none/{i}", self.dir).parse()?).await.map(drop)
    }

    async fn list(&self) -> Result<(), Error> {
        let dir: DirPath = format!("{}/4k", self.dir).parse()?;
        self.service.list(&dir, None, 100).await.map(drop)
    }

    async fn touch(&self, kind: &Kind, i: u32) -> Result<(), Error> {
        self.service.touch(&self.path(kind, i)?, &ezdfs_engine::Touch::default()).await
    }

    async fn delete(&self, kind: &Kind, i: u32) -> Result<(), Error> {
        self.service.delete(&self.path(kind, i)?, &ezdfs_engine::Precondition::None).await
    }

    /// Takes everything away again, the trash included.
    async fn remove(&self) -> Result<(), Error> {
        match self.service.delete_dir(&self.dir, |_| {}).await {
            Err(e) if e.kind() == ezdfs_core::ErrorKind::NotFound => {}
            other => drop(other?),
        }
        let mut pages = Pages::new(&self.service, self.dir.clone().into());
        while let Some(page) = pages.next().await? {
            for tombstone in page {
                self.service.purge(&tombstone.path).await?;
            }
        }
        Ok(())
    }
}

/// Files of one size.
struct Kind {
    name: &'static str,
    bytes: u32,
    count: u32,
}

impl Kind {
    fn new(name: &'static str, bytes: u32, count: u32) -> Self {
        Self { name, bytes, count: count.max(1) }
    }
}

impl Figure {
    fn line(&self) -> String {
        let rate = format!("{:.0}/s", self.per_second);
        let megabytes = match self.bytes {
            0 => String::new(),
            // Below 2^53 bytes this is exact.
            bytes => format!("{:.1} MiB/s", bytes_f64(bytes) / 1_048_576.0 / self.seconds),
        };
        format!(
            "{:<14} {rate:>9}   p50 {:>7} µs   p99 {:>7} µs   {megabytes}",
            self.name, self.p50_us, self.p99_us
        )
    }
}

fn bytes_f64(bytes: u64) -> f64 {
    let (high, low) = (bytes >> 32, bytes & u64::from(u32::MAX));
    let part = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    part(high) * 4_294_967_296.0 + part(low)
}

/// The time that so many per cent of the operations did not exceed, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let micros = sorted.get(at).map_or(0, Duration::as_micros);
    u64::try_from(micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=10).map(Duration::from_micros).collect();
        assert_eq!(percentile(&sorted, 50), 5);
        assert_eq!(percentile(&sorted, 99), 10);
        assert_eq!(percentile(&sorted[..1], 50), 1);
        assert_eq!(percentile(&[], 50), 0);
        assert!((bytes_f64(5_000_000_000) - 5e9).abs() < 0.5);
    }

    #[tokio::test]
    async fn it_leaves_nothing_behind() {
        for service in [testing::memory(), testing::memory_with_trash()] {
            let bench = Bench { service: service.clone(), dir: "b".parse().unwrap(), jobs: 3 };
            bench.measure(20, true, &mut Out::sink()).await.unwrap();
            bench.remove().await.unwrap();
            assert!(service.list(&DirPath::root(), None, 9).await.unwrap().entries.is_empty());
            assert!(service.trash(&DirPath::root(), None, 9).await.unwrap().is_empty());
        }
    }
}
