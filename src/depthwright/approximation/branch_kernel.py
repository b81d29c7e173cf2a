"""The compiled loop of branch_and_bound.py: two affine functions a box, and their extremes."""

from __future__ import annotations

import numpy as np

from depthwright.machine.numba_cache import stored


@stored("bounds over boxes", nogil=True)
def bounds(  # type: ignore[no-untyped-def]
    outer, weight, bias, offset, centre, half, nearest, farthest, slope, low, high
):
    """Per box: a bound of abs(N − f), the value N(centre), the axis along which to halve.

    outer, bias (n,); weight (n, d); centre, half (boxes, d); nearest and farthest radius, slope s,
    t₋ and t₊ of the profile's chord (boxes,).
    """
    count, d = centre.shape
    bound, value = np.empty(count), np.empty(count)
    axis = np.empty(count, dtype=np.int64)
    for k in range(count):
        above, below, there = offset, offset, offset
        up, down, loose = np.zeros(d), np.zeros(d), np.zeros(d)
        for i in range(len(outer)):
            z, e = bias[i], 0.0
            for j in range(d):
                z += weight[i, j] * centre[k, j]
                e += abs(weight[i, j]) * half[k, j]
            if z + e <= 0:
                continue
            a = outer[i]
            if z > 0:
                there += a * z
            if z - e >= 0:
                above += a * z
                below += a * z
                for j in range(d):
                    up[j] += a * weight[i, j]
                    down[j] += a * weight[i, j]
                continue
            chord = (z + e) / (2 * e)
            under = 1.0 if z > 0 else 0.0
            high_slope, high_value = a * chord, a * chord * e
            low_slope, low_value = a * under, a * under * z
            if a < 0:
                high_slope, low_slope = low_slope, high_slope
                high_value, low_value = low_value, high_value
            above += high_value
            below += low_value
            for j in range(d):
                up[j] += high_slope * weight[i, j]
                down[j] += low_slope * weight[i, j]
                loose[j] += abs(a * weight[i, j]) * half[k, j]
        norm, spread = 0.0, 0.0
        for j in range(d):
            norm += centre[k, j] ** 2
            spread += half[k, j] ** 2
        norm = np.sqrt(norm)
        s = slope[k]
        if norm * norm > spread:  # f between tangent planes
            bent = abs(s) * spread / (2 * norm)
            f_low = low[k] + s * norm - (bent if s < 0 else 0.0)
            f_high = high[k] + s * norm + (bent if s > 0 else 0.0)
            for j in range(d):
                tilt = s * centre[k, j] / norm
                up[j] -= tilt
                down[j] -= tilt
                loose[j] += abs(s) * half[k, j] ** 2 / (2 * norm)
        else:  # near the origin: between constants
            f_low = low[k] + min(s * nearest[k], s * farthest[k])
            f_high = high[k] + max(s * nearest[k], s * farthest[k])
            for j in range(d):
                loose[j] += abs(s) * half[k, j]
        top, bottom, widest, best = above - f_low, f_high - below, 0.0, -1.0
        for j in range(d):
            top += abs(up[j]) * half[k, j]
            bottom += abs(down[j]) * half[k, j]
            widest = max(widest, half[k, j])
        axis[k] = 0
        for j in range(d):
            if half[k, j] >= widest / 4 and loose[j] + 1e-3 * half[k, j] > best:
                best = loose[j] + 1e-3 * half[k, j]
                axis[k] = j
        bound[k] = max(top, bottom)
        value[k] = there
    return bound, value, axis
