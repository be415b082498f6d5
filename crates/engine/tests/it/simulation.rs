//! Several nodes on one store, in simulated time, with faults at random: calls and replies get
//! lost, come twice, late, or later than a lease; callers go away in the middle; PHP writes. The
//! history of each path must be that of one register (P1 to P5, P8), everything comes to rest, and
//! nothing is left over (P6).
//!
//! A failing seed is printed; `EZDFS_SIMULATION_SEEDS=S` runs it alone, `=FROM..TO` those below TO.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_core::{
    Capabilities, Clock, CloudSide, ErrorKind, IntentState, KeyPrefix, MetadataStore, NamePrefix,
    SeededEntropy, Timestamp,
};
use ezdfs_engine::{
    BinaryStore, CacheOptions, FileService, Follower, FollowerOptions, Options, Parts,
    Precondition, PublishOptions,
};
use ezdfs_metadata::{MemoryMetadata, SqliteMetadata, SqliteOptions};
use ezdfs_testkit::faults::{
    Chances, FaultyMetadata, FaultyObjects, Plan, StampedObjects, Still, When,
};
use ezdfs_testkit::history::{Content, Event, Op, Outcome, Payload, Verdict, check};
use ezdfs_testkit::{ForeignWriter, SqliteForeignWriter};
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectStore, ObjectStoreExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::world::{PREFIX, START, collect, path, put_with, scratch, sha256};

const NODES: usize = 3;
const CLIENTS_OF_A_NODE: usize = 2;
const STEPS: usize = 30;
/// Paths that ezdfs alone writes; those that PHP alone writes.
const OWN: usize = 3;
const FOREIGN: usize = 2;
const MAX_STALENESS: Duration = Duration::from_secs(1);

const CHANCES: Chances = Chances {
    call_lost: 12,
    reply_lost: 12,
    twice: 12,
    delayed: 150,
    delay: Duration::from_millis(300),
    stalled: 4,
    stall: Duration::from_secs(45),
};

/// Time of the runtime, which stands still while anybody has something to do.
#[derive(Debug)]
struct SimulatedClock(Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(START).plus(self.0.elapsed())
    }

    fn boot(&self) -> Duration {
        self.0.elapsed() + Duration::from_secs(1)
    }
}

/// Where rows and bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stores {
    Memory,
    /// Rows in memory, local files.
    Files,
    /// Rows in SQLite, local files.
    Sqlite,
}

struct Simulation {
    clock: Arc<SimulatedClock>,
    metadata: Arc<dyn MetadataStore>,
    foreign: Arc<dyn ForeignWriter>,
    is_sqlite: bool,
    objects: Arc<StampedObjects>,
    capabilities: Capabilities,
    plans: Vec<Plan>,
    events: std::sync::Mutex<Vec<Event>>,
    contents: AtomicU64,
    /// PHP nodes write a path one after the other.
    php_paths: Vec<tokio::sync::Mutex<()>>,
    _dir: tempfile::TempDir,
}

impl Simulation {
    async fn new(seed: u64, stores: Stores) -> Self {
        let dir = scratch();
        let clock = Arc::new(SimulatedClock(Instant::now()));
        let prefix = NamePrefix::new(PREFIX);
        let is_sqlite = stores == Stores::Sqlite;
        let (metadata, foreign): (Arc<dyn MetadataStore>, Arc<dyn ForeignWriter>) = if is_sqlite {
            let _still = Still::new();
            let file = dir.path().join("ezdfs.db");
            let with = SqliteOptions { prefix, ..SqliteOptions::default() };
            let store = SqliteMetadata::open(&file, with, clock.clone()).await.unwrap();
            let foreign = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
            // Whoever calls it: time stands still until its threads have answered.
            let store = FaultyMetadata::new(Arc::new(store), Plan::calm().on_threads());
            (Arc::new(store), Arc::new(foreign))
        } else {
            let store = MemoryMetadata::new(prefix, clock.clone());
            let foreign = store.foreign();
            (Arc::new(store), Arc::new(foreign))
        };
        let (store, capabilities): (Arc<dyn ObjectStore>, _) = if stores == Stores::Memory {
            (Arc::new(InMemory::new()), Capabilities::MEMORY)
        } else {
            let root = dir.path().join("files");
            std::fs::create_dir(&root).unwrap();
            let with = LocalOptions { fsync: false, ..LocalOptions::default() };
            (Arc::new(LocalStore::open(&root, with).unwrap()), Capabilities::LOCAL)
        };
        let plans = (0..NODES).map(|n| Plan::random(seed * 31 + n as u64, CHANCES)).collect();
        Self {
            metadata,
            foreign,
            is_sqlite,
            objects: Arc::new(StampedObjects::new(store, clock.clone())),
            clock,
            capabilities,
            plans,
            events: std::sync::Mutex::default(),
            contents: AtomicU64::new(1),
            php_paths: (0..FOREIGN).map(|_| tokio::sync::Mutex::default()).collect(),
            _dir: dir,
        }
    }

