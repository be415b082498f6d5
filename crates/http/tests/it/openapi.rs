//! The OpenAPI document says what the routes do, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{exchange, head, request};
use crate::site::Site;

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"];

async fn document(site: &Site) -> Value {
    let reply = request(site.admin, "GET", "/v1/openapi.json", &[]).await;
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn each_route_takes_the_methods_that_the_document_names() {
    let site = Site::start().await;
    let document = document(&site).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut checked = 0;
    for (route, operations) in document["paths"].as_object().unwrap() {
        let target = route.replace("{path}", "images/none");
        for method in METHODS {
            // HEAD is answered wherever GET is (RFC 9110 §9.3.2).
            let like = if method == "HEAD" { "get" } else { method };
            let is_named = operations.get(like.to_lowercase()).is_some();
            let fields = [("Connection", "close"), ("Content-Length", "0")];
            let answer = exchange(site.admin, head(method, &target, &fields).as_bytes()).await;
            let status: u16 = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            assert_eq!(status != 405, is_named, "{method} {route}: {status}");
            // Where a token is wanted the document says so.
            if let Some(operation) = operations.get(method.to_lowercase()) {
                let wants_token = operation["security"] != serde_json::json!([]);
                assert_eq!(status == 401, wants_token, "{method} {route}: {status}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 15, "{checked}");
}

#[tokio::test]
async fn each_route_is_in_the_document() {
    let site = Site::start().await;
    let document = document(&site).await;
    let named: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let source = include_str!("../../src/admin/mod.rs");
    let routes: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("{*path}", "{path}"))
        // One route with and without a slash.
        .filter(|route| route != "/v1/dirs/")
        .collect();
    assert_eq!(routes.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
}

#[tokio::test]
async fn references_lead_somewhere() {
    fn visit(value: &Value, document: &Value, seen: &mut usize) {
        match value {
            Value::Object(fields) => {
                if let Some(at) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(at.trim_start_matches('#')).is_some(), "{at}");
                    *seen += 1;
                }
                fields.values().for_each(|v| visit(v, document, seen));
            }
            Value::Array(items) => items.iter().for_each(|v| visit(v, document, seen)),
            _ => {}
        }
    }
    let site = Site::start().await;
    let document = document(&site).await;
    let mut seen = 0;
    visit(&document, &document, &mut seen);
    assert!(seen > 10, "{seen}");
}
