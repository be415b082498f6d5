//! Reads of the memory store.

use ezdfs_core::{
    BaseRow, DirPath, Figures, FilePath, Intent, IntentKind, IntentState, Name, NameHash,
    NamePrefix, NodeKind, Page, Record, ScanPage, Timestamp, Token, Tombstone, Work,
};

use super::state::{PendingRow, State};
use crate::place::below;

pub(super) fn record(state: &State, prefix: &NamePrefix, path: &FilePath) -> Record {
    let name = prefix.name(path);
    state.stored(name.hash()).record(&name)
}

pub(super) fn list(
    state: &State,
    prefix: &NamePrefix,
    now: Timestamp,
    dir: &DirPath,
    after: Option<&str>,
    limit: u32,
) -> Page {
    let limit = rows(limit);
    let parent = prefix.dir_name(dir).hash();
    let basenames: Vec<&str> = state
        .children
        .range((parent, after.unwrap_or_default().to_owned())..)
        .take_while(|((p, _), _)| *p == parent)
        .map(|((_, basename), _)| basename.as_str())
        .filter(|b| after.is_none_or(|after| *b > after))
        .take(limit)
        .collect();
    let next = basenames.last().filter(|_| basenames.len() == limit).map(|b| (*b).to_owned());
    let entries = basenames
        .iter()
        .filter_map(|basename| {
            let path = dir.join(basename).ok()?;
            record(state, prefix, &path).entry(&path, now)
        })
        .collect();
    Page { entries, next }
}

pub(super) fn scan(
    state: &State,
    prefix: &NamePrefix,
    dir: &DirPath,
    after: Option<&str>,
    limit: u32,
) -> ScanPage {
    let limit = rows(limit);
    let dir = prefix.dir_name(dir);
    let page: Vec<(NameHash, BaseRow)> = state
        .base_below(dir.as_str(), after)
        .take(limit)
        .map(|(hash, row)| (hash, row.base.clone()))
        .collect();
    let next = page.last().filter(|_| page.len() == limit).map(|(_, row)| row.name.clone());
    let rows = page.into_iter().map(|(hash, row)| usable(state, prefix, hash, row)).collect();
    ScanPage { rows, next }
}

fn usable(
    state: &State,
    prefix: &NamePrefix,
    hash: NameHash,
    row: BaseRow,
) -> Result<(FilePath, Record), BaseRow> {
    let name = Name::from_row(&row.name);
    let own_hash = name.hash() == hash;
    match prefix.path_of(&row.name).and_then(Result::ok).filter(|_| own_hash) {
        Some(path) => Ok((path, state.stored(hash).record(&name))),
        None => Err(row),
    }
}

pub(super) fn tombstones(
    state: &State,
    prefix: &NamePrefix,
    dir: &DirPath,
    after: Option<&str>,
    limit: u32,
) -> Vec<Tombstone> {
    let dir = prefix.dir_name(dir);
    state
        .base_below(dir.as_str(), after)
        .filter(|(_, row)| !row.base.visible())
        .filter_map(|(hash, row)| usable(state, prefix, hash, row.base.clone()).ok())
        .map(|(path, record)| Tombstone { path, record })
        .take(rows(limit))
        .collect()
}

/// The held row that keeps `path` from being held.
pub(super) fn blocker(
    state: &State,
    prefix: &NamePrefix,
    path: &FilePath,
    subtree: bool,
) -> Option<Intent> {
    let name = prefix.name(path);
    let above: Vec<NameHash> = path.ancestors().map(|p| prefix.name(&p).hash()).collect();
    let range = below(name.as_str());
    let is_below = |row: &PendingRow| {
        let held = prefix.name(&row.intent.path);
        range.as_ref().is_some_and(|(low, high)| {
            held.as_str() >= low.as_str() && held.as_str() < high.as_str()
        })
    };
    state
        .pending
        .values()
        .filter(|r| r.intent.state == IntentState::Held && r.prefix == *prefix)
        .find(|r| {
            r.hash == name.hash()
                || (r.intent.subtree && above.contains(&r.hash))
                || (subtree && is_below(r))
        })
        .map(|r| r.intent.clone())
}

