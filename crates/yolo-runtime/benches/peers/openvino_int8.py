"""Writes the INT8 form of an ONNX file for OpenVINO, made with NNCF.

    openvino_int8.py MODEL OUT.xml HEIGHT WIDTH < list of image files, one a line

Images are letterboxed as the network wants them. Prints `failed REASON` if it cannot. Needs the packages openvino, nncf and
pillow.
"""
import sys

import turns


def letterboxed(path, height, width):
    import numpy
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, (114, 114, 114))
    return numpy.asarray(image, "f4").transpose(2, 0, 1)[None] / 255


def main():
    import logging

    import nncf
    import openvino
    import PIL  # noqa: F401, so that a missing package is found before the images are

    nncf.set_log_level(logging.ERROR)
    model, out, height, width = sys.argv[1:]
    files = sys.stdin.read().splitlines()
    images = nncf.Dataset(files, lambda path: letterboxed(path, int(height), int(width)))
    network = openvino.Core().read_model(model)
    # Symmetric weights and asymmetric activations, which NNCF advises for activations such as SiLU.
    preset = nncf.QuantizationPreset.MIXED
    quantized = nncf.quantize(network, images, preset=preset, subset_size=len(files))
    openvino.save_model(quantized, out, compress_to_fp16=False)


turns.explained(main)