    fn node(&self, plan: &Plan, seed: u64) -> FileService {
        let parts = Parts {
            metadata: Arc::new(FaultyMetadata::new(self.metadata.clone(), plan.clone())),
            binary: BinaryStore {
                name: "simulated".to_owned(),
                store: Arc::new(FaultyObjects::new(self.objects.clone(), plan.clone())),
                prefix: KeyPrefix::default(),
                capabilities: self.capabilities,
                side: CloudSide::default(),
                io_timeout: Duration::from_secs(30),
            },
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        let options = Options { delete_grace: Duration::from_secs(2), ..Options::default() };
        FileService::new(parts, options)
    }

    fn now(&self) -> Duration {
        self.clock.0.elapsed()
    }

    fn content(&self) -> Content {
        Content(self.contents.fetch_add(1, Ordering::SeqCst))
    }

    fn record(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

fn own(n: usize) -> String {
    format!("own/{n}")
}

fn foreign(n: usize) -> String {
    format!("php/{n}")
}

/// One client of a node.
struct Client {
    simulation: Arc<Simulation>,
    service: FileService,
    rng: StdRng,
    actor: String,
    /// How old its reads may be.
    allowance: Duration,
    /// The last version that it has seen of each path.
    known: Vec<Option<(Content, Vec<u8>)>>,
}

impl Client {
    async fn run(mut self) {
        for _ in 0..STEPS {
            let pause = Duration::from_millis(self.rng.random_range(0..1_500));
            tokio::time::sleep(pause).await;
            let n = self.rng.random_range(0..OWN);
            // Callers go away: in the middle, mostly.
            let patience = match self.rng.random_range(0..12) {
                0 => Duration::from_millis(self.rng.random_range(0..400)),
                _ => Duration::from_secs(300),
            };
            match self.rng.random_range(0..100) {
                0..20 => self.put(n, patience, 0).await,
                20..28 => self.put(n, patience, 1).await,
                28..36 => self.put(n, patience, 2).await,
                36..48 => self.delete(n, patience).await,
                48..54 => self.rename_in(n, patience).await,
                54..60 => self.rename_out(n, patience).await,
                60..75 => {
                    let n = self.rng.random_range(0..FOREIGN);
                    self.read(&foreign(n), None).await;
                }
                _ => {
                    self.read(&own(n), Some(n)).await;
                }
            }
        }
    }

    fn event(&self, path: &str, op: Op, invoked: Duration, outcome: Outcome, note: String) {
        let allowance = if op == Op::Read { self.allowance } else { Duration::ZERO };
        let returned = self.simulation.now();
        let (path, actor) = (path.to_owned(), self.actor.clone());
        let event = Event { path, actor, op, invoked, returned, outcome, allowance, note };
        self.simulation.record(event);
    }

    async fn put(&mut self, n: usize, patience: Duration, condition: u8) {
        let at = own(n);
        let new = self.simulation.content();
        let bytes = Payload { path: &at, content: new }.bytes(self.rng.random_range(0..400));
        let (op, precondition) = match (condition, &self.known[n]) {
            (1, _) => (Op::PutIfAbsent(new), Precondition::Absent),
            (2, Some((expected, old))) => {
                let tag = ezdfs_core::ETag::Strong(sha256(old).to_string());
                let op = Op::PutIfMatch { expected: *expected, new };
                (op, Precondition::Matches(vec![tag]))
            }
            _ => (Op::Put(new), Precondition::None),
        };
        let invoked = self.simulation.now();
        let options = PublishOptions { precondition, ..PublishOptions::default() };
        let put = put_with(&self.service, &at, bytes.clone(), options);
        let (outcome, note) = outcome(tokio::time::timeout(patience, put).await);
        if outcome == Outcome::Done {
            self.known[n] = Some((new, bytes));
        }
        self.event(&at, op, invoked, outcome, note);
    }

    async fn delete(&self, n: usize, patience: Duration) {
        let (at, invoked) = (path(&own(n)), self.simulation.now());
        let delete = self.service.delete(&at, &Precondition::None);
        let (outcome, note) = outcome(tokio::time::timeout(patience, delete).await);
        self.event(&own(n), Op::Delete, invoked, outcome, note);
    }

    /// From a path of its own.
    async fn rename_in(&mut self, n: usize, patience: Duration) {
        let (at, content) = (own(n), self.simulation.content());
        let from = format!("in/{content}");
        let bytes = Payload { path: &at, content }.bytes(0);
        let invoked = self.simulation.now();
        let put = put_with(&self.service, &from, bytes, PublishOptions::default()).await;
        let (put, note) = outcome::<_, ()>(Ok(put));
        self.event(&from, Op::Put(content), invoked, put, note);
        if put != Outcome::Done {
            return;
        }
        let invoked = self.simulation.now();
        let (source, target) = (path(&from), path(&at));
        let rename = self.service.rename(&source, &target, true);
        let (renamed, note) = outcome(tokio::time::timeout(patience, rename).await);
        let note = format!("renamed from {from}: {note}");
        self.event(&at, Op::Put(content), invoked, renamed, note.clone());
        self.event(&from, Op::Take, invoked, renamed, note);
    }

    /// To a path of its own, where it is found at the end.
    async fn rename_out(&self, n: usize, patience: Duration) {
        let to = format!("out/{}", self.simulation.content());
        let (source, target, invoked) = (path(&own(n)), path(&to), self.simulation.now());
        let rename = self.service.rename(&source, &target, true);
        let (outcome, note) = outcome(tokio::time::timeout(patience, rename).await);
        self.event(&own(n), Op::Take, invoked, outcome, format!("renamed to {to}: {note}"));
    }

    /// What is there, if that is known.
    async fn read(&mut self, at: &str, known: Option<usize>) -> Option<Option<Content>> {
        let invoked = self.simulation.now();
        let read = async {
            let (meta, body) = self.service.open_whole(&path(at)).await?;
            Ok::<_, ezdfs_core::Error>((meta, collect(body).await?))
        };
        let (outcome, note) = match read.await {
            Ok((meta, bytes)) => {
                let payload = Payload::parse(&bytes).unwrap_or_else(|torn| panic!("{at}: {torn}"));
                if let Some(digest) = meta.sha256 {
                    assert_eq!(digest, sha256(&bytes), "{at}: {}", payload.content);
                }
                if let Some(n) = known {
                    self.known[n] = Some((payload.content, bytes.to_vec()));
                }
                (Outcome::Seen(Some(payload.content)), String::new())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => (Outcome::Seen(None), String::new()),
            Err(e) => {
                assert!(
                    e.kind().is_transient() || e.kind() == ErrorKind::Corrupt,
                    "{at}: {e} ({:?})",
                    e.kind()
                );
                (Outcome::Failed, e.to_string())
            }
        };
        self.event(at, Op::Read, invoked, outcome, note);
        match outcome {
            Outcome::Seen(content) => Some(content),
            _ => None,
        }
    }
}

fn outcome<T, E>(answer: Result<Result<T, ezdfs_core::Error>, E>) -> (Outcome, String) {
    match answer {
        Err(_) => (Outcome::Unknown, "the caller went away".to_owned()),
        Ok(Ok(_)) => (Outcome::Done, String::new()),
        Ok(Err(e)) => {
            let outcome = match e.kind() {
                ErrorKind::NotFound | ErrorKind::PreconditionFailed => Outcome::Refused,
                _ => Outcome::Unknown,
            };
            (outcome, e.to_string())
        }
    }
}

/// A PHP node: in place, bytes before row; row before bytes.
async fn php(simulation: Arc<Simulation>, mut rng: StdRng) {
    let rows = &simulation.foreign;
    for _ in 0..STEPS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
        let n = rng.random_range(0..FOREIGN);
        let turn = simulation.php_paths[n].lock().await;
        let (at, content) = (foreign(n), simulation.content());
        let (name, key) = (format!("{PREFIX}/{at}"), ObjectKey::parse(&at).unwrap());
        let invoked = simulation.now();
        let between = Duration::from_millis(rng.random_range(0..200));
        let op = if rng.random_range(0..3) > 0 {
            let bytes = Payload { path: &at, content }.bytes(250);
            let size = bytes.len() as u64;
            simulation.objects.put(&key, bytes.into()).await.unwrap();
            tokio::time::sleep(between).await;
            let _still = simulation.is_sqlite.then(Still::new);
            rows.store(&name, size, simulation.clock.now().secs(), "text/plain").await;
            Op::Put(content)
        } else {
            let still = simulation.is_sqlite.then(Still::new);
            rows.delete(&name).await;
            drop(still);
            tokio::time::sleep(between).await;
            match simulation.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => panic!("{e}"),
            }
            Op::Clear
        };
        drop(turn);
        simulation.record(Event {
            path: at,
            actor: "php".to_owned(),
            op,
            invoked,
            returned: simulation.now(),
            outcome: Outcome::Done,
            allowance: Duration::ZERO,
            note: String::new(),
        });
    }
}

async fn maintain(service: FileService) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        // A fault is for the next round.
        drop(service.maintain().await);
    }
}

