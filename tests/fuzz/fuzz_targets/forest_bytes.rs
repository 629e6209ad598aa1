//! Any bytes are a forest that scores and is saved as the same bytes, or an error.
#![no_main]

#[path = "../../../engine/forest/tests/fuzz_body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    body::load(bytes);
});
