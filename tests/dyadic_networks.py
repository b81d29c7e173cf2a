"""Networks that no construction builds, for tests of exact evaluation."""

from depthwright.networks.exact.layer import BIAS, Layer
from depthwright.networks.exact.network import ExactNetwork


def random_integer(rng, bits):
    """Odd, of at most so many bits, with a sign."""
    size = int(rng.integers(1, bits + 1))
    magnitude = int.from_bytes(rng.bytes(size // 8 + 1), "little") % (1 << size) | 1
    return magnitude if rng.random() < 0.5 else -magnitude


def random_network(rng, input_dim, width, depth, *, bits=80, powers=120, density=0.6):
    """Terms of very different lengths and powers; some entries of two terms far apart, some rows
    of zeros, some plain copies, some pairs of rows that differ in their bias alone.
    """
    layers, fan_in = [], input_dim
    for number in range(depth):
        fan_out = 2 if number == depth - 1 else int(rng.integers(1, width + 1))
        terms = []
        for row in range(fan_out):
            kind = rng.random()
            if kind < 0.1:
                continue
            if kind < 0.25:
                column = int(rng.integers(fan_in))
                terms.append((row, column, 1, int(rng.integers(-powers, powers))))
                continue
            if kind < 0.45 and row:
                before = [term for term in terms if term[0] == row - 1 and term[1] != BIAS]
                terms += [(row, *term[1:]) for term in before]
                terms.append((row, BIAS, random_integer(rng, bits), 0))
                continue
            for column in [*range(fan_in), BIAS]:
                if rng.random() < density:
                    length = 1 if rng.random() < 0.4 else bits
                    power = int(rng.integers(-powers, powers + 1))
                    terms.append((row, column, random_integer(rng, length), power))
                    if rng.random() < 0.15:
                        terms.append((row, column, random_integer(rng, length), power + 700))
        parts = [tuple(part) for part in zip(*terms, strict=True)] or [()] * 4
        layers.append(Layer(fan_in, fan_out, *parts))
        fan_in = fan_out
    return ExactNetwork(tuple(layers))


def awkward_points(rng, count, input_dim):
    """Zeros, ones, huge, tiny and subnormal floats among ordinary ones."""
    special = [0.0, -0.0, 1.0, -1.0, 5e-324, -2.2e-308, 1e300, -1e300, 1e-200, 2.0**-64, 2.0**-65]
    points = rng.standard_normal((count, input_dim))
    chosen = rng.random(points.shape) < 0.3
    points[chosen] = rng.choice(special, size=int(chosen.sum()))
    return points