/// One run; what there is to read of it afterwards.
async fn run(seed: u64, stores: Stores) -> Vec<Event> {
    let simulation = Arc::new(Simulation::new(seed, stores).await);
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut clients, mut background, mut followers) = (JoinSet::new(), JoinSet::new(), Vec::new());
    for node in 0..NODES {
        let mut service = simulation.node(&simulation.plans[node], seed * 101 + node as u64);
        let mut allowance = Duration::ZERO;
        // The last one asks the database each time.
        if node + 1 < NODES {
            let options =
                FollowerOptions { max_staleness: MAX_STALENESS, ..FollowerOptions::default() };
            let entropy = Arc::new(SeededEntropy::new(seed + node as u64));
            let metadata = Arc::clone(service.metadata());
            let clock: Arc<dyn Clock> = simulation.clock.clone();
            let follower = Follower::start(metadata, clock, entropy, options).unwrap();
            service = service.with_follower(&follower, CacheOptions::default());
            followers.push(follower);
            allowance = MAX_STALENESS;
        }
        background.spawn(maintain(service.clone()));
        for n in 0..CLIENTS_OF_A_NODE {
            clients.spawn(
                Client {
                    simulation: simulation.clone(),
                    service: service.clone(),
                    rng: StdRng::seed_from_u64(rng.random()),
                    actor: format!("node{node}.{n}"),
                    allowance,
                    known: vec![None; OWN],
                }
                .run(),
            );
        }
    }
    clients.spawn(php(simulation.clone(), StdRng::seed_from_u64(rng.random())));
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    simulation.plans.iter().for_each(Plan::calm_down);
    for follower in followers {
        follower.stop().await;
    }
    background.shutdown().await;
    rest(&simulation, seed).await;
    let events = simulation.events.lock().unwrap().clone();
    let lost = simulation.plans.iter().map(|plan| plan.injected().calls_lost).sum::<u64>();
    assert!(lost > 0, "nothing was lost: {:?}", simulation.plans[0].injected());
    events
}

