"""Runs an ONNX file on images by OpenCV's DNN module and writes what it returns.

    run_opencv.py MODEL IMAGES N,C,H,W FOLDER OUTPUTS

Files are those of run.py; OUTPUTS are the outputs' names, separated by commas. Prints OpenCV's version and the outputs'
names and shapes as JSON.
"""
import json
import sys

import cv2
import numpy

model, images, shape, folder, names = sys.argv[1:]
names = names.split(",")
net = cv2.dnn.readNetFromONNX(model)
net.setInput(numpy.fromfile(images, dtype="<f4").reshape([int(extent) for extent in shape.split(",")]))
outputs = net.forward(names)
for index, output in enumerate(outputs):
    output.astype("<f4").tofile(f"{folder}/{index}.f32")
print(json.dumps({
    "outputs": [{"name": name, "shape": output.shape} for name, output in zip(names, outputs)],
    "version": cv2.__version__,
}))
