use ezdfs_core::path::{MAX_PATH_BYTES, MAX_SEGMENT_BYTES};
use ezdfs_core::{DirPath, ErrorKind, FilePath, PathError};
use proptest::prelude::*;

use crate::strategies::{any_path_text, path, segment};

/// Rules K of abuse-cases.md §2, written a second time and over bytes.
fn rules_k(bytes: &[u8]) -> bool {
    let Ok(text) = String::from_utf8(bytes.to_vec()) else { return false };
    let no_controls = text.chars().map(u32::from).all(|c| c >= 0x20 && !(0x7f..=0x9f).contains(&c));
    let segments: Vec<&[u8]> = bytes.split(|b| *b == b'/').collect();
    no_controls
        && bytes.len() <= 4095
        && segments[0] != b".ezdfs"
        && segments.iter().all(|s| (1..=255).contains(&s.len()) && *s != b"." && *s != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn accepts_exactly_what_rules_k_accept(text in any_path_text()) {
        let parsed = text.parse::<FilePath>();
        prop_assert_eq!(parsed.is_ok(), rules_k(text.as_bytes()), "{:?} -> {:?}", text, parsed);
        if let Ok(path) = parsed {
            prop_assert_eq!(path.as_str(), &*text);
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_are_a_path_exactly_under_rules_k(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(prop::sample::select(b"a/.\xc3\xa9\x80\xc0\xff".to_vec()), 0..12),
        ]
    ) {
        let parsed = FilePath::from_bytes(&bytes);
        prop_assert_eq!(parsed.is_ok(), rules_k(&bytes));
        if let Ok(path) = parsed {
            prop_assert_eq!(path.as_str().as_bytes(), &*bytes);
        }
    }

    #[test]
    fn parent_joined_with_basename_is_the_path(p in path()) {
        prop_assert_eq!(p.parent().join(p.basename()), Ok(p.clone()));
        prop_assert_eq!(p.segments().next_back(), Some(p.basename()));
        prop_assert_eq!(p.segments().collect::<Vec<_>>().join("/"), p.as_str());
    }

    #[test]
    fn ancestors_are_the_parents_up_to_the_root(p in path()) {
        let ancestors: Vec<FilePath> = p.ancestors().collect();
        prop_assert_eq!(ancestors.len() + 1, p.segments().count());
        let mut below = p.clone();
        for ancestor in &ancestors {
            prop_assert_eq!(below.parent(), DirPath::from(ancestor.clone()));
            prop_assert!(DirPath::from(ancestor.clone()).contains(&p));
            prop_assert!(!DirPath::from(p.clone()).contains(ancestor));
            below = ancestor.clone();
        }
        prop_assert!(below.parent().is_root());
    }

    #[test]
    fn contains_compares_whole_segments(a in path(), b in path(), tail in segment()) {
        let dir = DirPath::from(a.clone());
        let below: Vec<&str> = a.segments().collect();
        let inside = b.segments().count() > below.len() && b.segments().take(below.len()).eq(a.segments());
        prop_assert_eq!(dir.contains(&b), inside);
        prop_assert_eq!(dir.relative(&b).is_some(), inside);
        prop_assert!(!dir.contains(&a), "a directory does not lie below itself");
        // The look-alike `a` + more letters is a sibling, never below.
        if let Ok(sibling) = format!("{a}{tail}").parse::<FilePath>() {
            prop_assert!(!dir.contains(&sibling));
        }
        if let Ok(child) = dir.join(&tail) {
            prop_assert!(dir.contains(&child));
            prop_assert_eq!(dir.relative(&child), Some(&*tail));
            prop_assert_eq!(child.parent(), dir);
        }
    }

    #[test]
    fn the_root_contains_everything(p in path()) {
        prop_assert!(DirPath::root().contains(&p));
        prop_assert_eq!(DirPath::root().relative(&p), Some(p.as_str()));
    }

    #[test]
    fn join_takes_one_segment_only(dir in path(), tail in any_path_text()) {
        let joined = DirPath::from(dir.clone()).join(&tail);
        let whole = format!("{dir}/{tail}");
        prop_assert_eq!(joined.is_ok(), !tail.contains('/') && rules_k(whole.as_bytes()));
        if let Ok(joined) = joined {
            prop_assert_eq!(joined.as_str(), whole);
        }
    }

    #[test]
    fn paths_order_by_bytes(a in path(), b in path()) {
        prop_assert_eq!(a.cmp(&b), a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
    }

    #[test]
    fn directories_parse_and_print(text in any_path_text()) {
        match text.parse::<DirPath>() {
            Ok(dir) => {
                prop_assert_eq!(dir.as_str(), &*text);
                prop_assert_eq!(dir.is_root(), text.is_empty());
            }
            Err(_) => prop_assert!(!text.is_empty() && !rules_k(text.as_bytes())),
        }
    }
}

#[test]
fn each_refusal_has_its_reason_and_kind() {
    let long_segment = "s".repeat(MAX_SEGMENT_BYTES + 1);
    let long_path = format!("{}{}", "d/".repeat(2048), "ef");
    let table: Vec<(&[u8], PathError, ErrorKind)> = vec![
        (b"", PathError::Empty, ErrorKind::InvalidPath),
        (b"a\xff", PathError::NotUtf8(1), ErrorKind::NotUtf8),
        (b"\xc0\xae\xc0\xae/x", PathError::NotUtf8(0), ErrorKind::NotUtf8),
        (b"a\0.png", PathError::Control(1), ErrorKind::InvalidPath),
        (b"ab\r\nSet-Cookie:x", PathError::Control(2), ErrorKind::InvalidPath),
        (b"a\x7f", PathError::Control(1), ErrorKind::InvalidPath),
        ("é\u{85}".as_bytes(), PathError::Control(2), ErrorKind::InvalidPath),
        (b"/a", PathError::EmptySegment, ErrorKind::InvalidPath),
        (b"a/", PathError::EmptySegment, ErrorKind::InvalidPath),
        (b"a//b", PathError::EmptySegment, ErrorKind::InvalidPath),
        (b"/", PathError::EmptySegment, ErrorKind::InvalidPath),
        (b"..", PathError::DotSegment, ErrorKind::InvalidPath),
        (b"a/./b", PathError::DotSegment, ErrorKind::InvalidPath),
        (b"a/../b", PathError::DotSegment, ErrorKind::InvalidPath),
        (long_segment.as_bytes(), PathError::SegmentTooLong(256), ErrorKind::NameTooLong),
        (
            long_path.as_bytes(),
            PathError::TooLong { len: 4098, max: MAX_PATH_BYTES },
            ErrorKind::NameTooLong,
        ),
        (b".ezdfs", PathError::Reserved, ErrorKind::Reserved),
        (b".ezdfs/limbo/x", PathError::Reserved, ErrorKind::Reserved),
    ];
    for (bytes, error, kind) in table {
        let got = FilePath::from_bytes(bytes).unwrap_err();
        assert_eq!(got, error, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(got.kind(), kind);
        assert_eq!(ezdfs_core::Error::from(got).kind(), kind);
    }
}

#[test]
fn literal_names_are_kept() {
    for text in [
        "100%.jpg",
        "x%2Fy",
        "%2e%2e/x",
        "~a",
        "x#123",
        "a\\b",
        "C:/x",
        "CON",
        "a.jpg.",
        "a ",
        " a",
        "a?b",
        "a;v=1",
        "...",
        "a/.ezdfs",
        ".ezdfsx",
        "\u{202e}gpj.exe",
        "é",
        "e\u{301}",
        "😀",
        "'\"--",
    ] {
        assert_eq!(text.parse::<FilePath>().unwrap().as_str(), text);
    }
    let longest = "s".repeat(MAX_SEGMENT_BYTES);
    assert!(longest.parse::<FilePath>().is_ok());
    let longest = format!("{}{}", "d/".repeat(2047), "e");
    assert_eq!(longest.len(), MAX_PATH_BYTES);
    assert!(longest.parse::<FilePath>().is_ok());
}

#[test]
fn reserved_names_cannot_be_joined_at_the_root() {
    assert_eq!(DirPath::root().join(".ezdfs"), Err(PathError::Reserved));
    let images = DirPath::from("images".parse::<FilePath>().unwrap());
    assert_eq!(images.join(".ezdfs").unwrap().as_str(), "images/.ezdfs");
    assert_eq!(images.join("a/b"), Err(PathError::EmptySegment));
    assert_eq!(images.join(""), Err(PathError::EmptySegment));
    assert_eq!(images.join(".."), Err(PathError::DotSegment));
}

#[test]
fn paths_serialise_as_text() {
    let path: FilePath = "images/a'b.jpg".parse().unwrap();
    assert_eq!(format!("{path:?}"), "\"images/a'b.jpg\"");
    assert_eq!(format!("{:?}", DirPath::root()), "\"\"");
}