/// What is left is finished by a node that meets no faults, then everything is read and checked.
async fn rest(simulation: &Arc<Simulation>, seed: u64) {
    let service = simulation.node(&Plan::calm(), seed * 7 + 1);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let done = service.maintain().await.unwrap();
        assert_eq!(done.failed, 0, "{done:?}");
    }
    let far = Timestamp::from_nanos(i64::MAX);
    for state in [IntentState::Held, IntentState::Queued] {
        let left = simulation.metadata.due(state, far, 100).await.unwrap();
        assert!(left.is_empty(), "{left:#?}");
    }
    let mut last = Client {
        simulation: simulation.clone(),
        service,
        rng: StdRng::seed_from_u64(seed),
        actor: "last".to_owned(),
        allowance: Duration::ZERO,
        known: vec![None; OWN],
    };
    let mut events = simulation.events.lock().unwrap().clone();
    let end = simulation.now();
    for event in &mut events {
        let note = event.note.clone();
        let other = note.strip_prefix("renamed to ").or_else(|| note.strip_prefix("renamed from "));
        let Some(other) = other.and_then(|note| note.split(':').next()) else { continue };
        let there = last.read(other, None).await.expect("readable");
        let is_open = event.outcome == Outcome::Unknown;
        match (event.op, event.outcome) {
            // What it took, and whether, shows where it went.
            (Op::Take, Outcome::Done | Outcome::Unknown) if event.path.starts_with("own/") => {
                assert!(there.is_some() || is_open, "a renamed file is nowhere: {event}");
                event.outcome = there.map_or(Outcome::Failed, |there| Outcome::Seen(Some(there)));
            }
            (Op::Take, Outcome::Refused) => assert_eq!(there, None, "{event}"),
            (_, Outcome::Unknown) => {
                event.outcome = if there.is_none() { Outcome::Done } else { Outcome::Failed };
            }
            _ => continue,
        }
        if is_open {
            event.returned = end;
        }
    }
    let paths = (0..OWN).map(own).chain((0..FOREIGN).map(foreign));
    for path in paths {
        assert!(last.read(&path, None).await.is_some(), "{path} cannot be read");
        let mut of_path: Vec<Event> = events.iter().filter(|e| e.path == path).cloned().collect();
        let read = simulation.events.lock().unwrap().last().cloned().unwrap();
        of_path.push(read);
        match check(&of_path) {
            Verdict::Explained => {}
            Verdict::Violated(violation) => panic!("{violation}"),
            Verdict::Undecided => panic!("{path}: too many orders"),
        }
    }
    no_leftovers(simulation).await;
}

