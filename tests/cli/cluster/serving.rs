//! Servers that answer from memory, while PHP and commands change their files.

use std::sync::OnceLock;
use std::time::Duration;

use ezdfs_testkit::proxy::Proxy;

use super::*;

on_both! {
    servers_show_what_others_do,
    an_outage_is_an_error_and_never_an_old_answer,
}

/// For the machine, beyond `max_staleness`.
const SLACK: Duration = Duration::from_secs(1);
/// Answers in a row that show that a change has come to stay.
const STEADY: u32 = 20;
/// How long an outage lasts here, behind the last moment at which memory may answer.
const OUTAGE: Duration = Duration::from_secs(1);

/// Does something while all servers are asked for a file: each answers `before`, then `after` and
/// nothing else, at the latest `max_staleness` after it was done. In between there may be errors.
fn changes(nodes: &[Serving], id: &str, before: &Answer, after: &Answer, act: impl FnOnce()) {
    let done = OnceLock::new();
    let watch = |node: &Serving| {
        let mut seen = 0;
        while seen < STEADY {
            let asked = now();
            let answer = ask(node, id);
            if answer == *after {
                seen += 1;
            } else {
                assert_eq!(seen, 0, "{id}: back again, or an error after the change");
                assert!(answer == *before || answer == Answer::Failed, "{id}: neither version");
                let is_late = done.get().is_some_and(|done| asked > *done + MAX_STALENESS + SLACK);
                assert!(!is_late, "{id}: too late for {}", kind(&answer));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    std::thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || watch(node));
        }
        act();
        done.set(now()).unwrap();
    });
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Whole(_) => "the old version",
        Answer::Missing => "404",
        Answer::Failed => "an error",
    }
}

fn version(letter: &str, size: usize) -> Answer {
    Answer::Whole(letter.repeat(size).into_bytes())
}

fn bytes(answer: &Answer) -> &[u8] {
    match answer {
        Answer::Whole(bytes) => bytes,
        Answer::Missing | Answer::Failed => &[],
    }
}

fn servers_show_what_others_do(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, php) = (&site.home, Php::of(&site));
    let id = "images/1/a.txt";
    let [first, second, third, fourth] =
        [("a", 50_000), ("b", 50_000), ("c", 120_000), ("d", 7)].map(|(l, n)| version(l, n));
    let put = |version: &Answer| {
        let file = home.write("new", bytes(version));
        home.ok(["put", file.to_str().unwrap(), id]);
    };
    let nodes = [Serving::start(home), Serving::start(home)];
    let warm_all = |expected: &Answer| nodes.iter().for_each(|node| warm(node, id, expected));

    // That there is no such file is kept in memory, too.
    warm_all(&Answer::Missing);
    changes(&nodes, id, &Answer::Missing, &first, || put(&first));
    warm_all(&first);
    // The same size, most likely in the same second.
    changes(&nodes, id, &first, &second, || php.create(id, bytes(&second)));
    warm_all(&second);
    changes(&nodes, id, &second, &third, || put(&third));
    warm_all(&third);
    changes(&nodes, id, &third, &fourth, || php.create(id, bytes(&fourth)));
    warm_all(&fourth);
    changes(&nodes, id, &fourth, &Answer::Missing, || php.delete(id));
    warm_all(&Answer::Missing);
    changes(&nodes, id, &Answer::Missing, &first, || php.create(id, bytes(&first)));
    warm_all(&first);
    // The bytes stay where they are: only the row says that the file is gone.
    changes(&nodes, id, &first, &Answer::Missing, || php.soft_delete(id));
    nodes.into_iter().for_each(Serving::stop);
}

/// Asks for a file while the database cannot be reached: until `last` there may be answers from
/// memory, of the old version; afterwards there are errors.
pub(super) fn only_errors(node: &Serving, id: &str, old: &Answer, last: Duration) {
    let mut failed = 0;
    while now() < last + OUTAGE {
        let asked = now();
        let answer = ask(node, id);
        if answer == Answer::Failed {
            failed += 1;
        } else {
            assert!(answer == *old, "{id}: nobody could know that");
            assert!(asked < last, "{id}: an answer {:?} too late", asked - last);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(failed > 0, "{id}");
}

/// A file of each kind: what is done to it while the database cannot be reached.
const KEPT: &str = "images/1/kept.txt";
const HIDDEN: &str = "images/1/hidden.txt";
const REPLACED: &str = "images/1/replaced.txt";

fn an_outage_is_an_error_and_never_an_old_answer(database: TestDatabase) {
    let site = Site::installed(database);
    let php = Php::of(&site);
    let (host, port) = (site.database.host().to_owned(), site.database.port());
    let proxy = php.runtime.block_on(Proxy::start(&host, port));
    let timeout = "[store]\nio_timeout = \"1s\"\n";
    site.configure(&format!("127.0.0.1:{}", proxy.port()), TABLE, timeout);
    let node = Serving::start(&site.home);
    // The server is there and says nothing; and it is away.
    for is_silent in [true, false] {
        let [old, new] = [version("o", 3_000), version("n", 3_000)];
        for id in [KEPT, HIDDEN, REPLACED] {
            php.create(id, bytes(&old));
            wait_for("the file", || ask(&node, id) == old);
            warm(&node, id, &old);
        }
        if is_silent {
            proxy.silence(true);
        } else {
            proxy.refuse(true);
            proxy.cut();
        }
        // Whatever was written before this moment is the last heartbeat.
        let last = now() + MAX_STALENESS;
        php.soft_delete(HIDDEN);
        php.create(REPLACED, bytes(&new));
        std::thread::scope(|scope| {
            for id in [KEPT, HIDDEN, REPLACED] {
                let (node, old) = (&node, &old);
                scope.spawn(move || only_errors(node, id, old, last));
            }
        });
        proxy.silence(false);
        proxy.refuse(false);
        proxy.cut();
        for (id, expected) in [(KEPT, &old), (HIDDEN, &Answer::Missing), (REPLACED, &new)] {
            wait_for("the end of the outage", || match ask(&node, id) {
                Answer::Failed => false,
                answer => {
                    assert!(answer == *expected, "{id}: {}", kind(&answer));
                    true
                }
            });
            warm(&node, id, expected);
        }
        php.delete(HIDDEN);
    }
    node.stop();
}
