"""Runs an ONNX file once for every line on stdin and answers with the milliseconds that it took.

    onnxruntime_peer.py MODEL THREADS BATCH HEIGHT WIDTH

`yolo-cli bench --peer` starts it and takes turns with it. Needs the package onnxruntime.
"""
import sys
import time

import numpy
import onnxruntime

model, threads, *shape = sys.argv[1:]
batch, height, width = (int(extent) for extent in shape)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
options.inter_op_num_threads = 1
# Between two turns its threads must sleep, or they would take the cores from the others.
options.add_session_config_entry("session.intra_op.allow_spinning", "1")
options.add_session_config_entry("session.force_spinning_stop", "1")
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
images = numpy.random.default_rng(0).random((batch, 3, height, width), dtype="<f4")
name = session.get_inputs()[0].name
print(f"ready onnxruntime {onnxruntime.__version__}", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    session.run(None, {name: images})
    print((time.perf_counter() - start) * 1e3, flush=True)
