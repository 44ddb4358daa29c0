"""Takes turns with `yolo-cli bench --peer`: an ONNX or OpenVINO file in OpenVINO, for the least latency.

    openvino_peer.py MODEL THREADS BATCH HEIGHT WIDTH f32|default|int8

`f32` asks for single precision; `default` leaves the precision to OpenVINO, which takes bf16 where the processor has units
for it; `int8` is the same for a file of openvino_int8.py. Needs the package openvino.
"""
import sys

import turns


def start():
    import openvino

    model, threads, *extents, precision = sys.argv[1:]
    config = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads}
    if precision == "f32":
        config["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = openvino.Core().compile_model(model, "CPU", config)
    # A request that is used again, whose input is written once: no run allocates or copies.
    request = compiled.create_infer_request()
    images = request.get_input_tensor().data
    shape = [int(extents[0]), 3, *(int(extent) for extent in extents[1:])]
    if list(images.shape) != shape:
        turns.fail(f"{model} takes images of {list(images.shape)}, not {shape}")
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    kind = {"f32": "f32", "default": f"default ({chosen})", "int8": f"INT8 (rest {chosen})"}[precision]
    version = openvino.__version__.split("-")[0]
    output = request.get_output_tensor(0)
    return f"openvino {version} {kind}", precision == "f32", images, request.infer, lambda: output.data


turns.take(start)
