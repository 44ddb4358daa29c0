//! Pickles that attack, exhaust, or lie: each gives an error and never a panic.

use proptest::prelude::*;

use super::assembler::{Pickle, View, file, pt, refusal, state_dict_pickle};

#[test]
fn code_is_named_and_not_run() {
    let attacks = [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "exec")];
    let attacks = attacks.into_iter().chain([("subprocess", "Popen"), ("runpy", "run_path")]);
    for (module, name) in attacks {
        let pickle = Pickle::new().global(module, name).op(b"(").str("touch /tmp/never").op(b"tR").stop();
        let text = refusal(&pt(&pickle));
        assert!(text.contains(&format!("`{module} {name}`")) && text.contains("tries to run code"), "{text}");
    }
    let modern = Pickle(vec![0x80, 4]).str("torch").str("os.system").op(b"\x93").stop();
    assert!(refusal(&pt(&modern)).contains("tries to run code"));
}

#[test]
fn depth_and_sharing_do_not_exhaust_the_reader() {
    let marks = Pickle::new().op(&[b'('; 100_000]).stop();
    assert!(refusal(&pt(&marks)).contains("nests deeper"));
    // A list in a list, a million deep, as the value of an attribute and alone.
    let deep = |p: Pickle| p.op(b"]").op(&b"\x85".repeat(1_000_000));
    refusal(&pt(&deep(Pickle::new()).stop()));
    assert!(refusal(&pt(&with_attribute(deep))).contains("nest deeper"));
    // Each list holds the one before twice: 2^60 values when copied.
    let bomb = |p: Pickle| (0..60).fold(p.op(b"]"), |p, _| p.op(b"2\x86"));
    assert!(refusal(&pt(&with_attribute(bomb))).contains("too large"));
    let own_item = |p: Pickle| p.op(b"]2a");
    assert!(refusal(&pt(&with_attribute(own_item))).contains("nest deeper"));
}

/// A module with one attribute.
fn with_attribute(value: impl FnOnce(Pickle) -> Pickle) -> Vec<u8> {
    let model = Pickle::new().module(("models.yolo", "Model"), |p| {
        let p = p.str("_parameters").op(b"}").str("_buffers").op(b"}").str("_modules").op(b"}");
        value(p.str("names"))
    });
    model.stop()
}

#[test]
fn a_module_inside_itself_or_everywhere_is_refused() {
    let class = ("models.yolo", "Model");
    let tables = |p: Pickle| p.str("_parameters").op(b"}").str("_buffers").op(b"}").str("_modules");
    // The module is memo 0, and its only child.
    let own_child = Pickle::new()
        .global(class.0, class.1)
        .op(b")\x81q\x00}(")
        .op(&tables(Pickle(vec![])).0)
        .op(b"}(")
        .str("child")
        .op(b"h\x00uub");
    assert!(refusal(&pt(&own_child.stop())).contains("nest deeper"));
    // Each module has the one before as both of its children.
    let leaf = Pickle::new().module(class, |p| tables(p).op(b"}")).op(b"q\x00");
    let bomb = (0..40).fold(leaf, |p, _| {
        p.module(class, |p| tables(p).op(b"}(").str("a").op(b"h\x00").str("b").op(b"h\x00u")).op(b"q\x00")
    });
    let text = refusal(&pt(&bomb.stop()));
    assert!(text.contains("more than") || text.contains("too large"), "{text}");
}

#[test]
fn counts_without_content_allocate_nothing() {
    let huge = [
        Pickle::new().op(b"X\xff\xff\xff\xff"),
        Pickle::new().op(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"),
        Pickle::new().op(b"\x8b\xff\xff\xff\xff"),
        Pickle::new().op(b"\x87"),
        Pickle::new().op(b"(t0t"),
        Pickle::new().op(b"R"),
        Pickle::new().op(b"h\x05"),
        Pickle::new().op(b"\x80\x09"),
        Pickle::new().op(b"]s"),
        Pickle::new().op(b"}(NuN"),
        Pickle::new().op(b"\xfe"),
    ];
    for pickle in huge {
        let text = refusal(&pt(&pickle.stop()));
        assert!(text.contains("pickle") && text.contains("at byte"), "{text}");
    }
}

#[test]
fn tensors_stay_inside_their_storage() {
    let good = View::default();
    let lies = [
        View { offset: 1, ..good },
        View { offset: -1, ..good },
        View { shape: &[2, -3], ..good },
        View { shape: &[3, 3], ..good },
        View { strides: &[-3, 1], ..good },
        View { strides: &[i64::MAX, 1], ..good },
        View { strides: &[1], ..good },
        View { shape: &[i64::MAX, i64::MAX], strides: &[0, 0], ..good },
        View { shape: &[1 << 40], strides: &[0], ..good },
        View { storage_len: 7, shape: &[7], strides: &[1], ..good },
        View { storage_len: i64::MAX, shape: &[i64::MAX], strides: &[1], ..good },
        View { storage_class: "DoubleStorage", ..good },
        View { storage_class: "ComplexFloatStorage", ..good },
        View { key: "1", ..good },
        View { key: "../data.pkl", ..good },
    ];
    for view in lies {
        let text = refusal(&pt(&state_dict_pickle(&view)));
        assert!(text.contains("weight") || text.contains("data/"), "{text}");
    }
}

#[test]
fn one_storage_under_many_names_is_bounded() {
    let view = View { shape: &[1 << 20], strides: &[0], ..View::default() };
    let names: Vec<String> = (0..64).map(|index| format!("weight{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = refusal(&pt(&Pickle::new().dict(&names, |p, _| p.tensor(&view)).stop()));
    assert!(text.contains("far more elements"), "{text}");
}

proptest! {
    #[test]
    fn random_pickles_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let file = file("best.pt", &pt(&Pickle::new().op(&body).stop()));
        let _ = yolo_model::weights::read_torch(&file.path);
    }

    #[test]
    fn mutated_pickles_never_panic(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut pickle = state_dict_pickle(&View::default());
        for (at, byte) in changes {
            let at = at % pickle.len();
            pickle[at] = byte;
        }
        let file = file("best.pt", &pt(&pickle));
        let _ = yolo_model::weights::read_torch(&file.path);
    }

    #[test]
    fn mutated_archives_never_panic(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = pt(&state_dict_pickle(&View::default()));
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let file = file("best.pt", &bytes);
        let _ = yolo_model::weights::read_torch(&file.path);
    }
}
