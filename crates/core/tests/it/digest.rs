use ezdfs_core::{ETag, Entropy as _, ErrorKind, Pin, SeededEntropy, Sha256, Token};
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #[test]
    fn sha256_and_token_parse_and_print(sha in any::<[u8; 32]>(), token in any::<[u8; 16]>()) {
        let text = Sha256::from_bytes(sha).to_string();
        prop_assert_eq!(text.len(), 64);
        prop_assert_eq!(text.parse::<Sha256>().unwrap(), Sha256::from_bytes(sha));
        prop_assert_eq!(text.to_uppercase().parse::<Sha256>().unwrap(), Sha256::from_bytes(sha));
        let text = Token::from_bytes(token).to_string();
        prop_assert_eq!(text.len(), 32);
        prop_assert_eq!(text.parse::<Token>().unwrap(), Token::from_bytes(token));
        prop_assert_eq!(format!("{:?}", Token::from_bytes(token)), text);
    }

    #[test]
    fn a_pin_survives_its_row(
        etag in prop::option::of("[!#-~]{1,20}"), version in prop::option::of("[A-Za-z0-9._:-]{1,20}")
    ) {
        let Some(pin) = Pin::new(etag.as_deref(), version.as_deref()) else {
            prop_assert!(etag.is_none() && version.is_none());
            return Ok(());
        };
        let read = Pin::from_row(pin.as_str());
        prop_assert_eq!(&read, &pin);
        prop_assert_eq!(read.etag(), etag.as_deref());
    }

    #[test]
    fn pins_are_equal_exactly_when_etag_and_version_are(
        a in prop::option::of("[ab|]{1,3}"), b in prop::option::of("[ab|]{1,3}"),
        v in prop::option::of("[12]{1,2}"), w in prop::option::of("[12]{1,2}"),
    ) {
        let equal = a == b && v == w;
        prop_assert_eq!(Pin::new(a.as_deref(), v.as_deref()) == Pin::new(b.as_deref(), w.as_deref()), equal);
    }

    #[test]
    fn etags_parse_and_print(tag in "[!#-~]{1,70}", weak in any::<bool>()) {
        let etag = if weak { ETag::Weak(tag.clone()) } else { ETag::Strong(tag.clone()) };
        prop_assert_eq!(etag.to_string().parse::<ETag>().unwrap(), etag.clone());
        prop_assert_eq!(etag.opaque(), tag);
    }

    #[test]
    fn any_text_is_an_entity_tag_or_refused(text in any::<String>()) {
        if let Ok(etag) = text.parse::<ETag>() {
            prop_assert!(!etag.opaque().is_empty());
            prop_assert!(!etag.opaque().contains(['"', ' ', '\r', '\n']));
            prop_assert_eq!(etag.to_string().parse::<ETag>().unwrap(), etag);
        }
    }
}

#[test]
fn etag_comparisons() {
    // The table of RFC 9110 §8.8.3.2.
    for (a, b, strong, weak) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
        ("\"1\"", "\"2\"", false, false),
    ] {
        let (x, y): (ETag, ETag) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!((x.strong_eq(&y), y.strong_eq(&x)), (strong, strong), "{a} {b}");
        assert_eq!((x.weak_eq(&y), y.weak_eq(&x)), (weak, weak), "{a} {b}");
    }
}

#[test]
fn what_is_not_an_entity_tag_is_refused() {
    assert_eq!("abc".parse::<ETag>().unwrap(), ETag::Strong("abc".to_owned()));
    for text in
        ["", "\"\"", "W/", "W/\"\"", "\"", "\"a", "a\"", "\"a\"b\"", "a b", "a\r\nb", "\x7f"]
    {
        assert_eq!(
            text.parse::<ETag>().unwrap_err().kind(),
            ErrorKind::InvalidArgument,
            "{text:?}"
        );
    }
}

#[test]
fn what_is_not_hex_is_refused_with_the_expected_length() {
    let error = "12".parse::<Sha256>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("64 hex digits"), "{error}");
    assert!("zz".repeat(16).parse::<Token>().unwrap_err().to_string().contains("32 hex digits"));
}

#[test]
fn a_seed_repeats_and_jitter_is_bounded() {
    let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
    let max = Duration::from_millis(50);
    for _ in 0..100 {
        assert_eq!(a.token(), b.token());
        let jitter = a.jitter(max);
        assert_eq!(jitter, b.jitter(max));
        assert!(jitter <= max);
    }
    assert_ne!(a.token(), a.token());
    assert_eq!(a.jitter(Duration::ZERO), Duration::ZERO);
}
