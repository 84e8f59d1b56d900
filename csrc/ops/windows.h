/* windows.h - common parts of ops with windows: their geometry, and images and maps as fields.
 *
 * The integers of such a node end with four for each axis, outermost first: size, stride, dilation,
 * and the distance by which the first window begins before the image.
 */
#pragma once

#include "ops/op.h"
#include "products/convolve.h"

enum { CDL_SIZE, CDL_STRIDE, CDL_DILATION, CDL_BEFORE, CDL_AXIS_NUMBERS };

/* Rows of an op with windows: its output is the map, or the image. */
enum { CDL_TO_MAP, CDL_TO_IMAGE };
static inline bool cdl_writes_image(const struct cdl_node *node) {
    return node->op->row == CDL_TO_IMAGE;
}

/* Error unless the integers of a node from `first` on are a window between two values of as many
 * axes. */
const char *cdl_check_window(const struct cdl_node *node, size_t first);

struct cdl_window cdl_window_of(const struct cdl_node *node);

/* A value from sample `first` on, or its gradient; of bfloat16 in floats' worth of memory. */
struct cdl_field cdl_field_of(const struct cdl_tensor *value, const float *data, size_t first);

/* Error unless a weight has a row for each tap and each of `read` columns of the image. */
const char *cdl_check_kernel(const struct cdl_param *w, const struct cdl_window *window,
                             size_t read, size_t columns);

/* Epilogues of an op's output: its activation; and of dx: the gradient of the activation of the
 * node that gives x. */
struct cdl_epilogue cdl_activation_of(const struct cdl_node *node);
struct cdl_epilogue cdl_activation_gradient_of(const struct cdl_node *node, size_t first);

struct cdl_window_pass {
    const struct cdl_node *node;
    const struct cdl_context *ctx;
    bool back;
};

/* A node's pass over samples [first, last), or over a band of one; and the bands of a sample. */
typedef void cdl_band_fn(const struct cdl_window_pass *pass, size_t first, size_t last,
                         const struct cdl_band *band);
typedef struct cdl_bands cdl_bands_fn(const struct cdl_window_pass *pass, size_t rows);

/* A node's code: the window and its spans in both directions, and its pass. Of a convolution whose
 * kernel does not learn, the scratch may keep Winograd's weights. */
struct cdl_windowing {
    struct cdl_window window;
    cdl_band_fn *pass;
    cdl_bands_fn *bands;
    bool keeps_winograd;
    struct cdl_spans to_map, to_image;
    struct cdl_span spans[];
};

/* code_bytes() and derive() of an op. */
size_t cdl_windowing_bytes(const struct cdl_node *node);
void cdl_derive_windowing(const struct cdl_node *node, cdl_band_fn *pass, cdl_bands_fn *bands);

/* The passes of an op, and their pieces: bands. */
void cdl_window_forward(CDL_PASS);
void cdl_window_backward(CDL_PASS);
size_t cdl_window_pieces(const struct cdl_node *node, size_t rows, bool back);
cdl_pieces_fn cdl_run_window_pieces;
static inline bool cdl_pass_writes_image(const struct cdl_window_pass *pass) {
    return pass->back != cdl_writes_image(pass->node);
}

/* Bands of ops that write each number of a window's map, or image, by itself. */
cdl_bands_fn cdl_window_bands;
