"""How a peer talks with `yolo-cli bench --peer`, which takes turns with it. Needs the package numpy.

It says `comparable NAME` or `ready NAME` when its network can run, or `failed REASON`. For a line `run` it runs the network
on noise and answers with the milliseconds; for `rows COUNT`, followed by that many little-endian floats of images, it
answers `shape N A B`, followed by the floats of its first output.
"""
import sys
import time


def explained(work):
    """Calls `work`; a problem of any kind becomes one line, after which the program ends."""
    try:
        return work()
    except ModuleNotFoundError as missing:
        fail(f"{sys.executable} has no {missing.name}; {sys.executable} -m pip install {missing.name}")
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        fail(f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}")


def fail(reason):
    print(f"failed {reason}", flush=True)
    sys.exit(1)


def take(start):
    """Takes turns with the network that `start()` makes: its name, whether it computes in single precision, its input as
    an array to write into, and two functions: one that runs it, one that gives the first output."""
    name, is_exact, images, run, output = explained(start)
    import numpy

    images[...] = numpy.random.default_rng(0).random(images.shape, dtype="<f4")
    print(f"{'comparable' if is_exact else 'ready'} {name}", flush=True)
    while line := sys.stdin.buffer.readline():
        if line.startswith(b"rows "):
            data = sys.stdin.buffer.read(4 * int(line.split()[1]))
            images[...] = numpy.frombuffer(data, "<f4").reshape(images.shape)
            run()
            rows = numpy.ascontiguousarray(output(), "<f4")
            print("shape", *rows.shape, flush=True)
            sys.stdout.buffer.write(rows.tobytes())
            sys.stdout.buffer.flush()
        else:
            start = time.perf_counter()
            run()
            print((time.perf_counter() - start) * 1e3, flush=True)
