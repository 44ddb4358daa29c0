//! The program of every stock network, beside its layers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::architecture::VARIANTS;

#[test]
fn operations_hold_every_convolution_once_and_agree_with_the_layers() {
    for (name, _) in VARIANTS {
        let architecture = Architecture::variant(name, None).unwrap();
        let program = architecture.program();
        let names: Vec<String> = program.convs().map(|(_, conv)| conv.name.clone()).collect();
        let expected: BTreeSet<String> = architecture.convs().into_iter().map(|conv| conv.name).collect();
        assert_eq!(names.len(), expected.len(), "{name}");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
        for (index, operation) in program.operations.iter().enumerate() {
            assert!(operation.inputs.iter().all(|&input| input <= index));
            if let OperationKind::Conv(conv) = &operation.kind {
                assert_eq!(program.channels[operation.inputs[0]], conv.spec.in_channels, "{}", conv.name);
            }
            if operation.kind == OperationKind::Add {
                let [a, b] = [0, 1].map(|i| program.channels[operation.inputs[i]]);
                assert_eq!(a, b);
            }
        }
        let sizes = program.sizes([640, 640]);
        let strides = architecture.head().strides();
        assert_eq!(program.outputs.len(), strides.len());
        for (&output, &stride) in program.outputs.iter().zip(strides) {
            assert_eq!(sizes[output], [640 / stride; 2], "{name}");
        }
    }
}
