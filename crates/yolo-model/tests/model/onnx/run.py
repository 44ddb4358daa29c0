"""Runs an ONNX file on images and writes what it returns.

    run.py MODEL IMAGES N,C,H,W FOLDER

IMAGES are raw single-precision numbers, little-endian, and so are FOLDER/0.f32, 1.f32, ... with the outputs. A model of
half precision gets the images in half precision. Prints the outputs' names and shapes and the metadata as YOLOv5's loaders evaluate it, as JSON. Where the package `onnx` is there,
the file is checked first, with strict shape inference.
"""
import ast
import json
import sys

import numpy
import onnxruntime

model, images, shape, folder = sys.argv[1:]
try:
    import onnx
except ImportError:
    print("skipped: the package onnx is not here, so the file is not checked", file=sys.stderr)
else:
    onnx.checker.check_model(model, full_check=True)

session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
images = numpy.fromfile(images, dtype="<f4").reshape([int(extent) for extent in shape.split(",")])
if session.get_inputs()[0].type == "tensor(float16)":
    images = images.astype("<f2")
outputs = session.run(None, {"images": images})
for index, output in enumerate(outputs):
    output.astype("<f4").tofile(f"{folder}/{index}.f32")
metadata = session.get_modelmeta().custom_metadata_map
names = ast.literal_eval(metadata["names"])
print(json.dumps({
    "outputs": [{"name": value.name, "shape": output.shape, "type": value.type} for value, output in zip(session.get_outputs(), outputs)],
    "stride": int(metadata["stride"]),
    "names": [names[index] for index in range(len(names))],
}))