pub(super) fn intents_on(state: &State, prefix: &NamePrefix, path: &FilePath) -> Vec<Intent> {
    let own = prefix.name(path).hash();
    let above: Vec<NameHash> = path.ancestors().map(|p| prefix.name(&p).hash()).collect();
    state
        .pending
        .values()
        .filter(|r| {
            let holds_above = r.intent.subtree && r.intent.state == IntentState::Held;
            r.hash == own || (holds_above && above.contains(&r.hash))
        })
        .map(|r| r.intent.clone())
        .collect()
}

pub(super) fn intents_of(state: &State, token: Token) -> Vec<Intent> {
    let rows = state.pending.values().filter(|r| r.intent.token == token);
    rows.map(|r| r.intent.clone()).collect()
}

pub(super) fn due(
    state: &State,
    prefix: &NamePrefix,
    wanted: IntentState,
    before: Timestamp,
    limit: u32,
) -> Vec<Intent> {
    let mut due: Vec<(Timestamp, Intent)> = state
        .pending
        .values()
        .filter(|r| r.prefix == *prefix && r.intent.state == wanted)
        .map(|r| (due_at(&r.intent), r.intent.clone()))
        .filter(|(at, _)| *at <= before)
        .collect();
    due.sort_by_key(|(at, intent)| (*at, intent.id));
    due.into_iter().map(|(_, intent)| intent).take(rows(limit)).collect()
}

fn due_at(intent: &Intent) -> Timestamp {
    match (intent.state, &intent.work) {
        (IntentState::Queued, Work::Reap { not_before, .. }) => *not_before,
        _ => intent.lease_end,
    }
}

pub(super) fn expired(
    state: &State,
    prefix: &NamePrefix,
    before: Timestamp,
    limit: u32,
) -> Vec<(FilePath, Record)> {
    let mut found: Vec<(Timestamp, FilePath, Record)> = state
        .nodes
        .iter()
        .filter(|(_, node)| node.expires.is_some_and(|at| at <= before))
        .filter_map(|(hash, _)| {
            let base = state.base.get(hash).filter(|r| r.base.visible())?;
            let (path, record) = usable(state, prefix, *hash, base.base.clone()).ok()?;
            Some((record.file(&path)?.expires?, path, record))
        })
        .collect();
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    found.into_iter().map(|(_, path, record)| (path, record)).take(rows(limit)).collect()
}

pub(super) fn figures(state: &State, prefix: &NamePrefix, now: Timestamp) -> Figures {
    let mut figures = Figures::default();
    let root = prefix.dir_name(&DirPath::root());
    for (hash, row) in state.base_below(root.as_str(), None) {
        let own = state.nodes.get(&hash).filter(|n| n.belongs_to(&row.base));
        let is_over = own.and_then(|n| n.expires).is_some_and(|at| at <= now);
        if row.base.visible() && !is_over {
            figures.files += 1;
            figures.bytes = figures.bytes.saturating_add(row.base.size);
        } else {
            figures.hidden += 1;
        }
    }
    let mut open = vec![root.hash()];
    while let Some(parent) = open.pop() {
        for ((_, _), hash) in
            state.children.range((parent, String::new())..).take_while(|((p, _), _)| *p == parent)
        {
            if state.nodes.get(hash).is_some_and(|n| n.kind == NodeKind::Directory) {
                figures.directories += 1;
                open.push(*hash);
            }
        }
    }
    for row in state.pending.values().filter(|r| r.prefix == *prefix) {
        match row.intent.state {
            IntentState::Held => {
                figures.held += 1;
                figures.overdue += u64::from(row.intent.lease_end <= now);
            }
            IntentState::Queued if row.intent.work.kind() == IntentKind::Reap => {
                figures.reaps += 1;
            }
            IntentState::Queued | IntentState::Ended => {}
        }
    }
    figures.feed_lag = u64::try_from(state.feed_lag()).unwrap_or(u64::MAX);
    figures
}

fn rows(limit: u32) -> usize {
    usize::try_from(limit.max(1)).unwrap_or(usize::MAX)
}
