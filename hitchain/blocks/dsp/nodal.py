"""The transfer function of a network of resistors and capacitors by nodal analysis, differentiable in every value.

Kirchhoff's current law at each unknown node is Y(s) v = i(s), Y = G + s C (C.-W. Ho, A. Ruehli, P. Brennan, "The
modified nodal approach to network analysis", IEEE Trans. CAS 22(6), 1975). By Cramer's rule the output is a ratio of
polynomials in s whose denominator is det Y: evaluated at as many real s > 0 as there are coefficients, where a passive
network's det Y is never 0, and interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GROUND, SOURCE = -1, 0
"""Node numbers: the reference, and the ideal voltage source. The unknown nodes are 1, 2, ..."""

Resistor = tuple[int, int, Tensor | float]
Capacitor = tuple[int, int, float]

END = 500.0
"""What is left of a potentiometer at the end of its travel [ohm]."""


def potentiometer(top: int, wiper: int, bottom: int, ohms: float, position: Tensor) -> list[Resistor]:
    """The two halves of a potentiometer, 0 at the bottom."""
    return [(top, wiper, ohms * (1.0 - position) + END), (wiper, bottom, ohms * position + END)]


def transfer(
    nodes: int, out: int, resistors: Sequence[Resistor], capacitors: Sequence[Capacitor], like: Tensor
) -> tuple[Tensor, Tensor]:
    """From the source to the node `out`.

    Args:
        nodes: how many unknown ones there are.
        resistors: [ohm], each a number or (batch,). capacitors: [farad].
        like: (batch,), whose type the result has.

    Returns:
        numerator and denominator, (batch, capacitors + 1), as `circuits.rational` takes them.
    """
    order, batch = len(capacitors), len(like)
    points = torch.logspace(-1.0, 1.5, order + 1, dtype=torch.float64, device=like.device)  # s / 1000
    matrix = torch.zeros(batch, order + 1, nodes, nodes, dtype=torch.float64, device=like.device)
    drive = torch.zeros(batch, order + 1, nodes, dtype=torch.float64, device=like.device)
    branches: list[tuple[int, int, Tensor]] = []
    for one, other, ohms in resistors:
        conductance = 1e3 / torch.as_tensor(ohms, dtype=torch.float64, device=like.device).expand(batch)
        branches.append((one, other, conductance[:, None].expand(-1, order + 1)))
    branches += [(one, other, (1e6 * farads * points).expand(batch, -1)) for one, other, farads in capacitors]
    for one, other, admittance in branches:
        matrix = matrix + admittance[..., None, None] * _pattern(one, other, nodes).to(matrix)
        for near, far in ((one, other), (other, one)):
            if near == SOURCE and far > 0:
                drive = drive + admittance[..., None] * torch.eye(nodes).to(drive)[far - 1]
    determinant = torch.linalg.det(matrix)
    voltage = torch.linalg.solve(matrix, drive.unsqueeze(-1))[..., out - 1, 0]
    powers = points[:, None] ** torch.arange(order + 1, device=like.device)
    numerator, denominator = (torch.linalg.solve(powers, v.T).T for v in (voltage * determinant, determinant))
    scale = denominator[:, :1]
    return (numerator / scale).to(like), (denominator / scale).to(like)


def _pattern(one: int, other: int, nodes: int) -> Tensor:
    """Where a branch stands in the matrix."""
    incidence = torch.zeros(nodes)
    if one > 0:
        incidence[one - 1] += 1.0
    if other > 0:
        incidence[other - 1] -= 1.0
    return torch.outer(incidence, incidence)
