#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scaivault_proxy_fuzz::sigv4(data));