/// Each object has a visible row; what is in limbo was reaped.
async fn no_leftovers(simulation: &Simulation) {
    let mut objects: Vec<_> = simulation.objects.list(None).try_collect().await.unwrap();
    if simulation.capabilities.atomic_rename {
        let limbo = ObjectKey::parse(".ezdfs/limbo").unwrap();
        let below: Vec<_> = simulation.objects.list(Some(&limbo)).try_collect().await.unwrap();
        objects.extend(below);
    }
    for object in objects {
        let key = object.location.to_string();
        assert!(!key.starts_with(".ezdfs"), "`{key}` is left in limbo");
        let record = simulation.metadata.record(&path(&key)).await.unwrap();
        assert!(record.base.is_some(), "`{key}` is an orphan");
    }
}

fn simulate(seeds: std::ops::Range<u64>, stores: Stores) {
    let seeds = std::env::var("EZDFS_SIMULATION_SEEDS").map_or(seeds, |chosen| {
        let number = |text: &str| text.parse::<u64>().unwrap();
        match chosen.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => number(&chosen)..number(&chosen) + 1,
        }
    });
    for seed in seeds {
        let once = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(run(seed, stores))
        };
        let ran = std::panic::catch_unwind(once);
        assert!(ran.is_ok(), "EZDFS_SIMULATION_SEEDS={seed} fails in {stores:?}");
    }
}

#[test]
fn nodes_with_faults_at_random_are_one_register_for_each_path_in_memory() {
    simulate(0..20, Stores::Memory);
}

#[test]
fn nodes_with_faults_at_random_are_one_register_for_each_path_on_local_files() {
    simulate(0..15, Stores::Files);
}

/// Its threads take real time, so a seed repeats the faults and not each step.
#[test]
fn nodes_with_faults_at_random_are_one_register_for_each_path_on_sqlite() {
    simulate(0..4, Stores::Sqlite);
}

#[test]
fn a_seed_repeats_its_run() {
    let once = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(7, Stores::Memory))
    };
    let (first, second) = (once(), once());
    assert_eq!(first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
}

/// A server-side copy takes its time; who asks for its paths meanwhile is told to wait.
#[tokio::test(start_paused = true)]
async fn a_copy_that_takes_longer_than_a_lease_keeps_its_paths() {
    let simulation = Simulation::new(0, Stores::Memory).await;
    let service = |plan: &Plan, seed| simulation.node(plan, seed);
    let rename = |node: FileService, from: &'static str| async move {
        node.rename(&path(from), &path("to"), true).await
    };
    let calm = service(&Plan::calm(), 1);
    for from in ["first", "second"] {
        put_with(&calm, from, from, PublishOptions::default()).await.unwrap();
    }
    let plan = Plan::calm();
    rename(service(&plan, 2), "first").await.unwrap();
    let copy = plan.calls().iter().position(|call| *call == "copy").unwrap() as u64 + 1;

    // Beyond lease and step, and less than what a store may take.
    let long = Duration::from_secs(28);
    let slow = Plan::interrupt_at(copy, When::Before, tokio::time::sleep(long));
    let renaming = tokio::spawn(rename(service(&slow, 3), "second"));
    tokio::time::sleep(long - Duration::from_secs(1)).await;
    let hasty = hasty(&simulation, &calm);
    let busy = put_with(&hasty, "to", "third", PublishOptions::default()).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    renaming.await.unwrap().unwrap();
    assert!(slow.fired());
    let (_, body) = calm.open_whole(&path("to")).await.unwrap();
    assert_eq!(collect(body).await.unwrap(), "second");
}

