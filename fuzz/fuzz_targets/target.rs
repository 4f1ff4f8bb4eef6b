//! Every target: the binary's name says which one it is. What each of them does is in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fai_fuzz::run(env!("CARGO_BIN_NAME"), bytes);
});
