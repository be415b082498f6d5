use ezdfs_core::record::path_of_row;
use ezdfs_core::{
    DirPath, ErrorKind, FilePath, KeyPrefix, Name, NameHash, NamePrefix, PathError, Scope,
};
use object_store::path::Path as ObjectKey;
use proptest::prelude::*;

use crate::strategies::{any_path_text, path, segment};

fn name_prefix() -> impl Strategy<Value = NamePrefix> {
    prop_oneof![
        Just(String::new()),
        Just("var/site/storage".to_owned()),
        Just("/var/storage/".to_owned()),
        prop::collection::vec(segment(), 1..4).prop_map(|s| s.join("/")),
    ]
    .prop_map(|text| NamePrefix::new(&text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_name_leads_back_to_its_path(prefix in name_prefix(), p in path()) {
        let name = prefix.name(&p);
        prop_assert_eq!(prefix.path_of(name.as_str()), Some(Ok(p.clone())));
        prop_assert_eq!(path_of_row(&prefix, name.as_str()), Some(p.clone()));
        prop_assert_eq!(name.trunk(), name.as_str());
        prop_assert!(name.as_str().starts_with(&prefix.below(&p.parent())));
        prop_assert!(prefix.below(&DirPath::from(p.clone())).starts_with(name.as_str()));
        prop_assert_eq!(Name::from_row(name.as_str()).hash(), name.hash());
    }

    #[test]
    fn any_row_name_is_ours_exactly_when_the_prefix_and_a_slash_lead_it(
        prefix in name_prefix(), rest in any_path_text()
    ) {
        let name = if prefix.as_str().is_empty() { rest.clone() } else { format!("{}/{rest}", prefix.as_str()) };
        prop_assert_eq!(prefix.path_of(&name), Some(rest.parse()));
        if !prefix.as_str().is_empty() {
            prop_assert_eq!(prefix.path_of(&format!("{}X/{rest}", prefix.as_str())), None);
        }
    }

    #[test]
    fn name_hashes_parse_and_print(p in path()) {
        let hash = NamePrefix::default().name(&p).hash();
        let text = hash.to_string();
        prop_assert_eq!(text.len(), 32);
        prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        prop_assert_eq!(text.parse::<NameHash>().unwrap(), hash);
        prop_assert_eq!(hash.to_hex(), text);
    }

    #[test]
    fn keys_are_literal(prefix in prop::option::of(path()), p in path()) {
        let keys = KeyPrefix::new(prefix.as_ref().map_or("", FilePath::as_str)).unwrap();
        let key = keys.key(&p, 4096).unwrap();
        let literal = prefix.map_or_else(|| p.to_string(), |prefix| format!("{prefix}/{p}"));
        prop_assert_eq!(key.as_ref(), &*literal);
        prop_assert_eq!(keys.path_of(&key), Some(Ok(p.clone())));
        let dir = keys.dir_key(&p.parent(), 4096).unwrap();
        let lies_below = dir.is_none_or(|dir| literal.starts_with(&format!("{dir}/")));
        prop_assert!(lies_below);
    }

    #[test]
    fn the_limit_of_the_back_end_counts_the_prefix(p in path()) {
        let keys = KeyPrefix::new("pre/fix").unwrap();
        let len = "pre/fix/".len() + p.as_str().len();
        prop_assert!(keys.key(&p, len).is_ok());
        prop_assert_eq!(keys.key(&p, len - 1).unwrap_err().kind(), ErrorKind::NameTooLong);
    }
}

#[test]
fn known_md5_vectors() {
    // RFC 1321 appendix A.5, and a row as Ibexa writes it.
    for (name, hash) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
    ] {
        assert_eq!(Name::from_row(name).hash().to_hex(), hash);
    }
}

#[test]
fn what_is_not_a_name_hash_is_refused() {
    for text in
        ["", "0cc1", "g0000000000000000000000000000000", "0cc175b9c0f1b6a831c399e26977266100"]
    {
        assert_eq!(text.parse::<NameHash>().unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
    }
}

#[test]
fn outer_slashes_of_a_prefix_do_not_count() {
    // ibexa-dfs.md check 6.
    let path: FilePath = "images/a.png".parse().unwrap();
    for text in
        ["var/site/storage", "/var/site/storage", "var/site/storage/", "//var/site/storage//"]
    {
        assert_eq!(NamePrefix::new(text).name(&path).as_str(), "var/site/storage/images/a.png");
    }
    assert_eq!(NamePrefix::new("/").name(&path).as_str(), "images/a.png");
}

#[test]
fn names_of_directories() {
    let prefix = NamePrefix::new("var/storage");
    let images = DirPath::from("images".parse::<FilePath>().unwrap());
    assert_eq!(prefix.dir_name(&DirPath::root()).as_str(), "var/storage");
    assert_eq!(prefix.below(&DirPath::root()), "var/storage/");
    assert_eq!(prefix.dir_name(&images).as_str(), "var/storage/images");
    assert_eq!(prefix.below(&images), "var/storage/images/");
    let bare = NamePrefix::default();
    assert_eq!(bare.dir_name(&DirPath::root()).as_str(), "");
    assert_eq!(bare.below(&DirPath::root()), "");
    assert_eq!(bare.below(&images), "images/");
}

#[test]
fn rows_of_other_stores_and_rows_that_break_rules_k() {
    let prefix = NamePrefix::new("var/site/storage");
    for foreign in
        ["", "var/site/storage", "var/site/storageX/a", "var/other/storage/a", "images/a"]
    {
        assert_eq!(prefix.path_of(foreign), None, "{foreign}");
        assert_eq!(path_of_row(&prefix, foreign), None, "{foreign}");
    }
    for (name, error) in [
        ("var/site/storage/", PathError::Empty),
        ("var/site/storage/x//y.png", PathError::EmptySegment),
        ("var/site/storage/images/../esc.png", PathError::DotSegment),
        ("var/site/storage/.ezdfs/x", PathError::Reserved),
    ] {
        assert_eq!(prefix.path_of(name), Some(Err(error)));
        assert_eq!(path_of_row(&prefix, name), None);
    }
}

#[test]
fn scope_matrix() {
    // ibexa-dfs.md check 4.
    for (path, scope, text) in [
        ("images/1/a.png", Scope::Image, "image"),
        ("original/application/a.pdf", Scope::BinaryFile, "binaryfile"),
        ("images-versioned/1/a.png", Scope::Unknown, "UNKNOWN_SCOPE"),
        ("other/a", Scope::Unknown, "UNKNOWN_SCOPE"),
        ("Images/a.png", Scope::Unknown, "UNKNOWN_SCOPE"),
        ("a/images/a.png", Scope::Unknown, "UNKNOWN_SCOPE"),
        ("images", Scope::Image, "image"),
    ] {
        let got = Scope::of(&path.parse().unwrap());
        assert_eq!(got, scope, "{path}");
        assert_eq!(got.as_str(), text);
    }
}

#[test]
fn awkward_names_pass_through_object_store_unchanged() {
    let keys = KeyPrefix::new("/mnt pre%fix/").unwrap();
    for text in [
        "100%.jpg", "50%25", "x%2Fy", "%2e%2e/x", "x#123", "~", "~1", "a+b", "a?b&c;d", "*",
        "a\\b", "'\"`", "[]{}", "|<>", "a ", "a.", " a", "ü", "u\u{308}", "😀", "a..b", "..foo",
        ".foo", "C:foo",
    ] {
        let path: FilePath = text.parse().unwrap();
        let key = keys.key(&path, 1024).unwrap();
        assert_eq!(key.as_ref(), format!("mnt pre%fix/{text}"));
        assert_eq!(keys.path_of(&key), Some(Ok(path)));
    }
}

#[test]
fn keys_of_ezdfs_itself_and_of_others() {
    let keys = KeyPrefix::new("site").unwrap();
    assert_eq!(keys.reserved_key("limbo/0a").unwrap().as_ref(), "site/.ezdfs/limbo/0a");
    assert_eq!(KeyPrefix::default().reserved_key("limbo/0a").unwrap().as_ref(), ".ezdfs/limbo/0a");
    // Not literal: object_store would drop the outer slash without a word.
    for rest in ["", "limbo/", "/limbo", "a//b", "../a", "a\nb"] {
        assert_eq!(keys.reserved_key(rest).unwrap_err().kind(), ErrorKind::InvalidPath, "{rest:?}");
    }
    let key = |text: &str| ObjectKey::parse(text).unwrap();
    assert_eq!(keys.path_of(&key("sites/a")), None);
    assert_eq!(keys.path_of(&key("site")), None);
    assert_eq!(keys.path_of(&key("site/.ezdfs/limbo/0a")), Some(Err(PathError::Reserved)));
    assert_eq!(keys.dir_key(&DirPath::root(), 1024).unwrap().unwrap().as_ref(), "site");
    assert_eq!(KeyPrefix::default().dir_key(&DirPath::root(), 1024).unwrap(), None);
    assert_eq!(KeyPrefix::new("a//b"), Err(PathError::EmptySegment));
    assert_eq!(KeyPrefix::new(".ezdfs"), Err(PathError::Reserved));
}
