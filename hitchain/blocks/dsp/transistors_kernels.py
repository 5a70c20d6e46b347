"""Compiled loops of `transistors` on CPU, for batch items first <= item < last. The equations stand there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
FAST = {"contract", "nsz"}
ITERATIONS = 200
CLOSE = 1e-5
"""A last step of this share of the thermal voltage leaves an error of its square."""

LEAP = 4.0
"""By how many thermal voltages a conducting junction may rise in one step."""

SERIES, COLLECTOR, UPPER, LOWER, SATURATION, FIRST_BASE, SECOND_BASE, REVERSE = range(8)
"""Columns of an item's values, in the order of `transistors.TwoTransistors`."""

INPUT, BYPASS, MILLER, FEEDBACK, LOAD, SUPPLY, THERMAL = range(7)
"""Columns of the fixed values."""


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def solve_four(
    bb: float, bc: float, be: float,
    cb: float, cc: float, cd: float, ce: float,
    dc: float, dd: float, de: float,
    eb: float, ec: float, ed: float, ee: float,
    rb: float, rc: float, rd: float, re: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The four linear equations of the nodes b, c, d, e, of which b and d do not touch."""
    inverse_b, inverse_d = 1.0 / bb, 1.0 / dd
    left, right = cb * inverse_b, cd * inverse_d
    cc, ce, rc = cc - left * bc - right * dc, ce - left * be - right * de, rc - left * rb - right * rd
    left, right = eb * inverse_b, ed * inverse_d
    ec, ee, re = ec - left * bc - right * dc, ee - left * be - right * de, re - left * rb - right * rd
    scale = 1.0 / (cc * ee - ce * ec)
    c, e = (rc * ee - ce * re) * scale, (cc * re - rc * ec) * scale
    return (rb - bc * c - be * e) * inverse_b, c, (rd - dc * c - de * e) * inverse_d, e


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def share(largest: float, voltage: float, change: float, critical: float, leap: float) -> float:
    """Of a step, so that this junction rises no further than `leap` above where it conducts."""
    if change > leap and voltage + change > critical:
        return min(largest, max(leap, critical - voltage) / change)
    return largest


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def newton(
    b: float, c: float, d: float, e: float,
    given_b: float, given_c: float, given_d: float, given_e: float,
    input_g: float, miller_g: float, emitter_g: float, values: Array, fixed: Array,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The four voltages at which the currents into each node sum to 0, from a guess."""
    saturation, reverse = values[SATURATION], values[REVERSE]
    base_1, base_2, collector = values[FIRST_BASE], values[SECOND_BASE], values[COLLECTOR]
    feedback, load, thermal = fixed[FEEDBACK], fixed[LOAD], fixed[THERMAL]
    inverse, leap = 1.0 / thermal, LEAP * thermal
    critical = thermal * np.log(thermal / (1.5 * saturation))
    slope = saturation * inverse
    for _ in range(ITERATIONS):
        grown = np.exp(b * inverse)
        forward_1, slope_f1 = saturation * (grown - 1.0), slope * grown
        grown = np.exp((b - c) * inverse)
        back_1, slope_r1 = saturation * (grown - 1.0), slope * grown
        grown = np.exp((c - e) * inverse)
        forward_2, slope_f2 = saturation * (grown - 1.0), slope * grown
        grown = np.exp((c - d) * inverse)
        back_2, slope_r2 = saturation * (grown - 1.0), slope * grown
        rb = input_g * b + feedback * (b - e) + forward_1 * base_1 + back_1 * reverse + miller_g * (b - c) - given_b
        rc = load * c + forward_1 - back_1 * (1.0 + reverse) + forward_2 * base_2 + back_2 * reverse
        rc += miller_g * (c - b + c - d) - given_c
        rd = collector * d + forward_2 - back_2 * (1.0 + reverse) + miller_g * (d - c) - given_d
        re = emitter_g * e + feedback * (e - b) - forward_2 * (1.0 + base_2) + back_2 - given_e
        into_1, into_2 = slope_r1 * reverse + miller_g, slope_r2 * reverse + miller_g
        out_1, out_2 = slope_r1 + into_1, slope_r2 + into_2
        sb, sc, sd, se = solve_four(
            input_g + feedback + slope_f1 * base_1 + into_1, -into_1, -feedback,
            slope_f1 - out_1, load + out_1 + slope_f2 * base_2 + into_2, -into_2, -slope_f2 * base_2,
            slope_f2 - out_2, collector + out_2, -slope_f2,
            -feedback, -slope_f2 * (1.0 + base_2) + slope_r2, -slope_r2,
            emitter_g + feedback + slope_f2 * (1.0 + base_2),
            rb, rc, rd, re,
        )  # fmt: skip
        part = share(1.0, b, -sb, critical, leap)
        part = share(part, b - c, sc - sb, critical, leap)
        part = share(part, c - e, se - sc, critical, leap)
        part = share(part, c - d, sd - sc, critical, leap)
        b, c, d, e = b - part * sb, c - part * sc, d - part * sd, e - part * se
        if max(abs(sb), abs(sc - sb), abs(se - sc), abs(sd - sc)) < CLOSE * thermal:
            break
    return b, c, d, e


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def at_rest(values: Array, fixed: Array, rest: Array) -> None:
    """The operating point, without input: b, c, d, e, wiper, input capacitor."""
    upper, lower, supply = values[UPPER], values[LOWER], fixed[SUPPLY]
    load, collector = fixed[LOAD] * supply, values[COLLECTOR] * supply
    emitter = upper * lower / (upper + lower)
    b, c, d, e = newton(0.0, 0.0, supply, 0.0, 0.0, load, collector, 0.0, 0.0, 0.0, emitter, values, fixed)
    rest[0], rest[1], rest[2], rest[3], rest[4], rest[5] = b, c, d, e, e * upper / (upper + lower), -b


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def solve(
    first: int, last: int, source: Array, values: Array, fixed: Array, rate: float, rests: Array, nodes: Array
) -> None:
    """nodes: (batch, channels, samples, 6), away from rest, where single precision holds small signals."""
    for item in range(first, last):
        value, rest = values[item], rests[item]
        at_rest(value, fixed, rest)
        series, upper = 1.0 / value[SERIES], value[UPPER]
        lead, miller = 1.5 * rate, fixed[MILLER]
        pivot_v, pivot_w = lead * fixed[INPUT] + series, upper + value[LOWER] + lead * fixed[BYPASS]
        through, emitter = series * (1.0 - series / pivot_v), upper * (1.0 - upper / pivot_w)
        load, collector = fixed[LOAD] * fixed[SUPPLY], value[COLLECTOR] * fixed[SUPPLY]
        for channel in range(source.shape[1]):
            b, c, d, e, w, v = rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]
            b_old, c_old, d_old, w_old, v_old = b, c, d, w, v
            for t in range(source.shape[2]):
                u = float(source[item, channel, t])
                past_v = fixed[INPUT] * rate * (2.0 * v - 0.5 * v_old)
                past_w = fixed[BYPASS] * rate * (2.0 * w - 0.5 * w_old)
                past_1 = miller * rate * (2.0 * (b - c) - 0.5 * (b_old - c_old))
                past_2 = miller * rate * (2.0 * (c - d) - 0.5 * (c_old - d_old))
                nb, nc, nd, ne = newton(
                    b, c, d, e,
                    through * u - series / pivot_v * past_v + past_1, load - past_1 + past_2, collector - past_2,
                    upper / pivot_w * past_w,
                    through, lead * miller, emitter, value, fixed,
                )  # fmt: skip
                b_old, c_old, d_old, w_old, v_old = b, c, d, w, v
                b, c, d, e = nb, nc, nd, ne
                w, v = (past_w + upper * e) / pivot_w, (past_v + series * (u - b)) / pivot_v
                kept = nodes[item, channel, t]
                kept[0], kept[1], kept[2] = b - rest[0], c - rest[1], d - rest[2]
                kept[3], kept[4], kept[5] = e - rest[3], w - rest[4], v - rest[5]


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def pull(
    b: float, c: float, d: float, e: float,
    gb: float, gc: float, gd: float, ge: float,
    input_g: float, miller_g: float, emitter_g: float, value: Array, fixed: Array, sums: Array,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The adjoint at one point: the transposed equations, and what they give to the values of the transistors."""
    saturation, reverse = value[SATURATION], value[REVERSE]
    base_1, base_2, collector = value[FIRST_BASE], value[SECOND_BASE], value[COLLECTOR]
    feedback, load, inverse = fixed[FEEDBACK], fixed[LOAD], 1.0 / fixed[THERMAL]
    grown_f1, grown_r1 = np.exp(b * inverse), np.exp((b - c) * inverse)
    grown_f2, grown_r2 = np.exp((c - e) * inverse), np.exp((c - d) * inverse)
    slope = saturation * inverse
    slope_f1, slope_r1, slope_f2, slope_r2 = slope * grown_f1, slope * grown_r1, slope * grown_f2, slope * grown_r2
    into_1, into_2 = slope_r1 * reverse + miller_g, slope_r2 * reverse + miller_g
    out_1, out_2 = slope_r1 + into_1, slope_r2 + into_2
    lb, lc, ld, le = solve_four(
        input_g + feedback + slope_f1 * base_1 + into_1, slope_f1 - out_1, -feedback,
        -into_1, load + out_1 + slope_f2 * base_2 + into_2, slope_f2 - out_2, -slope_f2 * (1.0 + base_2) + slope_r2,
        -into_2, collector + out_2, -slope_r2,
        -feedback, -slope_f2 * base_2, -slope_f2, emitter_g + feedback + slope_f2 * (1.0 + base_2),
        gb, gc, gd, ge,
    )  # fmt: skip
    f1, r1, f2, r2 = grown_f1 - 1.0, grown_r1 - 1.0, grown_f2 - 1.0, grown_r2 - 1.0
    sums[COLLECTOR] -= ld * (d - fixed[SUPPLY])
    sums[FIRST_BASE] -= saturation * f1 * lb
    sums[SECOND_BASE] -= saturation * f2 * (lc - le)
    sums[REVERSE] -= saturation * (r1 * (lb - lc) + r2 * (lc - ld))
    sums[SATURATION] -= (
        lb * (f1 * base_1 + r1 * reverse)
        + lc * (f1 - r1 * (1.0 + reverse) + f2 * base_2 + r2 * reverse)
        + ld * (f2 - r2 * (1.0 + reverse))
        + le * (r2 - f2 * (1.0 + base_2))
    )
    return lb, lc, ld, le


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def adjoint(
    first: int, last: int, source: Array, values: Array, fixed: Array, rate: float, rests: Array, nodes: Array,
    grad: Array, back: Array, sums: Array,
) -> None:  # fmt: skip
    """grad: of the second collector, away from rest."""
    for item in range(first, last):
        value, rest, added = values[item], rests[item], sums[item]
        series, upper, lower = 1.0 / value[SERIES], value[UPPER], value[LOWER]
        lead, miller, bypass, entry = 1.5 * rate, fixed[MILLER] * rate, fixed[BYPASS] * rate, fixed[INPUT] * rate
        pivot_v, pivot_w = lead * fixed[INPUT] + series, upper + lower + lead * fixed[BYPASS]
        through, emitter = series * (1.0 - series / pivot_v), upper * (1.0 - upper / pivot_w)
        hb = hc = hd = he = hw = hv = 0.0  # of the operating point
        for channel in range(source.shape[1]):
            lb = lc = ld = lw = lv = 0.0
            ab = ac = ad = aw = av = 0.0  # one sample later
            for t in range(source.shape[2] - 1, -1, -1):
                kept, g = nodes[item, channel, t], float(grad[item, channel, t])
                b, c, d = rest[0] + kept[0], rest[1] + kept[1], rest[2] + kept[2]
                e, w, v = rest[3] + kept[3], rest[4] + kept[4], rest[5] + kept[5]
                one = miller * (2.0 * (lb - lc) - 0.5 * (ab - ac))
                two = miller * (2.0 * (lc - ld) - 0.5 * (ac - ad))
                gw, gv = bypass * (2.0 * lw - 0.5 * aw), entry * (2.0 * lv - 0.5 * av)
                ab, ac, ad, aw, av = lb, lc, ld, lw, lv
                lb, lc, ld, le = pull(
                    b, c, d, e,
                    one - series / pivot_v * gv, two - one, g - two, upper / pivot_w * gw,
                    through, 1.5 * miller, emitter, value, fixed, added,
                )  # fmt: skip
                lw, lv = (gw + upper * le) / pivot_w, (gv - series * lb) / pivot_v
                back[item, channel, t] = series * (lb + lv)
                added[SERIES] -= (lb + lv) * (source[item, channel, t] - v - b) * series * series
                added[UPPER] -= (le - lw) * (e - w)
                added[LOWER] -= lw * w
                hd -= g
            one = miller * (1.5 * (lb - lc) - 0.5 * (ab - ac))
            two = miller * (1.5 * (lc - ld) - 0.5 * (ac - ad))
            hb, hc, hd = hb + one, hc + two - one, hd - two
            hw, hv = hw + bypass * (1.5 * lw - 0.5 * aw), hv + entry * (1.5 * lv - 0.5 * av)
        total = upper + lower
        b, c, d, e, w = rest[0], rest[1], rest[2], rest[3], rest[4]
        lb, lc, ld, le = pull(
            b, c, d, e, hb - hv, hc, hd, he + upper / total * hw, 0.0, 0.0, upper * lower / total, value, fixed, added
        )
        lw = (hw + upper * le) / total
        added[UPPER] -= (le - lw) * (e - w)
        added[LOWER] -= lw * w