/// A node whose calls for a path are told at once that it is held.
fn hasty(simulation: &Simulation, of: &FileService) -> FileService {
    FileService::new(
        Parts {
            metadata: Arc::clone(of.metadata()),
            binary: of.binary().clone(),
            clock: simulation.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(4)),
        },
        Options { io_timeout: Duration::from_millis(100), ..Options::default() },
    )
}

/// The call that puts the object in place.
async fn complete_call(simulation: &Simulation) -> u64 {
    let plan = Plan::calm();
    put_with(&simulation.node(&plan, 2), "other", "x", PublishOptions::default()).await.unwrap();
    plan.calls().iter().position(|call| *call == "complete").unwrap() as u64 + 1
}

/// A store may take minutes to put the parts of a large upload together.
#[tokio::test(start_paused = true)]
async fn an_object_that_takes_minutes_to_get_into_place_keeps_its_path() {
    let simulation = Simulation::new(0, Stores::Memory).await;
    let calm = simulation.node(&Plan::calm(), 1);
    put_with(&calm, "large", "old", PublishOptions::default()).await.unwrap();
    let long = Duration::from_secs(300);
    for when in [When::Before, When::After] {
        let at = complete_call(&simulation).await;
        let slow = Plan::interrupt_at(at, when, tokio::time::sleep(long));
        let node = simulation.node(&slow, 3);
        let publishing = tokio::spawn(async move {
            put_with(&node, "large", "new", PublishOptions::default()).await
        });
        for waited in [20, 100, 179] {
            tokio::time::sleep(Duration::from_secs(waited)).await;
            let hasty = hasty(&simulation, &calm);
            let e = put_with(&hasty, "large", "of another", PublishOptions::default()).await;
            let e = e.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Busy, "{when:?}: {e}");
        }
        publishing.await.unwrap().unwrap();
        assert!(slow.fired());
        let (_, body) = calm.open_whole(&path("large")).await.unwrap();
        assert_eq!(collect(body).await.unwrap(), "new");
    }
}

/// There is an end to it; the path is free again when lease and step are over, and what arrives
/// later is no secret.
#[tokio::test(start_paused = true)]
async fn an_object_that_never_gets_into_place_does_not_keep_its_path_for_ever() {
    let simulation = Simulation::new(0, Stores::Memory).await;
    let calm = simulation.node(&Plan::calm(), 1);
    put_with(&calm, "large", "old", PublishOptions::default()).await.unwrap();
    let at = complete_call(&simulation).await;
    let stuck = Plan::interrupt_at(at, When::Before, std::future::pending());
    let started = simulation.now();
    let node = simulation.node(&stuck, 3);
    let put = put_with(&node, "large", "new", PublishOptions::default());
    let e = put.await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
    let waited = simulation.now() - started;
    let Options { put_timeout, lease, step_timeout, .. } = Options::default();
    assert!(waited >= put_timeout && waited < put_timeout + Duration::from_secs(1), "{waited:?}");
    tokio::time::sleep(lease + step_timeout).await;
    let hasty = hasty(&simulation, &calm);
    put_with(&hasty, "large", "of another", PublishOptions::default()).await.unwrap();
    let (_, body) = calm.open_whole(&path("large")).await.unwrap();
    assert_eq!(collect(body).await.unwrap(), "of another");
}

/// Nobody waits for a store beyond a lease that the database does not renew: a roller may come.
#[tokio::test(start_paused = true)]
async fn without_the_database_nobody_waits_for_a_store_beyond_the_lease() {
    let simulation = Simulation::new(0, Stores::Memory).await;
    let at = complete_call(&simulation).await;
    let stuck = Plan::interrupt_at(at, When::Before, std::future::pending());
    let node = simulation.node(&stuck, 3);
    let started = simulation.now();
    let put = put_with(&node, "large", "new", PublishOptions::default());
    let lose = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stuck.go_down();
        std::future::pending::<()>().await;
    };
    let e = tokio::select! { put = put => put.unwrap_err(), () = lose => unreachable!() };
    assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
    let waited = simulation.now() - started;
    assert!(waited <= Options::default().lease, "{waited:?}");
}
