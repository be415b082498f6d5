//! Many tasks on few paths, on one node and on two: every read is one whole published version, and
//! nothing is left over.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind};
use ezdfs_engine::{FileService, Options, Precondition, PublishOptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::world::{
    Backend, MEMORY, MEMORY_LOCAL, SQLITE_LOCAL, World, options, path, put_with, read,
};

const PATHS: [&str; 4] = ["d/a", "d/b", "d/c/a", "e"];

/// The bytes of a version: of any size, and each byte says which version it is.
fn version(n: u32) -> Vec<u8> {
    let len = usize::try_from(n % 5 * 70_000 + n % 7).unwrap();
    n.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn is_version(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<4>() else { return bytes.len() < 4 };
    bytes == version(u32::from_le_bytes(*head))
}

async fn act(service: &FileService, rng: &mut StdRng) -> Result<(), Error> {
    let at = path(PATHS[rng.random_range(0..PATHS.len())]);
    let other = path(PATHS[rng.random_range(0..PATHS.len())]);
    match rng.random_range(0..10) {
        0..=3 => put_with(service, at.as_str(), version(rng.random()), PublishOptions::default())
            .await
            .map(|_| ()),
        4 => service.delete(&at, &Precondition::None).await,
        5 => service.rename(&at, &other, true).await.map(|_| ()),
        6 => service.maintain().await.map(|done| assert_eq!(done.failed, 0, "{done:?}")),
        _ => read(service, &at).await.map(|bytes| assert!(is_version(&bytes), "{at} is torn")),
    }
}

async fn check(backend: Backend, nodes: usize, tasks: u64, steps: u32) {
    let options = Options { io_timeout: Duration::from_secs(5), ..options() };
    let world = Arc::new(World::new(backend, options).await);
    let nodes: Vec<_> = (0..nodes).map(|_| world.calm()).collect();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let service = nodes[usize::try_from(task).unwrap() % nodes.len()].clone();
        running.spawn(async move {
            let mut rng = StdRng::seed_from_u64(task);
            let mut done = 0_u32;
            for _ in 0..steps {
                match act(&service, &mut rng).await {
                    Ok(()) => done += 1,
                    Err(e) if e.kind() == ErrorKind::NotFound || e.kind().is_transient() => {}
                    Err(e) => panic!("{e} ({:?})", e.kind()),
                }
            }
            done
        });
    }
    let mut done = 0;
    while let Some(one) = running.join_next().await {
        done += one.unwrap();
    }
    assert!(done > steps, "hardly anything succeeded: {done}");
    let service = &nodes[0];
    world.outlast_lease();
    for (at, (bytes, _)) in world.files(service).await {
        assert!(is_version(&bytes), "{at} is torn");
    }
    world.clean_up(service).await;
    world.assert_no_leftovers("after the storm").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_one_node() {
    check(MEMORY, 1, 8, 150).await;
    check(MEMORY_LOCAL, 1, 8, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_two_nodes() {
    check(MEMORY, 2, 8, 150).await;
    check(MEMORY_LOCAL, 2, 8, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_two_nodes_of_the_embedded_default() {
    check(SQLITE_LOCAL, 2, 6, 40).await;
}
