//! Feeds what the fuzzer makes to `native_hostile` of tests/support/vut_fuzz.rs.
#![no_main]

#[path = "../../support/vut_fuzz.rs"]
#[expect(dead_code, reason = "shared by all targets")]
mod vut_fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| vut_fuzz::native_hostile(data));
