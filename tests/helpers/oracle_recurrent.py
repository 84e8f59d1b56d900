"""Recurrent cells in float64, step by step: a part of the judge (oracle.py)."""

import numpy as np
import references as reference

from cdl import _core

SIMPLE, LSTM, GRU = range(3)
MASK, STATES = 1, 2


class Cell:
    """What an instruction says of its cell, and the values that it reads."""

    def __init__(self, o, i):
        a = i.attributes
        self.cell, self.units = a["cell"], i.params[1].shape[0]
        self.f = reference.ACTIVATIONS[a.get("activation", "linear")]
        self.gate = reference.ACTIVATIONS[list(_core.ACTIVATIONS)[a["gate"]]]
        self.w, self.u, *_ = (o.weights[p] for p in i.params[:2])
        bias = i.params[2] if len(i.params) > 2 else None
        self.b = np.zeros(self.w.shape[1]) if bias is None else o.weights[bias]
        given = list(i.inputs[1:])
        self.mask_value = given.pop(0) if a["given"] & MASK else None
        self.states = given
        x = o.values[i.inputs[0]]
        self.x = x.reshape(len(x), -1, x.shape[-1])
        n, steps, _ = self.x.shape
        self.times = range(steps)[::-1] if a["reverse"] else range(steps)
        mask = np.ones((n, steps)) if self.mask_value is None else o.values[self.mask_value]
        self.mask = mask.reshape(n, steps) != 0
        self.start = [o.values[v].reshape(n, -1) for v in self.states]
        if not self.start:
            self.start = [np.zeros((n, self.units))] * (2 if self.cell == LSTM else 1)

    def gates(self, array):
        return np.split(array, array.shape[-1] // self.units, -1)

    def step(self, x, h, c):
        """The new h and c, and what the way back needs."""
        f, gate = self.f[0], self.gate[0]
        if self.cell == SIMPLE:
            z = x @ self.w + h @ self.u + self.b
            return f(z), c, z
        if self.cell == LSTM:
            z = self.gates(x @ self.w + h @ self.u + self.b)
            i, forget, o = (gate(z[k]) for k in (0, 1, 3))
            new = forget * c + i * f(z[2])
            return o * f(new), new, (z, new)
        b = self.b if self.b.ndim == 2 else (self.b, 0.0)
        zx, zh = self.gates(x @ self.w + b[0]), self.gates(h @ self.u + b[1])
        z, r = gate(zx[0] + zh[0]), gate(zx[1] + zh[1])
        n = f(zx[2] + r * zh[2])
        return z * h + (1 - z) * n, c, (zx, zh)

    def step_back(self, kept, h, c, dh, dc):
        """Gradients of x W + b and h U (+ b) as rows of gates, and of h and c past the products."""
        (f, df), (gate, dgate) = self.f, self.gate
        if self.cell == SIMPLE:
            dz = dh * df(kept)
            return dz, dz, 0.0, dc
        if self.cell == LSTM:
            z, new = kept
            i, forget, o = (gate(z[k]) for k in (0, 1, 3))
            dc = dc + dh * o * df(new)
            parts = [
                dc * f(z[2]) * dgate(z[0]),
                dc * c * dgate(z[1]),
                dc * i * df(z[2]),
                dh * f(new) * dgate(z[3]),
            ]
            dz = np.concatenate(parts, -1)
            return dz, dz, 0.0, dc * forget
        zx, zh = kept
        z, r = gate(zx[0] + zh[0]), gate(zx[1] + zh[1])
        before = zx[2] + r * zh[2]
        dn = dh * (1 - z) * df(before)
        dz = dh * (h - f(before)) * dgate(zx[0] + zh[0])
        dr = dn * zh[2] * dgate(zx[1] + zh[1])
        both = np.concatenate([dz, dr], -1)
        return (
            np.concatenate([both, dn], -1),
            np.concatenate([both, dn * r], -1),
            dh * z,
            dc,
        )


def forward(o, i):
    cell = Cell(o, i)
    h, c = cell.start[0], cell.start[-1]
    trace, ys = [], []
    for t in cell.times:
        keep = cell.mask[:, t, None]
        new_h, new_c, kept = cell.step(cell.x[:, t], h, c)
        trace.append((t, keep, h, c, kept))
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
        ys.append(h)
    o.kept[i] = cell, trace
    y = i.outputs[0]
    sequence = np.stack(ys, 1) if len(y.shape) > 1 else ys[-1]
    o.values[y] = sequence.reshape(len(h), *y.shape)
    if len(i.outputs) > 1:
        o.values[i.outputs[1]] = c


def backward(o, i):
    cell, trace = o.kept[i]
    dy = o.value_gradients[i.outputs[0]]
    rows = len(dy)
    is_sequence = len(i.outputs[0].shape) > 1
    if is_sequence:
        dy = dy.reshape(rows, len(trace), cell.units)
    dh = np.zeros((rows, cell.units))
    dc = o.value_gradients[i.outputs[1]].copy() if len(i.outputs) > 1 else np.zeros_like(dh)
    dx = np.zeros_like(cell.x)
    bias = i.params[2] if len(i.params) > 2 else None
    for at in reversed(range(len(trace))):
        t, keep, h, c, kept = trace[at]
        if is_sequence or at == len(trace) - 1:
            dh = dh + (dy[:, at] if is_sequence else dy)
        dx_z, dh_z, direct, before = cell.step_back(kept, h, c, dh, dc)
        dx_z, dh_z = dx_z * keep, dh_z * keep
        o.gradients[i.params[0]] += cell.x[:, t].T @ dx_z
        o.gradients[i.params[1]] += h.T @ dh_z
        if bias is not None:
            sums = [dx_z.sum(0), dh_z.sum(0)]
            o.gradients[bias] += np.stack(sums) if cell.b.ndim == 2 else sums[0]
        dx[:, t] = dx_z @ cell.w.T
        dh = np.where(keep, dh_z @ cell.u.T + direct, dh)
        dc = np.where(keep, before, dc)
    o.value_gradients[i.inputs[0]] += dx.reshape(o.values[i.inputs[0]].shape)
    for v, gradient in zip(cell.states, (dh, dc), strict=False):
        o.value_gradients[v] += gradient.reshape(o.value_gradients[v].shape)


FORWARD = {"recurrent": forward}
BACKWARD = {"recurrent": backward}
