use http::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn targets() -> Targets {
    let public = vec!["images".to_owned(), "images-versioned".to_owned()];
    Targets::new("/p".parse().unwrap(), public, 1024)
}

/// Every first segment is public: what is refused is refused for its form.
fn open_targets(first: &str) -> Targets {
    Targets::new("/p".parse().unwrap(), vec![first.to_owned()], 1024)
}

fn resolve(targets: &Targets, target: &str) -> Result<Vec<String>, u16> {
    let uri: Uri = target.parse().map_err(|_| 400_u16)?;
    match targets.resolve(&uri, Some("localhost")) {
        Ok(Resolved::Public(c)) => {
            Ok([Some(c.first), c.second].iter().flatten().map(ToString::to_string).collect())
        }
        // As for anyone without a signature.
        Ok(Resolved::Private { .. }) => Err(404),
        Err(refusal) => Err(refusal.status().as_u16()),
    }
}

fn refused(target: &str, status: u16) {
    assert_eq!(resolve(&targets(), target), Err(status), "{target}");
}

fn means(target: &str, paths: &[&str]) {
    let paths = paths.iter().map(|p| (*p).to_owned()).collect();
    assert_eq!(resolve(&targets(), target), Ok(paths), "{target}");
}

#[test]
fn plain_paths_are_one_candidate() {
    means("/p/images/1/2/a.jpg", &["images/1/2/a.jpg"]);
    means("/p/images/a.jpg?v=1&x=%2f..", &["images/a.jpg"]);
    means("/p/images-versioned/a.jpg", &["images-versioned/a.jpg"]);
    means("/p/images/a.jpg#x", &["images/a.jpg"]);
    means("http://localhost/p/images/a.jpg", &["images/a.jpg"]);
}

#[test]
fn encoded_paths_are_looked_up_raw_then_decoded() {
    means("/p/images/a%20b.jpg", &["images/a%20b.jpg", "images/a b.jpg"]);
    means("/p/images/%C3%BC.jpg", &["images/%C3%BC.jpg", "images/ü.jpg"]);
    means("/p/images/ü.jpg", &["images/ü.jpg"]);
    means("/p/images/100%.jpg", &["images/100%.jpg"]);
    means("/p/images/100%25.jpg", &["images/100%25.jpg", "images/100%.jpg"]);
    means("/p/images/%zz", &["images/%zz"]);
    // The raw form has another first segment, which is not public.
    means("/p/%69mages/a", &["images/a"]);
}

#[test]
fn an_encoded_form_too_long_for_a_name_is_no_candidate() {
    let encoded = "%41".repeat(100);
    means(&format!("/p/images/{encoded}"), &[&format!("images/{}", "A".repeat(100))]);
}

#[test]
fn only_public_first_segments_resolve() {
    for target in ["/p/original/a.pdf", "/p/imagesx/a", "/p/Images/a", "/p/.ezdfs/limbo/x"] {
        refused(target, 404);
    }
    // Even if an operator makes it public.
    assert_eq!(resolve(&open_targets(".ezdfs"), "/p/.ezdfs/limbo/x"), Err(404));
    assert_eq!(resolve(&open_targets(".ezdfs"), "/p/%2eezdfs/limbo/x"), Err(404));
}

#[test]
fn other_files_are_private_by_their_decoded_path() {
    let private = |target: &str| match targets().resolve(&target.parse().unwrap(), None) {
        Ok(Resolved::Private { path, signed }) => (path.to_string(), signed),
        other => panic!("{target}: {other:?}"),
    };
    let pair = |path: &str| (path.to_owned(), format!("/p/{path}"));
    assert_eq!(private("/p/original/a.pdf?x=1"), pair("original/a.pdf"));
    assert_eq!(private("/p/original/a%20b%2525"), pair("original/a b%25"));
    assert_eq!(private("/p/%6Friginal/a"), pair("original/a"));
}

#[test]
fn abuse_1_raw_dot_segments() {
    refused("/p/../../etc/passwd", 400);
    refused("/../../etc/passwd", 400);
    refused("/p/images/..", 400);
}

#[test]
fn abuse_2_encoded_dot_segments() {
    refused("/p/%2e%2e/%2e%2e/etc/passwd", 400);
    refused("/%2e%2e/p/images/a", 400);
    refused("/p/images/.%2E/a", 400);
}

#[test]
fn abuse_3_encoded_slash() {
    for target in ["/p/..%2f..%2fetc/passwd", "/p/images%2fa.jpg", "/p/images/a%2Fb", "/%2f"] {
        refused(target, 400);
    }
}

#[test]
fn abuse_4_decoded_once() {
    assert_eq!(
        resolve(&open_targets("%2e%2e%2fx"), "/p/%252e%252e%252fx"),
        Ok(vec!["%2e%2e%2fx".to_owned()])
    );
    means("/p/images/%252e%252e%252fx", &["images/%252e%252e%252fx", "images/%2e%2e%2fx"]);
    refused("/p/%252e%252e%252fx", 404);
}

#[test]
fn abuse_5_overlong_utf8() {
    refused("/p/%c0%ae%c0%ae/x", 400);
    refused("/p/images/%ff", 400);
}

#[test]
fn abuse_6_nul() {
    refused("/p/images/a%00.png", 400);
}

#[test]
fn abuse_7_control_characters() {
    for target in ["/p/images/a%0d%0aSet-Cookie:x=1", "/p/images/%7f", "/p/images/%C2%85"] {
        refused(target, 400);
    }
}

#[test]
fn abuse_8_backslash() {
    refused("/p/..%5c..%5cwin.ini", 400);
    refused("/p/images\\a", 400);
    refused("/p/images/a%5Cb", 400);
}

