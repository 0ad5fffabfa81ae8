//! What tests of VUT share: the golden vectors of the specification, and hex.

use serde_json::Value;
use std::path::PathBuf;

/// The golden vectors, if they are there: `../shared/spec` beside the checkout.
///
/// `.ci/run` sets `VERSILE_CI`, and then they must be. Elsewhere a test that goes without them says so.
pub(crate) fn vectors() -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/vut-vectors.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("the vectors are JSON")),
        Err(error) => {
            let told = format!("SKIPPED, NOTHING WAS TESTED: {}: {error}", path.display());
            assert!(std::env::var_os("VERSILE_CI").is_none(), "{told}");
            eprintln!("{told}");
            None
        }
    }
}

/// The list `name` of `of`, which has at least one entry.
pub(crate) fn list<'a>(of: &'a Value, name: &str) -> &'a Vec<Value> {
    let list = of[name].as_array().unwrap_or_else(|| panic!("{name} is a list"));
    assert!(!list.is_empty(), "{name} is empty");
    list
}

/// The octets of a hex string.
pub(crate) fn octets(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hex string");
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// A number, or one written as a string; what does not fit is the largest.
pub(crate) fn number(value: &Value) -> u128 {
    let told = value.as_str().map(|text| text.parse().unwrap_or(u128::MAX));
    told.or_else(|| value.as_u64().map(u128::from)).expect("a number")
}
