//! Fuzz target: any text as a definition, in both languages, then any bytes as a message of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roverline_schema::Registry;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, body) = input;
    for language in ["ros2msg", "ros2idl"] {
        let registry = Registry::bundled();
        if registry.add_encoded("pkg/Test", language, text.as_bytes()).is_err() {
            continue;
        }
        let plan = registry.plan("pkg/Test").expect("added, so known");
        let mut cdr = vec![0, 1, 0, 0];
        cdr.extend_from_slice(body);
        let written = plan.write_json(&cdr, &mut Vec::new());
        assert_eq!(written.is_ok(), plan.decode(&cdr).is_ok());
    }
});