#[test]
fn abuse_9_windows_names_are_literal() {
    for name in ["C:/x", "CON", "a.jpg::$DATA", "a.jpg."] {
        let name = format!("images/{name}");
        means(&format!("/p/{name}"), &[&name]);
    }
    means("/p/images/a.jpg%20", &["images/a.jpg%20", "images/a.jpg "]);
    refused("/p/C:/x", 404);
    refused("/p/CON", 404);
}

#[test]
fn abuse_10_no_slash_merging() {
    for target in ["/p//images//a.jpg", "/p/images//a.jpg", "//p/images/a.jpg", "//1k.jpg"] {
        refused(target, 404);
    }
}

#[test]
fn abuse_11_trailing_slash() {
    for target in ["/p/images/a.jpg/", "/p/images/", "/p/", "/p", "/"] {
        refused(target, 404);
    }
}

#[test]
fn abuse_12_single_dot_segment() {
    refused("/p/./images/a.jpg", 400);
    refused("/./1k.jpg", 400);
}

#[test]
fn abuse_13_prefix_twin() {
    for target in ["/px/images/a.jpg", "/pimages/a.jpg", "/P/images/a.jpg", "/%70/images/a.jpg"] {
        refused(target, 404);
    }
}

#[test]
fn abuse_14_delimiters_are_literal() {
    means("/p/images/a.jpg;v=1", &["images/a.jpg;v=1"]);
    means("/p/images/a.jpg%3f.css", &["images/a.jpg%3f.css", "images/a.jpg?.css"]);
    means("/p/images/a.jpg%23", &["images/a.jpg%23", "images/a.jpg#"]);
}

#[test]
fn abuse_15_direction_marks_and_zero_width_are_literal() {
    means(
        "/p/images/%E2%80%AE%20gpj.exe",
        &["images/%E2%80%AE%20gpj.exe", "images/\u{202e} gpj.exe"],
    );
    means("/p/images/%E2%80%8B", &["images/%E2%80%8B", "images/\u{200b}"]);
}

#[test]
fn abuse_16_and_17_no_normalisation_of_form_or_case() {
    means("/p/images/\u{e9}", &["images/\u{e9}"]);
    means("/p/images/e\u{301}", &["images/e\u{301}"]);
    means("/p/images/A.JPG", &["images/A.JPG"]);
    refused("/p/IMAGES/A.JPG", 404);
}

#[test]
fn abuse_18_lengths() {
    refused(&format!("/p/images/{}", "a/".repeat(4096)), 414);
    refused(&format!("/p/images/a?{}", "q".repeat(8192)), 414);
    // 1,031 bytes of path against a limit of 1,024.
    refused(&format!("/p/images/{}", vec!["a"; 512].join("/") + "b"), 400);
    means(
        &format!("/p/images/{}", vec!["a"; 509].join("/")),
        &[&format!("images/{}", vec!["a"; 509].join("/"))],
    );
    refused(&format!("/p/images/{}", "s".repeat(256)), 400);
    means(&format!("/p/images/{}", "s".repeat(255)), &[&format!("images/{}", "s".repeat(255))]);
}

fn host_of(version: Version, target: &str, hosts: &[&str]) -> Result<Option<String>, u16> {
    let uri: Uri = target.parse().unwrap();
    let mut fields = HeaderMap::new();
    for host in hosts {
        fields.append(HOST, HeaderValue::from_str(host).unwrap());
    }
    match authority(version, &uri, &fields) {
        Ok(host) => Ok(host.map(str::to_owned)),
        Err(refusal) => Err(refusal.status().as_u16()),
    }
}

#[test]
fn abuse_19_absolute_form() {
    let v = Version::HTTP_11;
    assert_eq!(host_of(v, "http://evil/p/a", &["good"]), Err(400));
    assert_eq!(host_of(v, "http://good/p/a", &["GOOD"]), Ok(Some("good".to_owned())));
    assert_eq!(host_of(v, "http://a@good/p/a", &["good"]), Err(400));
    refused("//evil/x", 404);
    refused("ftp://localhost/p/images/a", 400);
    let absolute = Targets::new("http://static.example.com/x".parse().unwrap(), vec![], 1024);
    let uri: Uri = "/x/images/a".parse().unwrap();
    assert_eq!(absolute.resolve(&uri, Some("other")), Err(Refusal::Misdirected));
    let found = absolute.resolve(&uri, Some("static.example.com"));
    assert!(matches!(found, Ok(Resolved::Private { .. })), "{found:?}");
}

#[test]
fn abuse_20_hosts() {
    let v = Version::HTTP_11;
    assert_eq!(host_of(v, "/p/a", &[]), Err(400));
    assert_eq!(host_of(Version::HTTP_10, "/p/a", &[]), Ok(None));
    for hosts in [&["a", "a"][..], &["a@b"], &[""], &["a b"], &["a/b"]] {
        assert_eq!(host_of(v, "/p/a", hosts), Err(400), "{hosts:?}");
    }
    for host in ["a", "a:80", "[::1]:8080", "xn--a.example"] {
        assert_eq!(host_of(v, "/p/a", &[host]), Ok(Some(host.to_owned())));
    }
}

proptest! {
    #[test]
    fn never_panics_and_resolves_only_public_paths(target in "(/p/images/)?[-a-zA-Z0-9/%.\\\\é;]{0,60}") {
        if let Ok(uri) = target.parse::<Uri>()
            && let Ok(Resolved::Public(found)) = targets().resolve(&uri, None)
        {
            for path in [Some(found.first), found.second].iter().flatten() {
                prop_assert!(path.as_str().starts_with("images/") || path.as_str() == "images");
            }
        }
    }
}
