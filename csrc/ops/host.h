/* host.h - functions of the caller's within a program, in the caller's language; the run waits for
 * them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cdl_host_call {
    size_t rows;
    bool training;
    const float *x;      /* rows samples, no pads */
    const float *y, *dy; /* NULL: y is wanted; else the gradient by x */
    float *out;
};

/* 0 if it failed: then the run ends before the weights of this batch have changed. */
typedef int cdl_host_fn(void *who, const struct cdl_host_call *call);

struct cdl_host {
    cdl_host_fn *call; /* NULL: this instruction has none */
    void *who;
    bool failed; /* set by the op, cleared when a run begins */
};
