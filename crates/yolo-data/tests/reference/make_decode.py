"""Writes tests/fixtures/decode/*: tiny image files, and decode.json with hashes of what OpenCV makes of them.

Provenance: the pictures are a formula (below); the files are written by Pillow and OpenCV, and decoded by
cv2.imread(IMREAD_COLOR). Nothing here is taken from another project.

    python -m venv v && v/bin/pip install opencv-python-headless numpy pillow
    v/bin/python crates/yolo-data/tests/reference/make_decode.py [COCO_TINY]

With the folder of coco-tiny it also writes coco_tiny.json: hashes of the decoded images of that data set.
"""
import json
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image, ImageOps

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "decode"


def picture(width, height):
    """Smooth colour ramps with some texture: what JPEG is made for, and no symmetry."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    r = 40 + 170 * x / width + 20 * np.sin(y / 2)
    g = 200 - 150 * y / height + 25 * np.sin(x / 3 + y / 5)
    b = 90 + 60 * np.sin((x + 2 * y) / 7) + 80 * (x > width * 0.6) * (y < height * 0.4)
    return np.clip(np.stack([r, g, b], -1), 0, 255).astype(np.uint8)


def write_jpegs(image):
    def save(name, img, **options):
        img.save(OUT / name, quality=85, **options)

    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        save(f"{name}.jpg", image, subsampling=subsampling)
    save("progressive.jpg", image, subsampling=2, progressive=True)
    save("grey.jpg", image.convert("L"))
    save("odd.jpg", Image.fromarray(picture(33, 19)), subsampling=2)
    save("pixel.jpg", Image.fromarray(picture(1, 1)), subsampling=2)
    save("cmyk.jpg", image.convert("CMYK"))
    save("rgb.jpg", image, keep_rgb=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif{orientation}.jpg", Image.fromarray(picture(24, 16)), subsampling=2, exif=exif)
    for name in ("444", "420", "progressive"):
        whole = (OUT / f"{name}.jpg").read_bytes()
        (OUT / f"truncated_{name}.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    whole = (OUT / "420.jpg").read_bytes()
    (OUT / "no_end.jpg").write_bytes(whole[:-2])
    (OUT / "trailing.jpg").write_bytes(whole + b"notes behind the picture")


def sixteen_bits(rgb):
    """Values between those of 8 bits, so that rounding differs from cutting off."""
    corner = rgb[:16, :24].astype(np.int64)
    return (corner * 257 - 100 * (corner > 0)).astype(np.uint16)


def write_pngs(rgb, image):
    image.save(OUT / "rgb.png", optimize=True)
    image.convert("L").save(OUT / "grey.png")
    image.convert("1").save(OUT / "grey1.png")
    image.quantize(16).save(OUT / "palette.png")
    alpha = np.dstack([rgb, np.arange(rgb[..., 0].size).reshape(rgb.shape[:2]).astype(np.uint8)])
    Image.fromarray(alpha, "RGBA").save(OUT / "alpha.png")
    Image.fromarray(alpha[..., [1, 3]].copy(), "LA").save(OUT / "grey_alpha.png")
    image.quantize(16).save(OUT / "palette_transparent.png", transparency=3)
    wide = sixteen_bits(rgb)
    cv2.imwrite(str(OUT / "rgb16.png"), wide)
    cv2.imwrite(str(OUT / "grey16.png"), wide[..., 1])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(24, 16)).save(OUT / "exif6.png", exif=exif)


def write_others(rgb, image):
    small = Image.fromarray(picture(33, 19))
    small.save(OUT / "rgb.bmp")
    small.convert("L").save(OUT / "grey.bmp")
    small.quantize(16).save(OUT / "palette.bmp")
    Image.fromarray(picture(24, 16)).convert("RGBA").save(OUT / "alpha.bmp")
    image.save(OUT / "lossless.webp", lossless=True)
    Image.fromarray(picture(33, 19)).save(OUT / "lossy.webp", quality=80)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(picture(24, 16)).save(OUT / "exif8.webp", lossless=True, exif=exif)
    small.save(OUT / "rgb.tif")
    small.save(OUT / "lzw.tif", compression="tiff_lzw")
    small.convert("L").save(OUT / "grey.tif")
    Image.fromarray(picture(24, 16)).save(OUT / "orientation6.tif", tiffinfo={0x0112: 6})
    Image.fromarray(picture(24, 16)).save(OUT / "orientation3.tif", tiffinfo={0x0112: 3})
    cv2.imwrite(str(OUT / "rgb16.tif"), sixteen_bits(rgb))
    cv2.imwrite(str(OUT / "grey16.tif"), sixteen_bits(rgb)[..., 1])


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def decoded(path):
    if path.name == "orientation6.tif":
        # OpenCV 5.0.0 fails on a turned TIFF ("original_ptr == real_mat.data"): Pillow's word counts here.
        return np.asarray(ImageOps.exif_transpose(Image.open(path)))
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_json(path, entries):
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items())
    path.write_text(f'{{"opencv": "{cv2.__version__}", "files": {{\n{lines}\n}}}}\n')


def main():
    OUT.mkdir(exist_ok=True)
    rgb = picture(48, 36)
    image = Image.fromarray(rgb)
    write_jpegs(image)
    write_pngs(rgb, image)
    write_others(rgb, image)
    files = {}
    for path in sorted(OUT.iterdir()):
        if path.suffix == ".json" or path.suffix == ".raw":
            continue
        pixels = decoded(path)
        height, width = pixels.shape[:2]
        files[path.name] = {"width": width, "height": height, "fnv": fnv1a64(pixels.tobytes())}
        if path.name == "lossy.webp":
            (OUT / "lossy.webp.raw").write_bytes(pixels.tobytes())
    write_json(FIXTURES / "decode.json", files)

    if len(sys.argv) > 1:
        root = pathlib.Path(sys.argv[1])
        images = {}
        for path in sorted(root.glob("images/*/*.jpg")):
            images[str(path.relative_to(root))] = fnv1a64(decoded(path).tobytes())
        write_json(FIXTURES / "coco_tiny.json", images)


main()
