"""Takes turns with `yolo-cli bench --peer`: an ONNX file in ONNX Runtime, in single precision.

    onnxruntime_peer.py MODEL THREADS BATCH HEIGHT WIDTH

Needs the package onnxruntime.
"""
import sys

import turns


def start():
    import numpy
    import onnxruntime

    model, threads, *extents = sys.argv[1:]
    batch, height, width = (int(extent) for extent in extents)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.inter_op_num_threads = 1
    # Between two turns its threads must sleep, or they would take the cores from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = numpy.zeros((batch, 3, height, width), "<f4")
    name = session.get_inputs()[0].name
    outputs = []

    def run():
        outputs[:] = session.run(None, {name: images})

    return f"onnxruntime {onnxruntime.__version__}", True, images, run, lambda: outputs[0]


turns.take(start)
