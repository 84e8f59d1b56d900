"""Recurrent cells in float64, step by step: a part of the judge (oracle.py)."""

import numpy as np
import references as reference

from cdl import _core

SIMPLE, LSTM, GRU, RESET_FIRST = range(4)
MASK, STATES, X_DROP, H_DROP = 1, 2, 4, 8


class Cell:
    """The cell of a recurrent instruction: its attributes, weights and inputs."""

    def __init__(self, o, i):
        a = i.attributes
        self.cell, self.units = a["cell"], i.params[1].shape[0]
        self.f = reference.ACTIVATIONS[a.get("activation", "linear")]
        self.gate = reference.ACTIVATIONS[list(_core.ACTIVATIONS)[a["gate"]]]
        self.w, self.u = (o.weights[p] for p in i.params[:2])
        self.n = self.w.shape[1] // self.units
        bias = i.params[2] if len(i.params) > 2 else None
        b = np.zeros(self.w.shape[1]) if bias is None else o.weights[bias]
        b = b.reshape(-1, self.w.shape[1])
        self.b = b[0], b[1] if len(b) > 1 else 0.0
        given = list(i.inputs[1:])
        self.mask_value = given.pop(0) if a["given"] & MASK else None
        states = (2 if self.cell == LSTM else 1) if a["given"] & STATES else 0
        self.states, given = given[:states], given[states:]
        x = o.values[i.inputs[0]]
        n, steps, self.c = len(x), i.inputs[0].shape[-2], x.shape[-1]
        self.x = x.reshape(n, steps, self.c)
        self.times = range(steps)[::-1] if a["reverse"] else range(steps)
        mask = np.ones((n, steps)) if self.mask_value is None else o.values[self.mask_value]
        self.mask = mask.reshape(n, steps) != 0
        self.start = [o.values[v].reshape(n, -1) for v in self.states]
        if not self.start:
            self.start = [np.zeros((n, self.units))] * (2 if self.cell == LSTM else 1)
        drop = [given.pop(0) if a["given"] & bit else None for bit in (X_DROP, H_DROP)]
        self.x_drop, self.h_drop = (
            [1.0] * self.n if v is None else np.split(o.values[v], self.n, -1) for v in drop
        )

    def gates(self, array):
        return np.split(array, self.n, -1)

    def products(self, x, drop, w, b):
        """x w + b, a gate at a time."""
        each = [(x * m) @ part for m, part in zip(drop, self.gates(w), strict=True)]
        return [
            z + part for z, part in zip(each, self.gates(b + np.zeros(w.shape[1])), strict=True)
        ]

    def step(self, x, h, c):
        """The new h and c, and what the way back needs."""
        f, gate = self.f[0], self.gate[0]
        zx = self.products(x, self.x_drop, self.w, self.b[0])
        zh = self.products(h, self.h_drop, self.u, self.b[1])
        z = [a + b for a, b in zip(zx, zh, strict=True)]
        if self.cell == SIMPLE:
            return f(z[0]), c, z
        if self.cell == LSTM:
            i, forget, o = (gate(z[k]) for k in (0, 1, 3))
            new = forget * c + i * f(z[2])
            return o * f(new), new, (z, new)
        update, r = gate(z[0]), gate(z[1])
        if self.cell == RESET_FIRST:
            before = zx[2] + (r * h * self.h_drop[2]) @ self.gates(self.u)[2]
        else:
            before = zx[2] + r * zh[2]
        return update * h + (1 - update) * f(before), c, (z, zh[2], before)

    def step_back(self, kept, h, c, dh, dc):
        """Gradients of x W + b and h U (+ b), a gate each, and of h and c past the products."""
        (f, df), (gate, dgate) = self.f, self.gate
        if self.cell == SIMPLE:
            dz = [dh * df(kept[0])]
            return dz, dz, 0.0, dc
        if self.cell == LSTM:
            z, new = kept
            i, forget, o = (gate(z[k]) for k in (0, 1, 3))
            dc = dc + dh * o * df(new)
            dz = [
                dc * f(z[2]) * dgate(z[0]),
                dc * c * dgate(z[1]),
                dc * i * df(z[2]),
                dh * f(new) * dgate(z[3]),
            ]
            return dz, dz, 0.0, dc * forget
        z, h_n, before = kept
        update, r = gate(z[0]), gate(z[1])
        dn = dh * (1 - update) * df(before)
        dz = dh * (h - f(before)) * dgate(z[0])
        if self.cell == RESET_FIRST:
            through = (dn @ self.gates(self.u)[2].T) * self.h_drop[2]
            dr = through * h * dgate(z[1])
            return [dz, dr, dn], [dz, dr, 0.0 * dn], dh * update + through * r, dc
        dr = dn * h_n * dgate(z[1])
        return [dz, dr, dn], [dz, dr, dn * r], dh * update, dc

    def products_back(self, dz, x, drop, w, keep):
        """Gradients of the factors of `products`, of the samples to keep."""
        dz = [part * keep for part in dz]
        dw = np.concatenate([(x * m).T @ part for m, part in zip(drop, dz, strict=True)], -1)
        each = zip(dz, drop, self.gates(w), strict=True)
        return sum((part @ u.T) * m for part, m, u in each), dw, np.concatenate(dz, -1).sum(0)


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
        dx[:, t], dw, by_x = cell.products_back(dx_z, cell.x[:, t], cell.x_drop, cell.w, keep)
        dh_u, du, by_h = cell.products_back(dh_z, h, cell.h_drop, cell.u, keep)
        if cell.cell == RESET_FIRST:
            r = cell.gate[0](kept[0][1])
            du[:, -cell.units :] = (r * h * cell.h_drop[2]).T @ (dx_z[2] * keep)
        o.gradients[i.params[0]] += dw
        o.gradients[i.params[1]] += du
        if bias is not None:
            both = np.concatenate([by_x, by_h])
            o.gradients[bias] += both[: bias.shape[0]]
        dh = np.where(keep, dh_u + direct, dh)
        dc = np.where(keep, before, dc)
    o.value_gradients[i.inputs[0]] += dx.reshape(o.values[i.inputs[0]].shape)
    for v, gradient in zip(cell.states, (dh, dc), strict=False):
        o.value_gradients[v] += gradient.reshape(o.value_gradients[v].shape)


FORWARD = {"recurrent": forward}
BACKWARD = {"recurrent": backward}
