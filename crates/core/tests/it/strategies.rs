//! What the properties are tried on: mostly awkward, sometimes plain.

use ezdfs_core::FilePath;
use proptest::prelude::*;

/// Characters that some layer somewhere treats specially, and any other one.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        6 => prop::char::range('a', 'e'),
        3 => prop::sample::select(" %_\\'\"#?&;*+~:|<>[]{}$@!`^=,()-".chars().collect::<Vec<_>>()),
        2 => Just('.'),
        2 => prop::sample::select(vec!['é', 'ß', '\u{301}', '\u{202e}', '\u{200b}', '😀', '\u{fffd}']),
        1 => any::<char>(),
    ]
}

/// A segment that rules K may accept or refuse.
fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(character(), 0..12).prop_map(String::from_iter),
        1 => prop::sample::select(vec![".", "..", "...", ".ezdfs", ".ezdfs2", "a..b", ".a", ""])
            .prop_map(str::to_owned),
        1 => (250_usize..260).prop_map(|n| "n".repeat(n)),
        1 => prop::sample::select(vec!['\0', '\n', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}'])
            .prop_map(|c| format!("x{c}y")),
    ]
}

/// Text that may be a path.
pub fn any_path_text() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => prop::collection::vec(any_segment(), 0..6).prop_map(|s| s.join("/")),
        1 => prop::collection::vec(any_segment(), 0..6).prop_map(|s| format!("/{}", s.join("/"))),
        1 => (14_usize..18, 0_usize..256).prop_map(|(n, last)| {
            format!("{}{}", format!("{}/", "d".repeat(255)).repeat(n), "e".repeat(last))
        }),
    ]
}

/// A segment that every back end stores.
pub fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => prop::collection::vec(character(), 1..10).prop_map(String::from_iter),
        1 => prop::sample::select(vec!["x#123", "100%.jpg", "50%25", "x%2Fy", "~", "~a", "C:foo", "%2e%2e"])
            .prop_map(str::to_owned),
    ]
    .prop_filter("rules K", |s| {
        !s.contains('/') && !s.chars().any(char::is_control) && s != "." && s != ".." && s != ".ezdfs"
    })
}

/// A path under rules K.
pub fn path() -> impl Strategy<Value = FilePath> {
    prop::collection::vec(segment(), 1..6).prop_map(|s| s.join("/").parse().expect("rules K hold"))
}
